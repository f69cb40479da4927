//! The lockout ladder: after `burst` failures in a row every further one doubles the wait, up to a most.
//!
//! Only completed failures climb it. Attempts that are still being verified hold a place, so that parallel guesses
//! cannot exceed the budget; they are neither failures nor locks.

/// A last failure further ahead than this, in milliseconds, was noted by a clock that has gone back since.
pub const WENT_BACK_MS: i64 = 60_000;

/// How long ago something was. Nobody waits for the time that a clock went back by: what lies far ahead is long over.
#[must_use]
pub fn since_ms(at_ms: i64, now_ms: i64) -> i64 {
    let age_ms = now_ms.saturating_sub(at_ms);
    if age_ms < -WENT_BACK_MS { i64::MAX } else { age_ms.max(0) }
}

/// The ladder's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ladder {
    /// Failures that cost nothing.
    pub burst: u32,
    /// Wait after the first failure beyond them, in milliseconds.
    pub first_delay_ms: i64,
    /// The longest wait, in milliseconds.
    pub max_delay_ms: i64,
    /// Failures older than this are forgotten, in milliseconds.
    pub forget_ms: i64,
}

/// What is known of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rung {
    /// Completed failures in a row.
    pub failures: u32,
    /// When the last of them completed, Unix milliseconds.
    pub last_failure_ms: i64,
    /// Attempts that are being verified.
    pub pending: u32,
}

/// What the ladder says to one more attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Verify it; one place is held.
    Reserve(Rung),
    /// The budget is used up by attempts that are still being verified: wait for one to end.
    Busy,
    /// Too many failures.
    Deny {
        /// Milliseconds until the next attempt is verified, at least one.
        retry_after_ms: i64,
    },
}

/// How a verified attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The credential was wrong.
    Failed,
    /// The credential was right: the account starts afresh.
    Succeeded,
    /// Nothing was learnt (overload, fault): as if it had not been.
    Abandoned,
}

impl Ladder {
    /// The wait that `failures` in a row cost, in milliseconds.
    #[must_use]
    pub fn delay_ms(self, failures: u32) -> i64 {
        let Some(beyond) = failures.checked_sub(self.burst) else { return 0 };
        let doubled = 1i64.checked_shl(beyond).filter(|times| *times > 0).unwrap_or(i64::MAX);
        self.first_delay_ms.saturating_mul(doubled).min(self.max_delay_ms)
    }

    /// The rung without failures that are old enough to forget.
    #[must_use]
    pub fn current(self, rung: Rung, now_ms: i64) -> Rung {
        if now_ms.saturating_sub(rung.last_failure_ms) > self.forget_ms { Rung { failures: 0, ..rung } } else { rung }
    }

    /// Asks for one attempt at `now_ms`.
    #[must_use]
    pub fn ask(self, rung: Rung, now_ms: i64) -> Step {
        let rung = self.current(rung, now_ms);
        let left_ms = self.delay_ms(rung.failures).saturating_sub(since_ms(rung.last_failure_ms, now_ms));
        if left_ms > 0 && rung.failures >= self.burst {
            return Step::Deny { retry_after_ms: left_ms };
        }
        // Below the burst the free failures bound what may run at once; on the ladder it is one at a time.
        let free = self.burst.saturating_sub(rung.failures).max(1);
        if rung.pending >= free { Step::Busy } else { Step::Reserve(Rung { pending: rung.pending + 1, ..rung }) }
    }

    /// Gives a reserved place back with what was learnt at `now_ms`.
    #[must_use]
    pub fn settle(self, rung: Rung, outcome: Outcome, now_ms: i64) -> Rung {
        let pending = rung.pending.saturating_sub(1);
        match outcome {
            Outcome::Abandoned => Rung { pending, ..rung },
            Outcome::Succeeded => Rung { failures: 0, last_failure_ms: rung.last_failure_ms, pending },
            Outcome::Failed => {
                let failures = self.current(rung, now_ms).failures.saturating_add(1);
                Rung { failures, last_failure_ms: now_ms, pending }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LADDER: Ladder = Ladder { burst: 5, first_delay_ms: 1_000, max_delay_ms: 900_000, forget_ms: 86_400_000 };

    #[test]
    fn the_waits_double_from_the_first_failure_beyond_the_burst_up_to_the_most() {
        let waits: Vec<i64> = (3..=9).map(|failures| LADDER.delay_ms(failures)).collect();
        assert_eq!(waits, [0, 0, 1_000, 2_000, 4_000, 8_000, 16_000]);
        assert_eq!(LADDER.delay_ms(u32::MAX), 900_000);
    }

    #[test]
    fn parallel_attempts_beyond_the_budget_wait_and_are_not_denied() {
        let mut rung = Rung::default();
        for _ in 0..5 {
            let Step::Reserve(next) = LADDER.ask(rung, 0) else { panic!("budget of five") };
            rung = next;
        }
        assert_eq!(LADDER.ask(rung, 0), Step::Busy);
        let freed = LADDER.settle(rung, Outcome::Succeeded, 0);
        assert!(matches!(LADDER.ask(freed, 0), Step::Reserve(_)));
    }

    #[test]
    fn a_success_starts_afresh_and_failures_are_forgotten_after_a_day() {
        let locked = Rung { failures: 20, last_failure_ms: 1_000, pending: 0 };
        assert!(matches!(LADDER.ask(locked, 2_000), Step::Deny { .. }));
        assert!(matches!(LADDER.ask(locked, 86_402_000), Step::Reserve(Rung { failures: 0, .. })));
        let fresh = LADDER.settle(Rung { pending: 1, ..locked }, Outcome::Succeeded, 2_000);
        assert_eq!(fresh.failures, 0);
    }

    #[test]
    fn a_clock_that_went_back_makes_no_wait_longer_and_forgets_no_failure() {
        let locked = Rung { failures: 6, last_failure_ms: 7_200_000, pending: 0 };
        assert_eq!(LADDER.ask(locked, 7_199_000), Step::Deny { retry_after_ms: 2_000 });
        assert_eq!(LADDER.ask(locked, 0), Step::Reserve(Rung { pending: 1, ..locked }));
        let failed = LADDER.settle(Rung { pending: 1, ..locked }, Outcome::Failed, 0);
        assert_eq!(LADDER.ask(failed, 0), Step::Deny { retry_after_ms: 4_000 });
    }

    proptest! {
        #[test]
        fn never_more_evaluations_than_the_burst_plus_one_a_wait(steps in proptest::collection::vec((0i64..5_000, any::<bool>()), 1..200)) {
            let (mut rung, mut now_ms, mut failed) = (Rung::default(), 1_000_000, 0u32);
            for (gap_ms, finish) in steps {
                now_ms += gap_ms;
                if finish && rung.pending > 0 {
                    rung = LADDER.settle(rung, Outcome::Failed, now_ms);
                    failed += 1;
                } else if let Step::Reserve(next) = LADDER.ask(rung, now_ms) {
                    rung = next;
                }
                prop_assert_eq!(rung.failures, failed);
                prop_assert!(rung.pending <= 5u32.saturating_sub(rung.failures).max(1));
            }
        }
    }
}
