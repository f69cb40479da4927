//! Attack mode: when so many logins fail that somebody must be trying, and when that is over. A pure state machine;
//! time comes with every call.
//!
//! It begins when at least [`AttackRule::attempts`] logins were tried within five minutes and more than
//! [`AttackRule::percent`] of them failed, or clearly more than is usual on this day: three standard deviations, and no
//! less than ten percentage points, above the mean of the day's five minutes. It ends when for five minutes in a row
//! there were at most half as many attempts or at most three quarters of the failures that would begin it.

use std::collections::VecDeque;

const SLOT_MS: i64 = 10_000;
const SLOTS: usize = 30;
/// The window over which is counted: all slots.
pub const WINDOW_MS: i64 = 300_000;
/// How long it has to be calm before attack mode ends.
pub const CALM_MS: i64 = 300_000;
/// Windows of one day.
const DAY: usize = 288;
/// So many windows make a usual day; before that nothing is unusual.
const LEAST_WINDOWS: usize = 24;
/// Attempts that make a window worth remembering.
const LEAST_ATTEMPTS: u32 = 20;
/// How far above the mean is unusual at least, however even the day was; a share of 1.
const LEAST_RISE: f64 = 0.10;

/// When it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttackRule {
    /// More than this many in a hundred fail; 100: never.
    pub percent: u32,
    /// Of at least so many attempts.
    pub attempts: u32,
}

/// How one login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// With a session.
    Succeeded,
    /// With a wrong password, or at a limit.
    Failed,
}

/// What has just changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// It began.
    Began,
    /// It is over.
    Ended,
}

/// Logins of a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// All.
    pub attempts: u32,
    /// Those that failed.
    pub failures: u32,
}

impl Count {
    fn share(self) -> f64 {
        f64::from(self.failures) / f64::from(self.attempts.max(1))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    number: i64,
    count: Count,
}

#[derive(Debug, Clone, Copy)]
struct Attack {
    since_ms: i64,
    calm_since_ms: Option<i64>,
}

/// The memory of the machine: bounded, of one instance.
#[derive(Debug, Default)]
pub struct AttackWatch {
    slots: [Slot; SLOTS],
    /// Shares of failures in the calm windows of the day, with the number of the window.
    day: VecDeque<(i64, f64)>,
    window: i64,
    attack: Option<Attack>,
}

impl AttackWatch {
    /// Counts one login.
    pub fn note(&mut self, tried: Tried, rule: AttackRule, now_ms: i64) -> Option<Shift> {
        self.close_windows(now_ms);
        let number = now_ms.div_euclid(SLOT_MS);
        let place = usize::try_from(number.rem_euclid(i64::try_from(SLOTS).unwrap_or(1))).unwrap_or(0);
        if let Some(slot) = self.slots.get_mut(place) {
            if slot.number != number {
                *slot = Slot { number, count: Count::default() };
            }
            slot.count.attempts = slot.count.attempts.saturating_add(1);
            slot.count.failures = slot.count.failures.saturating_add(u32::from(tried == Tried::Failed));
        }
        self.judge(rule, now_ms)
    }

    /// Looks again when nobody logs in; call it now and then.
    pub fn tick(&mut self, rule: AttackRule, now_ms: i64) -> Option<Shift> {
        self.close_windows(now_ms);
        self.judge(rule, now_ms)
    }

    /// Since when it goes on.
    #[must_use]
    pub fn since_ms(&self) -> Option<i64> {
        self.attack.map(|attack| attack.since_ms)
    }

    /// Logins of the last five minutes.
    #[must_use]
    pub fn count(&self, now_ms: i64) -> Count {
        let newest = now_ms.div_euclid(SLOT_MS);
        let is_recent = |slot: &&Slot| (0..i64::try_from(SLOTS).unwrap_or(0)).contains(&(newest - slot.number));
        self.slots.iter().filter(is_recent).fold(Count::default(), |sum, slot| Count {
            attempts: sum.attempts.saturating_add(slot.count.attempts),
            failures: sum.failures.saturating_add(slot.count.failures),
        })
    }

    fn judge(&mut self, rule: AttackRule, now_ms: i64) -> Option<Shift> {
        let count = self.count(now_ms);
        let limit = self.limit(rule);
        let Some(attack) = &mut self.attack else {
            let begins = rule.percent < 100 && count.attempts >= rule.attempts.max(1) && count.share() > limit;
            self.attack = begins.then_some(Attack { since_ms: now_ms, calm_since_ms: None });
            return begins.then_some(Shift::Began);
        };
        let is_calm =
            rule.percent >= 100 || count.attempts <= rule.attempts.div_euclid(2) || count.share() <= limit * 0.75;
        if !is_calm {
            attack.calm_since_ms = None;
            return None;
        }
        // A clock that went back starts the wait afresh rather than making it endless.
        let since_ms = attack.calm_since_ms.filter(|since_ms| *since_ms <= now_ms).unwrap_or(now_ms);
        attack.calm_since_ms = Some(since_ms);
        if now_ms.saturating_sub(since_ms) < CALM_MS {
            return None;
        }
        self.attack = None;
        Some(Shift::Ended)
    }

    /// The share of failures above which it begins.
    fn limit(&self, rule: AttackRule) -> f64 {
        let fixed = f64::from(rule.percent) / 100.0;
        if self.day.len() < LEAST_WINDOWS {
            return fixed;
        }
        let size = f64::from(u32::try_from(self.day.len()).unwrap_or(1));
        let mean = self.day.iter().map(|(_, share)| share).sum::<f64>() / size;
        let variance = self.day.iter().map(|(_, share)| (share - mean).powi(2)).sum::<f64>() / size;
        fixed.min(mean + (3.0 * variance.sqrt()).max(LEAST_RISE))
    }

    /// Remembers the window that is over, unless it was one of an attack: that would teach it to be usual.
    fn close_windows(&mut self, now_ms: i64) {
        let window = now_ms.div_euclid(WINDOW_MS);
        if window == self.window {
            return;
        }
        let last = self.count(self.window.saturating_add(1).saturating_mul(WINDOW_MS).saturating_sub(1));
        if self.attack.is_none() && last.attempts >= LEAST_ATTEMPTS {
            self.day.push_back((self.window, last.share()));
        }
        let oldest = window.saturating_sub(i64::try_from(DAY).unwrap_or(0));
        self.day.retain(|(number, _)| (oldest..=window).contains(number));
        self.window = window;
    }
}

/// How long a flood has to be over before its alarm ends.
pub const FLOOD_CALM_MS: i64 = 900_000;

/// A limit that refuses nobody but raises an alarm: from its first excess until there was none for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flood {
    since_and_last_ms: Option<(i64, i64)>,
}

impl Flood {
    /// The limit was exceeded.
    pub fn exceeded(&mut self, now_ms: i64) -> Option<Shift> {
        let since_ms = self.since_ms();
        self.since_and_last_ms = Some((since_ms.unwrap_or(now_ms), now_ms));
        since_ms.is_none().then_some(Shift::Began)
    }

    /// Looks whether it is over; call it now and then.
    pub fn tick(&mut self, now_ms: i64) -> Option<Shift> {
        let (_, last_ms) = self.since_and_last_ms?;
        if now_ms.abs_diff(last_ms) < FLOOD_CALM_MS.unsigned_abs() {
            return None;
        }
        self.since_and_last_ms = None;
        Some(Shift::Ended)
    }

    /// Since when it goes on.
    #[must_use]
    pub fn since_ms(&self) -> Option<i64> {
        self.since_and_last_ms.map(|(since_ms, _)| since_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE: AttackRule = AttackRule { percent: 60, attempts: 200 };

    fn many(watch: &mut AttackWatch, count: u32, tried: Tried, now_ms: i64) -> Vec<(u32, Shift)> {
        (1..=count).filter_map(|number| watch.note(tried, RULE, now_ms).map(|shift| (number, shift))).collect()
    }

    #[test]
    fn it_begins_with_the_two_hundredth_attempt_and_not_before() {
        let mut watch = AttackWatch::default();
        assert_eq!(many(&mut watch, 300, Tried::Failed, 1_000), [(200, Shift::Began)]);
        let mut quiet = AttackWatch::default();
        assert_eq!(many(&mut quiet, 199, Tried::Failed, 1_000), []);
        assert_eq!(quiet.tick(RULE, WINDOW_MS), None);
        assert_eq!(many(&mut quiet, 100, Tried::Failed, 1_000 + WINDOW_MS), [], "the old ones are forgotten");
    }

    #[test]
    fn exactly_the_share_is_not_more_than_it() {
        let mut watch = AttackWatch::default();
        many(&mut watch, 120, Tried::Failed, 0);
        assert_eq!(many(&mut watch, 80, Tried::Succeeded, 0), []);
        assert_eq!(watch.note(Tried::Failed, RULE, 0), Some(Shift::Began));
    }

    #[test]
    fn it_ends_after_five_calm_minutes_and_not_while_it_comes_back() {
        let mut watch = AttackWatch::default();
        many(&mut watch, 300, Tried::Failed, 0);
        let mut now_ms = 0;
        let mut ended_ms = None;
        while ended_ms.is_none() {
            now_ms += 1_000;
            if now_ms == 500_000 {
                assert_eq!(many(&mut watch, 150, Tried::Failed, now_ms), [], "it goes on all the while");
            }
            ended_ms = watch.tick(RULE, now_ms).map(|_| now_ms);
        }
        assert_eq!(ended_ms, Some(500_000 + WINDOW_MS + CALM_MS));
        assert_eq!(watch.since_ms(), None);
    }

    #[test]
    fn a_rise_far_above_the_usual_of_the_day_begins_it_too() {
        let (mut watch, mut now_ms) = (AttackWatch::default(), 0);
        for window in 0..30 {
            now_ms = window * WINDOW_MS;
            assert_eq!(many(&mut watch, 285, Tried::Succeeded, now_ms), []);
            assert_eq!(many(&mut watch, 15, Tried::Failed, now_ms), []);
        }
        now_ms += WINDOW_MS;
        many(&mut watch, 180, Tried::Succeeded, now_ms);
        let began = many(&mut watch, 60, Tried::Failed, now_ms);
        assert_eq!(began.first().map(|(number, _)| *number), Some(32), "more than 15 % of 212, usual are 5 %");
    }

    #[test]
    fn a_rule_of_a_hundred_percent_never_begins_and_ends_what_goes_on() {
        let mut watch = AttackWatch::default();
        many(&mut watch, 300, Tried::Failed, 0);
        let off = AttackRule { percent: 100, attempts: 1 };
        assert_eq!(watch.tick(off, 1), None);
        assert_eq!(watch.tick(off, 1 + CALM_MS), Some(Shift::Ended));
        assert_eq!(watch.note(Tried::Failed, off, 2 + CALM_MS), None);
    }

    #[test]
    fn a_flood_is_over_when_there_was_no_excess_for_a_while() {
        let mut flood = Flood::default();
        assert_eq!([flood.exceeded(5), flood.exceeded(10)], [Some(Shift::Began), None]);
        assert_eq!(flood.tick(9 + FLOOD_CALM_MS), None);
        assert_eq!(flood.since_ms(), Some(5));
        assert_eq!(flood.tick(10 + FLOOD_CALM_MS), Some(Shift::Ended));
        assert_eq!((flood.tick(i64::MAX), flood.since_ms()), (None, None));
    }

    proptest! {
        #[test]
        fn it_begins_only_above_the_rule_and_lasts_at_least_the_calm_time(
            steps in proptest::collection::vec((0i64..20_000, 0u32..60, any::<bool>()), 1..120),
        ) {
            let rule = AttackRule { percent: 50, attempts: 100 };
            let (mut watch, mut now_ms) = (AttackWatch::default(), 0i64);
            let (mut all, mut loud_ms): (Vec<(i64, bool)>, i64) = (Vec::new(), i64::MIN / 2);
            for (gap_ms, count, fails) in steps {
                now_ms += gap_ms;
                for _ in 0..count {
                    all.push((now_ms, fails));
                    let tried = if fails { Tried::Failed } else { Tried::Succeeded };
                    let shift = watch.note(tried, rule, now_ms);
                    let oldest = (now_ms.div_euclid(SLOT_MS) + 1) * SLOT_MS - WINDOW_MS;
                    let window: Vec<_> = all.iter().filter(|(at_ms, _)| *at_ms >= oldest).collect();
                    let failures = window.iter().filter(|(_, fails)| *fails).count();
                    let is_above = window.len() >= 100 && failures * 2 > window.len();
                    if is_above {
                        loud_ms = now_ms;
                        prop_assert!(watch.since_ms().is_some());
                    }
                    match shift {
                        Some(Shift::Began) => prop_assert!(is_above),
                        Some(Shift::Ended) => prop_assert!(now_ms - loud_ms >= CALM_MS),
                        None => {}
                    }
                }
            }
        }
    }
}
