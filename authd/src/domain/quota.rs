//! GCRA, the one rate rule: a pure function of a bucket's state, the time and the quota.
//!
//! State is the theoretical arrival time (TAT) in microseconds: the instant at which the bucket is empty again
//! (ITU-T I.371 annex A). One `i64` per key, no timers.

use shared::rate::Rate;

/// A TAT that lies further beyond the tolerance than this, in microseconds, was made by a clock that has gone back
/// since. Less of it is what requests that run at once leave.
pub const WENT_BACK_US: i64 = 60_000_000;

/// `burst` at once, then one every `emission_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Microseconds that one unit costs.
    pub emission_us: i64,
    /// How many may come at once, at least one.
    pub burst: u32,
}

/// What a bucket says to one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take it; `tat_us` is the new state.
    Allow {
        /// The new theoretical arrival time.
        tat_us: i64,
    },
    /// Not now; the state stays.
    Deny {
        /// Milliseconds until the next one would be allowed, at least one.
        retry_after_ms: i64,
    },
}

impl Quota {
    /// A quota of `rate` with `burst`; `None` when the rate is `off`.
    #[must_use]
    pub fn new(rate: Rate, burst: u32) -> Option<Self> {
        let Rate::Per { count, period_ms } = rate else { return None };
        let period_us = i64::try_from(period_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        Some(Self { emission_us: (period_us / i64::from(count)).max(1), burst: burst.max(1) })
    }

    /// How far the TAT may lie ahead of the time after an admission.
    #[must_use]
    pub fn tolerance_us(self) -> i64 {
        self.emission_us.saturating_mul(i64::from(self.burst))
    }

    /// Asks for one unit at `now_us`; `tat_us` is the stored state, 0 for a new key.
    #[must_use]
    pub fn ask(self, tat_us: i64, now_us: i64) -> Verdict {
        let most_us = now_us.saturating_add(self.tolerance_us());
        // Nobody waits for the time that a clock went back by: the bucket starts afresh.
        let is_from_later = tat_us.saturating_sub(most_us) > WENT_BACK_US;
        let tat_us = if is_from_later { now_us } else { tat_us.min(most_us) };
        let next_us = tat_us.max(now_us).saturating_add(self.emission_us);
        let ahead_us = next_us.saturating_sub(now_us).saturating_sub(self.tolerance_us());
        if ahead_us <= 0 {
            Verdict::Allow { tat_us: next_us }
        } else {
            Verdict::Deny { retry_after_ms: ahead_us.saturating_add(999).saturating_div(1_000) }
        }
    }

    /// The state after one admitted unit is given back.
    #[must_use]
    pub fn give_back(self, tat_us: i64) -> i64 {
        tat_us.saturating_sub(self.emission_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_bucket_gives_exactly_its_burst_and_then_one_an_interval() {
        let quota = Quota::new("30/min".parse().unwrap(), 20).unwrap();
        let (mut tat_us, mut admitted) = (0, 0);
        while let Verdict::Allow { tat_us: next } = quota.ask(tat_us, 5_000_000) {
            tat_us = next;
            admitted += 1;
        }
        assert_eq!(admitted, 20);
        assert_eq!(quota.ask(tat_us, 5_000_000), Verdict::Deny { retry_after_ms: 2_000 });
        assert!(matches!(quota.ask(tat_us, 7_000_000), Verdict::Allow { .. }));
        assert!(matches!(quota.ask(tat_us, 6_999_999), Verdict::Deny { .. }));
    }

    #[test]
    fn a_clock_that_went_back_keeps_nobody_waiting_for_it() {
        let quota = Quota::new("3/h".parse().unwrap(), 3).unwrap();
        let (hour_us, now_us) = (3_600_000_000, 1_700_000_000_000_000);
        let used_us = now_us + 2 * hour_us;
        for back_us in [0, 1_000, 30_000_000] {
            let full_us = used_us + quota.tolerance_us();
            assert!(matches!(quota.ask(full_us, used_us - back_us), Verdict::Deny { .. }), "{back_us}: no burst anew");
        }
        assert!(
            matches!(quota.ask(used_us, now_us), Verdict::Allow { tat_us } if tat_us == now_us + quota.emission_us)
        );
    }

    proptest! {
        #[test]
        fn no_window_admits_more_than_burst_plus_rate(
            count in 1u32..50, seconds in 1u64..100, burst in 1u32..30,
            gaps_ms in proptest::collection::vec(0i64..3_000, 1..300),
        ) {
            let quota = Quota::new(Rate::Per { count, period_ms: seconds * 1_000 }, burst).unwrap();
            let (mut tat_us, mut now_us) = (0i64, 1_000_000_000i64);
            let mut admitted: Vec<i64> = Vec::new();
            for gap_ms in gaps_ms {
                now_us += gap_ms * 1_000;
                if let Verdict::Allow { tat_us: next } = quota.ask(tat_us, now_us) {
                    tat_us = next;
                    admitted.push(now_us);
                }
            }
            for (at, start) in admitted.iter().enumerate() {
                for (to, end) in admitted.iter().enumerate().skip(at) {
                    let most = i64::from(burst) + (end - start) / quota.emission_us;
                    prop_assert!((to - at + 1) as i64 <= most);
                }
            }
        }

        #[test]
        fn waiting_as_told_is_enough(tat_us in 0i64..10_000_000_000, now_us in 0i64..10_000_000_000, burst in 1u32..9) {
            let quota = Quota { emission_us: 777_777, burst };
            // No admission puts the state further ahead than this.
            let tat_us = tat_us.min(now_us + quota.tolerance_us());
            if let Verdict::Deny { retry_after_ms } = quota.ask(tat_us, now_us) {
                let later = quota.ask(tat_us, now_us + retry_after_ms * 1_000);
                let allowed = matches!(later, Verdict::Allow { .. });
                prop_assert!(allowed);
            }
        }
    }
}
