//! Recorded attempts under another limit: how many it would have refused, and how many of those were real logins.
//! Pure: the rules are those that the limiter uses, the times those of the recording.

use crate::domain::{
    ladder::{Ladder, Outcome, Rung, Step},
    limit::PolicyValue,
    quota::{Quota, Verdict},
};
use std::collections::HashMap;

/// Keys that are told as worst.
pub const WORST: usize = 10;

/// One line of a recording: attempts of one kind at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// When the last of them was, Unix milliseconds.
    pub at_ms: i64,
    /// Whose, as a number of the caller's.
    pub key: u32,
    /// How it ended.
    pub outcome: Recorded,
    /// How many; more than one where refusals were counted into one event.
    pub count: u32,
    /// Over which time before it they are spread evenly.
    pub span_ms: i64,
}

/// How a recorded attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recorded {
    /// A login.
    Succeeded,
    /// A wrong password.
    Failed,
    /// It was refused before the password was looked at.
    Refused,
}

/// What the limit would have done to some attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effect {
    /// All.
    pub attempts: u64,
    /// Those it would have refused.
    pub refused: u64,
    /// Those of them that were logins.
    pub refused_logins: u64,
}

/// What the limit would have done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replayed {
    /// To all.
    pub all: Effect,
    /// To the keys it would have refused most, the worst first.
    pub worst: Vec<(u32, Effect)>,
}

/// State of one key.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    tat_us: i64,
    rung: Rung,
    effect: Effect,
}

/// Whether a value can be replayed: rates and ladders can.
#[must_use]
pub fn is_replayable(value: &PolicyValue) -> bool {
    matches!(value, PolicyValue::Rate { .. } | PolicyValue::Ladder(_))
}

/// Runs attempts through a limit; their order does not matter.
#[must_use]
pub fn replay(value: &PolicyValue, attempts: &[Attempt]) -> Replayed {
    let quota = match value {
        PolicyValue::Rate { rate, burst } => Quota::new(*rate, *burst),
        _ => None,
    };
    let mut keys: HashMap<u32, State> = HashMap::new();
    for (at_ms, key, outcome) in in_order(attempts) {
        let state = keys.entry(key).or_default();
        let passes = match value {
            PolicyValue::Ladder(ladder) => climb(*ladder, &mut state.rung, outcome, at_ms),
            _ => quota.is_none_or(|quota| take(quota, &mut state.tat_us, at_ms)),
        };
        let is_login = outcome == Recorded::Succeeded;
        state.effect.attempts += 1;
        state.effect.refused += u64::from(!passes);
        state.effect.refused_logins += u64::from(!passes && is_login);
    }
    let all = keys.values().fold(Effect::default(), |sum, state| Effect {
        attempts: sum.attempts + state.effect.attempts,
        refused: sum.refused + state.effect.refused,
        refused_logins: sum.refused_logins + state.effect.refused_logins,
    });
    let hit = keys.into_iter().map(|(key, state)| (key, state.effect)).filter(|(_, effect)| effect.refused > 0);
    let mut worst: Vec<(u32, Effect)> = hit.collect();
    worst.sort_by_key(|(key, effect)| (std::cmp::Reverse((effect.refused, effect.refused_logins)), *key));
    worst.truncate(WORST);
    Replayed { all, worst }
}

/// Every single attempt, oldest first.
fn in_order(attempts: &[Attempt]) -> Vec<(i64, u32, Recorded)> {
    let mut single: Vec<(i64, u32, Recorded)> = attempts
        .iter()
        .flat_map(|attempt| {
            let count = i64::from(attempt.count);
            let at_ms = move |number| attempt.at_ms - attempt.span_ms * (count - 1 - number) / count.max(1);
            (0..count).map(move |number| (at_ms(number), attempt.key, attempt.outcome))
        })
        .collect();
    single.sort_by_key(|(at_ms, key, _)| (*at_ms, *key));
    single
}

fn take(quota: Quota, tat_us: &mut i64, at_ms: i64) -> bool {
    match quota.ask(*tat_us, at_ms.saturating_mul(1_000)) {
        Verdict::Allow { tat_us: next } => {
            *tat_us = next;
            true
        }
        Verdict::Deny { .. } => false,
    }
}

/// An attempt whose password was never looked at counts as one with a wrong password: it was refused for such.
fn climb(ladder: Ladder, rung: &mut Rung, outcome: Recorded, at_ms: i64) -> bool {
    match ladder.ask(*rung, at_ms) {
        Step::Reserve(held) => {
            let ended = if outcome == Recorded::Succeeded { Outcome::Succeeded } else { Outcome::Failed };
            *rung = ladder.settle(held, ended, at_ms);
            true
        }
        Step::Busy | Step::Deny { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attempt(at_ms: i64, key: u32, outcome: Recorded) -> Attempt {
        Attempt { at_ms, key, outcome, count: 1, span_ms: 0 }
    }

    fn rate(text: &str, burst: u32) -> PolicyValue {
        PolicyValue::Rate { rate: text.parse().unwrap(), burst }
    }

    #[test]
    fn a_rate_refuses_what_it_would_have_refused_and_tells_logins_apart() {
        let mut attempts: Vec<Attempt> = (0..10).map(|number| attempt(number, 7, Recorded::Failed)).collect();
        attempts.push(attempt(20, 7, Recorded::Succeeded));
        attempts.push(attempt(20, 8, Recorded::Succeeded));
        attempts.reverse();
        let replayed = replay(&rate("1/min", 4), &attempts);
        assert_eq!(replayed.all, Effect { attempts: 12, refused: 7, refused_logins: 1 });
        assert_eq!(replayed.worst, [(7, Effect { attempts: 11, refused: 7, refused_logins: 1 })]);
        assert_eq!(replay(&rate("off", 1), &attempts).all.refused, 0);
    }

    #[test]
    fn attempts_that_were_counted_into_one_event_are_spread_over_their_minute() {
        let counted = Attempt { count: 60, span_ms: 60_000, ..attempt(60_000, 1, Recorded::Refused) };
        assert_eq!(replay(&rate("1/s", 1), &[counted]).all, Effect { attempts: 60, refused: 0, refused_logins: 0 });
        let at_once = Attempt { span_ms: 0, ..counted };
        assert_eq!(replay(&rate("1/s", 1), &[at_once]).all.refused, 59);
    }

    #[test]
    fn a_ladder_forgets_failures_at_a_login() {
        let ladder = Ladder { burst: 2, first_delay_ms: 1_000, max_delay_ms: 8_000, forget_ms: 60_000 };
        let steps = [Recorded::Failed, Recorded::Failed, Recorded::Succeeded, Recorded::Failed];
        let attempts: Vec<Attempt> =
            steps.into_iter().zip(0..).map(|(outcome, number)| attempt(number * 10, 1, outcome)).collect();
        let replayed = replay(&PolicyValue::Ladder(ladder), &attempts);
        assert_eq!(replayed.all, Effect { attempts: 4, refused: 2, refused_logins: 1 });
    }

    proptest! {
        #[test]
        fn a_wider_burst_refuses_no_more_and_sums_agree(
            steps in proptest::collection::vec((0i64..100_000, 0u32..5, 0u8..3), 0..200), burst in 1u32..6,
        ) {
            let attempts: Vec<Attempt> = steps.into_iter().map(|(at_ms, key, kind)| {
                attempt(at_ms, key, [Recorded::Succeeded, Recorded::Failed, Recorded::Refused][usize::from(kind)])
            }).collect();
            let narrow = replay(&rate("10/min", burst), &attempts);
            let wide = replay(&rate("10/min", burst + 1), &attempts);
            prop_assert!(wide.all.refused <= narrow.all.refused);
            prop_assert_eq!(narrow.all.attempts, u64::try_from(attempts.len()).unwrap());
            prop_assert_eq!(narrow.worst.iter().map(|(_, effect)| effect.refused).sum::<u64>(), narrow.all.refused);
        }
    }
}
