//! Spread: how many different subjects fail under one key in a while, as when one address tries many accounts.
//!
//! Only completed failures count; checks that are under way hold a place, so that many at once exceed nothing.

use crate::domain::ladder::{WENT_BACK_MS, since_ms};

/// The settings of a spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Subjects that may fail; 0: the policy is off.
    pub most: u32,
    /// How long a failure counts, in milliseconds.
    pub window_ms: i64,
    /// How long the key is locked once so many have failed, in milliseconds.
    pub lock_ms: i64,
}

/// What is known of one key: at most as many subjects as may fail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failures {
    /// Each with the time of its last failure.
    subjects: Vec<(u64, i64)>,
    /// The end of the lock.
    locked_until_ms: i64,
}

/// What a spread says to one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpreadStep {
    /// Check it.
    Hold,
    /// As many are being checked as may still fail: wait for one to end.
    Busy,
    /// Too many have failed.
    Deny {
        /// Milliseconds until the lock ends, at least one.
        retry_after_ms: i64,
    },
}

impl Spread {
    /// Asks for one more check while `pending` are under way.
    #[must_use]
    pub fn ask(self, known: &Failures, pending: u32, now_ms: i64) -> SpreadStep {
        let left_ms = self.locked_ms(known, now_ms);
        if left_ms > 0 {
            return SpreadStep::Deny { retry_after_ms: left_ms };
        }
        let free = self.most.saturating_sub(self.failed(known, now_ms)).max(1);
        if pending >= free { SpreadStep::Busy } else { SpreadStep::Hold }
    }

    /// Remembers that this subject failed.
    pub fn fail(self, known: &mut Failures, subject: u64, now_ms: i64) {
        known.subjects.retain(|(has, at_ms)| *has != subject && self.counts(*at_ms, now_ms));
        known.subjects.push((subject, now_ms));
        if self.failed(known, now_ms) >= self.most {
            *known = Failures { subjects: Vec::new(), locked_until_ms: now_ms.saturating_add(self.lock_ms) };
        }
    }

    /// How many different subjects have failed within the window.
    #[must_use]
    pub fn failed(self, known: &Failures, now_ms: i64) -> u32 {
        let count = known.subjects.iter().filter(|(_, at_ms)| self.counts(*at_ms, now_ms)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Milliseconds until the lock ends. Nobody waits for the time that a clock went back by.
    fn locked_ms(self, known: &Failures, now_ms: i64) -> i64 {
        let left_ms = known.locked_until_ms.saturating_sub(now_ms);
        let is_from_later = left_ms.saturating_sub(self.lock_ms) > WENT_BACK_MS;
        if is_from_later { 0 } else { left_ms.clamp(0, self.lock_ms) }
    }

    fn counts(self, at_ms: i64, now_ms: i64) -> bool {
        since_ms(at_ms, now_ms) < self.window_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const RULE: Spread = Spread { most: 3, window_ms: 600, lock_ms: 900 };

    #[test]
    fn the_last_that_may_fail_locks_the_key_for_a_while() {
        let mut known = Failures::default();
        for (subject, now_ms) in [(1, 0), (2, 1), (2, 2), (1, 3)] {
            assert_eq!(RULE.ask(&known, 0, now_ms), SpreadStep::Hold);
            RULE.fail(&mut known, subject, now_ms);
        }
        assert_eq!(RULE.ask(&known, 0, 10), SpreadStep::Hold, "two accounts are not three");
        RULE.fail(&mut known, 3, 10);
        assert_eq!(RULE.ask(&known, 0, 10), SpreadStep::Deny { retry_after_ms: 900 });
        assert_eq!(RULE.ask(&known, 0, 909), SpreadStep::Deny { retry_after_ms: 1 });
        assert_eq!(RULE.ask(&known, 0, 910), SpreadStep::Hold);
        assert_eq!(RULE.ask(&known, 0, -9_000), SpreadStep::Deny { retry_after_ms: 900 }, "never longer");
        assert_eq!(RULE.ask(&known, 0, -90_000), SpreadStep::Hold, "nor for as long as a clock went back");
    }

    #[test]
    fn checks_under_way_hold_what_may_still_fail() {
        let mut known = Failures::default();
        RULE.fail(&mut known, 1, 0);
        assert_eq!((RULE.ask(&known, 1, 0), RULE.ask(&known, 2, 0)), (SpreadStep::Hold, SpreadStep::Busy));
        assert_eq!(RULE.ask(&known, 2, 600), SpreadStep::Hold, "an old failure counts no more");
    }

    proptest! {
        #[test]
        fn it_locks_exactly_when_so_many_different_ones_failed_within_the_window(
            most in 1u32..8, steps in proptest::collection::vec((0u64..10, 0i64..120), 1..80),
        ) {
            let rule = Spread { most, window_ms: 300, lock_ms: 400 };
            let (mut known, mut now_ms) = (Failures::default(), 0i64);
            let (mut last, mut locked_until_ms) = (BTreeMap::new(), 0i64);
            for (subject, gap_ms) in steps {
                now_ms += gap_ms;
                let denied = matches!(rule.ask(&known, 0, now_ms), SpreadStep::Deny { .. });
                prop_assert_eq!(denied, locked_until_ms > now_ms);
                if denied {
                    continue;
                }
                rule.fail(&mut known, subject, now_ms);
                last.insert(subject, now_ms);
                last.retain(|_, at_ms| now_ms - *at_ms < 300);
                if last.len() >= most as usize {
                    last.clear();
                    locked_until_ms = now_ms + 400;
                }
                prop_assert!(known.subjects.len() < most as usize);
            }
        }
    }
}
