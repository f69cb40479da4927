//! Who was refused by which limit in the last minutes: what operators ask while an attack runs. Bounded, and of this
//! instance alone; keys stand here as text, which the limiter itself does not keep.

use crate::domain::limit::{LimitKey, PolicyName};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

const MINUTE_MS: i64 = 60_000;
/// How far back it looks, in minutes.
pub const MINUTES: usize = 10;
/// Keys remembered at once, about 300 bytes each; beyond it those are forgotten that were refused longest ago.
const MAX_KEYS: usize = 4_096;

/// What a limit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It refused.
    Refused,
    /// It only counted.
    Counted,
    /// A failure has locked the key; nobody was refused yet.
    Locked,
}

/// How often a policy was exceeded since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// And refused.
    pub refused: u64,
    /// And would have refused, had it not only counted.
    pub would_refuse: u64,
}

/// One key under one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// The policy.
    pub policy: PolicyName,
    /// The key.
    pub key: LimitKey,
    /// Since when it is at its limit, with pauses of less than a minute.
    pub since_ms: i64,
    /// When the last one was refused.
    pub last_ms: i64,
    /// Milliseconds until the next is let through; 0: it would be now.
    pub wait_ms: i64,
    /// How many were refused in the last minutes.
    pub refused: u64,
    /// How many would have been.
    pub would_refuse: u64,
}

/// What is remembered.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    keys: HashMap<PolicyName, HashMap<LimitKey, Entry>>,
    size: usize,
    sums: HashMap<PolicyName, Sum>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    number: i64,
    sum: Sum,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    since_ms: i64,
    last_ms: i64,
    until_ms: i64,
    minutes: [Minute; MINUTES],
}

impl Sum {
    fn add(&mut self, effect: Effect) {
        match effect {
            Effect::Refused => self.refused = self.refused.saturating_add(1),
            Effect::Counted => self.would_refuse = self.would_refuse.saturating_add(1),
            Effect::Locked => {}
        }
    }
}

impl Entry {
    fn note(&mut self, effect: Effect, wait_ms: i64, now_ms: i64) {
        if now_ms.saturating_sub(self.until_ms) >= MINUTE_MS {
            self.since_ms = now_ms;
        }
        self.last_ms = now_ms;
        self.until_ms = now_ms.saturating_add(wait_ms);
        let number = now_ms.div_euclid(MINUTE_MS);
        let place = number.rem_euclid(i64::try_from(MINUTES).unwrap_or(1));
        if let Some(minute) = self.minutes.get_mut(usize::try_from(place).unwrap_or(0)) {
            if minute.number != number {
                *minute = Minute { number, sum: Sum::default() };
            }
            minute.sum.add(effect);
        }
    }

    fn limited(&self, policy: PolicyName, key: &LimitKey, now_ms: i64) -> Limited {
        let newest = now_ms.div_euclid(MINUTE_MS);
        let is_recent = |minute: &&Minute| (0..i64::try_from(MINUTES).unwrap_or(0)).contains(&(newest - minute.number));
        let total =
            |count: fn(&Sum) -> u64| self.minutes.iter().filter(is_recent).map(|minute| count(&minute.sum)).sum();
        Limited {
            policy,
            key: key.clone(),
            since_ms: self.since_ms,
            last_ms: self.last_ms,
            wait_ms: self.until_ms.saturating_sub(now_ms).max(0),
            refused: total(|sum| sum.refused),
            would_refuse: total(|sum| sum.would_refuse),
        }
    }
}

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers one refusal, with the wait that it told.
    pub fn note(&self, policy: PolicyName, key: &LimitKey, effect: Effect, wait_ms: i64, now_ms: i64) {
        let mut book = self.lock();
        book.sums.entry(policy).or_default().add(effect);
        if let Some(entry) = book.keys.get_mut(&policy).and_then(|keys| keys.get_mut(key)) {
            return entry.note(effect, wait_ms, now_ms);
        }
        if book.size >= MAX_KEYS {
            book.make_room();
        }
        let entry = book.keys.entry(policy).or_default().entry(key.clone()).or_default();
        entry.until_ms = now_ms.saturating_sub(MINUTE_MS);
        entry.note(effect, wait_ms, now_ms);
        book.size += 1;
    }

    /// The key is not at its limit any more.
    pub fn release(&self, policy: PolicyName, key: &LimitKey, now_ms: i64) {
        let mut book = self.lock();
        if let Some(entry) = book.keys.get_mut(&policy).and_then(|keys| keys.get_mut(key)) {
            entry.until_ms = entry.until_ms.min(now_ms);
        }
    }

    /// How often a policy was exceeded since the start.
    #[must_use]
    pub fn sum(&self, policy: PolicyName) -> Sum {
        self.lock().sums.get(&policy).copied().unwrap_or_default()
    }

    /// The keys that are at the limit of this policy, the longest wait first.
    #[must_use]
    pub fn limited(&self, policy: PolicyName, now_ms: i64) -> Vec<Limited> {
        let mut limited = self.lock().all(now_ms, |name| name == policy);
        limited.retain(|one| one.wait_ms > 0);
        limited.sort_by(|one, other| {
            other.wait_ms.cmp(&one.wait_ms).then_with(|| one.key.as_str().cmp(other.key.as_str()))
        });
        limited
    }

    /// The keys that were refused most in the last [`MINUTES`], under any policy.
    #[must_use]
    pub fn top(&self, most: usize, now_ms: i64) -> Vec<Limited> {
        let mut top = self.lock().all(now_ms, |_| true);
        let count = |one: &Limited| one.refused.saturating_add(one.would_refuse);
        top.retain(|one| count(one) > 0);
        top.sort_by(|one, other| {
            count(other)
                .cmp(&count(one))
                .then(one.policy.cmp(&other.policy))
                .then_with(|| one.key.as_str().cmp(other.key.as_str()))
        });
        top.truncate(most);
        top
    }
}

impl Book {
    fn all(&self, now_ms: i64, wanted: impl Fn(PolicyName) -> bool) -> Vec<Limited> {
        let policies = self.keys.iter().filter(|(policy, _)| wanted(**policy));
        policies
            .flat_map(|(policy, keys)| keys.iter().map(|(key, entry)| entry.limited(*policy, key, now_ms)))
            .collect()
    }

    /// Frees an eighth: what was refused longest ago.
    fn make_room(&mut self) {
        let mut times: Vec<i64> = self.keys.values().flat_map(HashMap::values).map(|entry| entry.last_ms).collect();
        times.sort_unstable();
        let Some(oldest_kept) = times.get(MAX_KEYS / 8).copied() else { return };
        // Of those of one instant only as many as need be.
        let mut surplus = MAX_KEYS / 8;
        for keys in self.keys.values_mut() {
            keys.retain(|_, entry| {
                let goes = surplus > 0 && entry.last_ms <= oldest_kept;
                surplus -= usize::from(goes);
                !goes
            });
        }
        self.size = self.keys.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: PolicyName = PolicyName::LoginIp;

    fn key(number: usize) -> LimitKey {
        LimitKey::id(&format!("key{number}"))
    }

    #[test]
    fn who_waits_is_shown_with_the_wait_and_since_when() {
        let refusals = Refusals::default();
        refusals.note(POLICY, &key(1), Effect::Refused, 2_000, 1_000_000);
        refusals.note(POLICY, &key(1), Effect::Refused, 2_000, 1_030_000);
        refusals.note(POLICY, &key(2), Effect::Counted, 9_000, 1_030_000);
        let limited = refusals.limited(POLICY, 1_031_000);
        let shown: Vec<_> =
            limited.iter().map(|one| (one.key.as_str(), one.wait_ms, one.since_ms, one.refused)).collect();
        assert_eq!(shown, [("key2", 8_000, 1_030_000, 0), ("key1", 1_000, 1_000_000, 2)]);
        assert_eq!(refusals.sum(POLICY), Sum { refused: 2, would_refuse: 1 });
        refusals.release(POLICY, &key(2), 1_031_000);
        assert_eq!(refusals.limited(POLICY, 1_031_000).len(), 1);
        assert!(refusals.limited(PolicyName::LoginNet, 1_031_000).is_empty());
    }

    #[test]
    fn the_most_refused_of_the_last_minutes_come_first_and_older_ones_are_gone() {
        let refusals = Refusals::default();
        for minute in 0..20 {
            refusals.note(POLICY, &key(1), Effect::Refused, 1, minute * MINUTE_MS);
        }
        for _ in 0..15 {
            refusals.note(PolicyName::LoginNet, &key(2), Effect::Refused, 1, 19 * MINUTE_MS);
        }
        let top = |now_ms| -> Vec<_> { refusals.top(9, now_ms).into_iter().map(|one| one.refused).collect() };
        assert_eq!(top(19 * MINUTE_MS), [15, 10]);
        assert_eq!(top(28 * MINUTE_MS), [15, 1]);
        assert!(top(29 * MINUTE_MS).is_empty());
        assert_eq!(refusals.top(1, 19 * MINUTE_MS).len(), 1);
    }

    #[test]
    fn a_lock_is_shown_and_counts_as_no_refusal() {
        let refusals = Refusals::default();
        refusals.note(POLICY, &key(1), Effect::Locked, 5_000, 0);
        assert_eq!(refusals.limited(POLICY, 1).len(), 1);
        assert_eq!((refusals.sum(POLICY), refusals.top(9, 1).len()), (Sum::default(), 0));
    }

    #[test]
    fn a_flood_of_keys_stays_within_its_bound_and_keeps_the_newest() {
        let refusals = Refusals::default();
        for number in 0..3 * MAX_KEYS {
            refusals.note(POLICY, &key(number), Effect::Refused, 1_000, i64::try_from(number / 10).unwrap());
        }
        let book = refusals.lock();
        let held: usize = book.keys.values().map(HashMap::len).sum();
        assert_eq!(held, book.size);
        assert!(held <= MAX_KEYS && held > MAX_KEYS / 2, "{held}");
        assert!(book.keys[&POLICY].contains_key(&key(3 * MAX_KEYS - 1)));
    }
}
