//! What is known of one key under one policy, and the rules that move it. Knows no locks and no other keys.

mod shared;

use crate::domain::{
    ladder::{Ladder, Outcome, Rung, Step},
    limit::{Policy, PolicyValue, Settled},
    quota::{Quota, Verdict},
    rotation::Shadow,
    spread::{Failures, Spread, SpreadStep},
};
use shared::Shared;
pub(super) use shared::{Known, Level, News};

/// A place that was not given back frees itself after this long, in milliseconds.
pub(super) const PLACE_MS: i64 = 30_000;
/// Failures in a row under a count are forgotten after this long, in milliseconds.
pub(super) const COUNT_FORGET_MS: i64 = 86_400_000;
/// Places that are remembered while a policy only counts and so holds nobody back.
const MAX_SHADOW_PLACES: usize = 64;
/// The ticket of a place that nothing is remembered of.
pub(super) const NO_TICKET: u64 = 0;

/// State of one key: the rate's or that of failures in a row, whichever its policy is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bucket {
    /// Theoretical arrival time, in microseconds of Unix time.
    tat_us: i64,
    failures: u32,
    last_failure_ms: i64,
    /// Checks under way.
    places: Vec<Place>,
    /// Of a spread alone: most buckets are of other kinds and pay one word for it.
    spread: Option<Box<Failures>>,
    /// What instances that count together know of it.
    shared: Shared,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    ticket: u64,
    since_ms: i64,
}

/// What one more attempt is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Go on.
    Held,
    /// Everything is held by checks under way.
    Busy,
    /// Too many.
    Denied {
        /// Milliseconds to wait, at least one.
        retry_after_ms: i64,
    },
}

/// How much is lost when a bucket is forgotten, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// Nothing: a new bucket would say the same.
    Nothing,
    /// Some of a budget is used.
    Used,
    /// It refuses a rate.
    Exhausted,
    /// It locks a key, or a check is under way.
    Locked,
}

impl Bucket {
    /// Takes one unit, or one place under this ticket.
    pub(super) fn ask(&mut self, policy: &Policy, ticket: u64, now_ms: i64) -> Turn {
        self.free_lost_places(now_ms);
        let turn = match policy.value {
            PolicyValue::Rate { .. } => return policy.quota().map_or(Turn::Held, |quota| self.take(quota, now_ms)),
            PolicyValue::Ladder(ladder) => self.ask_ladder(ladder, now_ms),
            PolicyValue::Count { max } => self.ask_count(max, now_ms),
            PolicyValue::Spread(spread) => self.ask_spread(spread, now_ms),
            // Counted in the database, and for all together.
            PolicyValue::Hard(_) | PolicyValue::Share(_) => return Turn::Held,
        };
        let is_remembered =
            turn == Turn::Held || policy.shadow == Shadow::Counted && self.places.len() < MAX_SHADOW_PLACES;
        if is_remembered {
            self.places.push(Place { ticket, since_ms: now_ms });
        }
        turn
    }

    fn take(&mut self, quota: Quota, now_ms: i64) -> Turn {
        match quota.ask(self.tat_us, now_ms.saturating_mul(1_000)) {
            Verdict::Allow { tat_us } => {
                self.tat_us = tat_us;
                self.shared.untold = true;
                Turn::Held
            }
            Verdict::Deny { retry_after_ms } => Turn::Denied { retry_after_ms },
        }
    }

    fn ask_ladder(&mut self, ladder: Ladder, now_ms: i64) -> Turn {
        match ladder.ask(self.rung(), now_ms) {
            Step::Reserve(rung) => {
                self.failures = rung.failures;
                Turn::Held
            }
            Step::Busy => Turn::Busy,
            Step::Deny { retry_after_ms } => Turn::Denied { retry_after_ms },
        }
    }

    fn ask_count(&mut self, max: u32, now_ms: i64) -> Turn {
        let age_ms = now_ms.saturating_sub(self.last_failure_ms).max(0);
        if age_ms > COUNT_FORGET_MS {
            self.failures = 0;
        }
        let Some(free) = max.checked_sub(self.failures).filter(|free| *free > 0) else {
            return Turn::Denied { retry_after_ms: COUNT_FORGET_MS.saturating_sub(age_ms).saturating_add(1) };
        };
        if self.pending() >= free { Turn::Busy } else { Turn::Held }
    }

    fn ask_spread(&self, spread: Spread, now_ms: i64) -> Turn {
        let none = Failures::default();
        match spread.ask(self.spread.as_deref().unwrap_or(&none), self.pending(), now_ms) {
            SpreadStep::Hold => Turn::Held,
            SpreadStep::Busy => Turn::Busy,
            SpreadStep::Deny { retry_after_ms } => Turn::Denied { retry_after_ms },
        }
    }

    /// Gives a place under a spread back.
    pub(super) fn settle_about(&mut self, spread: Spread, ticket: u64, failed: Option<u64>, now_ms: i64) {
        if let Some(subject) = failed {
            spread.fail(self.spread.get_or_insert_default(), subject, now_ms);
        }
        self.give_back_place(ticket, now_ms);
    }

    /// Gives a place back. A failure counts also when its place was lost meanwhile.
    pub(super) fn settle(&mut self, policy: &Policy, ticket: u64, outcome: Outcome, now_ms: i64) -> Settled {
        self.shared.untold |= outcome == Outcome::Failed;
        match policy.value {
            PolicyValue::Hard(_) => Settled::Counted,
            PolicyValue::Rate { .. } => {
                // A failure keeps what it took.
                if let (Some(quota), true) = (policy.quota(), outcome != Outcome::Failed) {
                    self.tat_us = quota.give_back(self.tat_us);
                }
                Settled::Counted
            }
            PolicyValue::Ladder(ladder) => {
                let after = ladder.settle(self.rung(), outcome, now_ms);
                (self.failures, self.last_failure_ms) = (after.failures, after.last_failure_ms);
                self.give_back_place(ticket, now_ms);
                Settled::Counted
            }
            PolicyValue::Count { max } => {
                match outcome {
                    Outcome::Failed => {
                        self.failures = self.failures.saturating_add(1);
                        self.last_failure_ms = now_ms;
                    }
                    Outcome::Succeeded => self.failures = 0,
                    Outcome::Abandoned => {}
                }
                self.give_back_place(ticket, now_ms);
                let is_exhausted = self.failures >= max && policy.shadow == Shadow::Enforced;
                if is_exhausted { Settled::Exhausted } else { Settled::Counted }
            }
            PolicyValue::Spread(_) | PolicyValue::Share(_) => {
                self.give_back_place(ticket, now_ms);
                Settled::Counted
            }
        }
    }

    /// Forgets failures and what was taken; checks under way keep their places.
    pub(super) fn forget(&mut self) {
        *self = Self { places: std::mem::take(&mut self.places), ..Self::default() };
    }

    /// Milliseconds until one more would be let through; 0 when it would be, or would only wait for others.
    pub(super) fn wait_ms(&self, policy: &Policy, now_ms: i64) -> i64 {
        // Asked of a copy: nothing is taken.
        match self.clone().ask(policy, NO_TICKET, now_ms) {
            Turn::Denied { retry_after_ms } => retry_after_ms,
            Turn::Held | Turn::Busy => 0,
        }
    }

    /// How much would be lost with it.
    pub(super) fn worth(&self, policy: &Policy, now_ms: i64) -> Worth {
        let is_lost = |place: &Place| now_ms.saturating_sub(place.since_ms) >= PLACE_MS;
        if !self.places.iter().all(is_lost) {
            return Worth::Locked;
        }
        let is_denied = self.wait_ms(policy, now_ms) > 0;
        match policy.value {
            PolicyValue::Rate { .. } if is_denied => Worth::Exhausted,
            PolicyValue::Rate { .. } if self.tat_us > now_ms.saturating_mul(1_000) => Worth::Used,
            PolicyValue::Rate { .. } => Worth::Nothing,
            PolicyValue::Ladder(_) | PolicyValue::Count { .. } | PolicyValue::Spread(_) if is_denied => Worth::Locked,
            PolicyValue::Ladder(ladder) if ladder.current(self.rung(), now_ms).failures > 0 => Worth::Used,
            PolicyValue::Count { .. } if self.failures > 0 => Worth::Used,
            PolicyValue::Spread(spread) if self.failed(spread, now_ms) > 0 => Worth::Used,
            PolicyValue::Ladder(_)
            | PolicyValue::Count { .. }
            | PolicyValue::Hard(_)
            | PolicyValue::Spread(_)
            | PolicyValue::Share(_) => Worth::Nothing,
        }
    }

    fn failed(&self, spread: Spread, now_ms: i64) -> u32 {
        self.spread.as_deref().map_or(0, |known| spread.failed(known, now_ms))
    }

    fn rung(&self) -> Rung {
        Rung { failures: self.failures, last_failure_ms: self.last_failure_ms, pending: self.pending() }
    }

    fn pending(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn give_back_place(&mut self, ticket: u64, now_ms: i64) {
        self.places.retain(|place| place.ticket != ticket);
        self.free_lost_places(now_ms);
    }

    fn free_lost_places(&mut self, now_ms: i64) {
        self.places.retain_mut(|place| {
            // A clock that went back must not keep a place longer than its time.
            place.since_ms = place.since_ms.min(now_ms);
            now_ms.saturating_sub(place.since_ms) < PLACE_MS
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: Ladder = Ladder { burst: 2, first_delay_ms: 1_000, max_delay_ms: 4_000, forget_ms: 10_000 };

    fn policy(value: PolicyValue) -> Policy {
        Policy::configured(value)
    }

    #[test]
    fn a_place_that_is_not_given_back_frees_itself() {
        let (mut bucket, ladder) = (Bucket::default(), policy(PolicyValue::Ladder(LADDER)));
        assert_eq!([1, 2, 3].map(|ticket| bucket.ask(&ladder, ticket, 0)), [Turn::Held, Turn::Held, Turn::Busy]);
        assert_eq!(bucket.ask(&ladder, 4, PLACE_MS - 1), Turn::Busy);
        assert_eq!(bucket.ask(&ladder, 5, PLACE_MS), Turn::Held);
    }

    #[test]
    fn a_clock_that_went_back_keeps_no_place_longer() {
        let (mut bucket, ladder) = (Bucket::default(), policy(PolicyValue::Ladder(LADDER)));
        assert_eq!(bucket.ask(&ladder, 1, 1_000_000), Turn::Held);
        assert_eq!(bucket.ask(&ladder, 2, 1_000_000), Turn::Held);
        assert_eq!(bucket.ask(&ladder, 3, 500), Turn::Busy);
        assert_eq!(bucket.ask(&ladder, 4, 500 + PLACE_MS), Turn::Held);
    }

    #[test]
    fn a_failure_whose_place_was_lost_counts_all_the_same() {
        let (mut bucket, ladder) = (Bucket::default(), policy(PolicyValue::Ladder(LADDER)));
        for ticket in [1, 2] {
            assert_eq!(bucket.ask(&ladder, ticket, 0), Turn::Held);
        }
        for ticket in [1, 2] {
            bucket.settle(&ladder, ticket, Outcome::Failed, PLACE_MS + 1);
        }
        assert_eq!(bucket.wait_ms(&ladder, PLACE_MS + 1), 1_000);
    }

    #[test]
    fn a_count_is_exhausted_by_failures_in_a_row_only() {
        let (mut bucket, count) = (Bucket::default(), policy(PolicyValue::Count { max: 2 }));
        let mut settle = |outcome, ticket| {
            assert_eq!(bucket.ask(&count, ticket, 0), Turn::Held);
            bucket.settle(&count, ticket, outcome, 0)
        };
        let outcomes = [Outcome::Failed, Outcome::Abandoned, Outcome::Succeeded, Outcome::Failed, Outcome::Failed];
        let settled: Vec<Settled> = outcomes.into_iter().zip(1..).map(|(outcome, at)| settle(outcome, at)).collect();
        let counted = Settled::Counted;
        assert_eq!(settled, [counted, counted, counted, counted, Settled::Exhausted]);
        assert!(matches!(bucket.ask(&count, 9, 0), Turn::Denied { .. }));
    }

    #[test]
    fn a_success_under_a_rate_gives_back_its_unit_and_a_failure_does_not() {
        let rate = policy(PolicyValue::Rate { rate: "1/min".parse().unwrap(), burst: 1 });
        let mut bucket = Bucket::default();
        assert_eq!(bucket.ask(&rate, 1, 0), Turn::Held);
        bucket.settle(&rate, 1, Outcome::Succeeded, 0);
        assert_eq!(bucket.ask(&rate, 2, 0), Turn::Held);
        bucket.settle(&rate, 2, Outcome::Failed, 0);
        assert!(matches!(bucket.ask(&rate, 3, 0), Turn::Denied { .. }));
    }

    #[test]
    fn the_worth_of_a_bucket_is_what_forgetting_it_would_give_away() {
        let rate = policy(PolicyValue::Rate { rate: "1/s".parse().unwrap(), burst: 2 });
        let mut bucket = Bucket::default();
        let mut worths = vec![bucket.worth(&rate, 0)];
        for ticket in [1, 2] {
            bucket.ask(&rate, ticket, 0);
            worths.push(bucket.worth(&rate, 0));
        }
        assert_eq!(worths, [Worth::Nothing, Worth::Used, Worth::Exhausted]);
        assert_eq!(bucket.worth(&rate, 2_000), Worth::Nothing);

        let ladder = policy(PolicyValue::Ladder(LADDER));
        let mut bucket = Bucket::default();
        bucket.ask(&ladder, 1, 0);
        assert_eq!(bucket.worth(&ladder, 0), Worth::Locked);
        bucket.settle(&ladder, 1, Outcome::Failed, 0);
        assert_eq!(bucket.worth(&ladder, 0), Worth::Used);
        bucket.settle(&ladder, 2, Outcome::Failed, 0);
        assert_eq!(bucket.worth(&ladder, 999), Worth::Locked);
        assert_eq!(bucket.worth(&ladder, 1_000), Worth::Used);
        assert_eq!(bucket.worth(&ladder, 10_001), Worth::Nothing);
    }
}
