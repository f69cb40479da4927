//! `login.hard`: how many passwords may be evaluated for one account until one of them is right, whatever restarts,
//! crashes, other instances or Redis do.
//!
//! An evaluation is charged before it is made and given back only when it was not made. A crash in between leaves the
//! charge: unlike a place held in memory it does not expire, because nobody can tell what was learnt. A right password
//! starts the count from zero. So between two right passwords no more are evaluated than [`CEILING`].

use crate::domain::{audit::Event, limit::LimitKey, store_error::StoreError};
use shared::id::UserId;

/// Most evaluations in a row for one account, of both lanes together, whatever is configured (NIST SP 800-63B-4
/// §3.2.2).
pub const CEILING: u32 = 100;

/// Whose attempts are counted and queued together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Devices that have logged in before, and sessions: what strangers do cannot use this lane up.
    Known,
    /// Everybody else.
    Unknown,
}

impl Lane {
    /// The word in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known_devices",
            Self::Unknown => "unknown_devices",
        }
    }
}

/// How many evaluations in a row each lane may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardLimit {
    unknown: u32,
    known: u32,
}

impl HardLimit {
    /// So many each; `None` unless both are at least one and together at most [`CEILING`].
    #[must_use]
    pub fn new(unknown: u32, known: u32) -> Option<Self> {
        let fits = unknown >= 1 && known >= 1 && unknown.checked_add(known).is_some_and(|sum| sum <= CEILING);
        fits.then_some(Self { unknown, known })
    }

    /// How many this lane may have.
    #[must_use]
    pub fn of(self, lane: Lane) -> u32 {
        match lane {
            Lane::Known => self.known,
            Lane::Unknown => self.unknown,
        }
    }

    /// Whether a lane is used up. The sum counts too: limits may have been lower for one lane and higher for the other
    /// when the rest was counted, or differ between instances.
    #[must_use]
    pub fn is_off(self, count: HardCount, lane: Lane) -> bool {
        count.of(lane) >= self.of(lane) || count.unknown.saturating_add(count.known) >= CEILING
    }
}

impl Default for HardLimit {
    /// 85 and 15.
    fn default() -> Self {
        Self { unknown: 85, known: 15 }
    }
}

/// Evaluations charged since the last right password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardCount {
    /// In the lane of unknown devices.
    pub unknown: u32,
    /// In the lane of known devices and sessions.
    pub known: u32,
}

impl HardCount {
    /// Those of one lane.
    #[must_use]
    pub fn of(self, lane: Lane) -> u32 {
        match lane {
            Lane::Known => self.known,
            Lane::Unknown => self.unknown,
        }
    }

    /// One evaluation of this lane.
    #[must_use]
    pub fn one(lane: Lane) -> Self {
        match lane {
            Lane::Known => Self { unknown: 0, known: 1 },
            Lane::Unknown => Self { unknown: 1, known: 0 },
        }
    }

    /// Whether nothing is charged.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// What is kept of one account. The store does in SQL what these functions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// What is charged.
    pub count: HardCount,
    /// Moves whenever the count starts from zero.
    pub generation: i64,
}

impl HardState {
    /// With one more evaluation; `None`: the lane is off.
    #[must_use]
    pub fn charged(self, lane: Lane, limit: HardLimit) -> Option<Self> {
        let (count, one) = (self.count, HardCount::one(lane));
        let more = HardCount { unknown: count.unknown + one.unknown, known: count.known + one.known };
        (!limit.is_off(count, lane)).then_some(Self { count: more, ..self })
    }

    /// Without an evaluation that was not made. One that was charged before the count started from zero is in it no
    /// more, so nothing is given back for it.
    #[must_use]
    pub fn given_back(self, lane: Lane, generation: i64) -> Self {
        if generation != self.generation {
            return self;
        }
        let (count, one) = (self.count, HardCount::one(lane));
        let less = HardCount {
            unknown: count.unknown.saturating_sub(one.unknown),
            known: count.known.saturating_sub(one.known),
        };
        Self { count: less, ..self }
    }

    /// After a right password: both lanes start from zero.
    #[must_use]
    pub fn cleared(self) -> Self {
        Self { count: HardCount::default(), generation: self.generation + 1 }
    }
}

/// An evaluation that was charged and may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it stays charged unless it is given back or the count is cleared"]
pub struct Charge {
    /// To whom.
    pub key: LimitKey,
    /// In which lane.
    pub lane: Lane,
    /// [`HardState::generation`] at the charge.
    pub generation: i64,
    /// Whether it was the last that the lane had.
    pub rest: Rest,
}

/// What a charge left of its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// More may come.
    Some,
    /// Nothing: the lane is off until it is opened.
    None,
}

/// Keeps the counts where restarts and other instances find them.
#[async_trait::async_trait]
pub trait HardStore: Send + Sync {
    /// Charges one evaluation before it is made; `None`: the lane is off.
    async fn charge(&self, key: &LimitKey, lane: Lane, limit: HardLimit) -> Result<Option<Charge>, StoreError>;

    /// Takes a charge back whose password was not evaluated.
    async fn give_back(&self, charge: &Charge) -> Result<(), StoreError>;

    /// Starts from zero after a right password.
    async fn clear(&self, key: &LimitKey) -> Result<(), StoreError>;

    /// Opens both lanes for an operator and writes `event`; what was charged until then.
    async fn open(&self, account: &UserId, event: Event) -> Result<HardCount, StoreError>;

    /// What is charged to each of these accounts, in their order.
    async fn counts(&self, accounts: &[UserId]) -> Result<Vec<HardCount>, StoreError>;

    /// Accounts that an operator or a reset opened within the last minute, and when.
    async fn opened_lately(&self) -> Result<Vec<(UserId, i64)>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_two_limits_together_exceed_the_ceiling() {
        assert_eq!(HardLimit::new(85, 15), Some(HardLimit::default()));
        for (unknown, known) in [(86, 15), (85, 16), (100, 1), (0, 15), (85, 0), (u32::MAX, u32::MAX)] {
            assert_eq!(HardLimit::new(unknown, known), None, "{unknown} {known}");
        }
    }

    #[test]
    fn each_lane_has_its_own_share() {
        let limit = HardLimit::default();
        for (lane, other, most) in [(Lane::Unknown, Lane::Known, 85), (Lane::Known, Lane::Unknown, 15)] {
            let (mut state, mut charged) = (HardState::default(), 0);
            while let Some(next) = state.charged(lane, limit) {
                (state, charged) = (next, charged + 1);
            }
            assert_eq!(charged, most);
            assert!(state.charged(other, limit).is_some(), "the other lane stays open");
            assert!(state.cleared().charged(lane, limit).is_some(), "a success opens it");
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Charge(Lane, HardLimit),
        /// Gives back the n-th of the charges that are still under way, however old.
        GiveBack(usize),
        /// The n-th of them is made.
        Evaluate(usize),
        Clear,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let lane = prop_oneof![3 => Just(Lane::Unknown), 1 => Just(Lane::Known)];
        let limit =
            (1u32..100, 0u32..99).prop_filter_map("fits", |(unknown, known)| HardLimit::new(unknown, known + 1));
        prop_oneof![
            200 => (lane, limit).prop_map(|(lane, limit)| Step::Charge(lane, limit)),
            20 => (0usize..9).prop_map(Step::GiveBack),
            150 => (0usize..9).prop_map(Step::Evaluate),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn no_history_evaluates_more_than_a_hundred_between_two_successes(
            steps in proptest::collection::vec(any_step(), 1..900),
        ) {
            let mut state = HardState::default();
            let mut under_way: Vec<(Lane, i64)> = Vec::new();
            // Evaluations that were charged since the last success, made or still to be made.
            let mut since: Vec<u32> = vec![0];
            for step in steps {
                match step {
                    Step::Charge(lane, limit) => if let Some(next) = state.charged(lane, limit) {
                        under_way.push((lane, state.generation));
                        state = next;
                        *since.last_mut().unwrap() += 1;
                    },
                    Step::GiveBack(at) if at < under_way.len() => {
                        let (lane, generation) = under_way.remove(at);
                        state = state.given_back(lane, generation);
                        since[usize::try_from(generation).unwrap()] -= 1;
                    }
                    Step::Evaluate(at) if at < under_way.len() => drop(under_way.remove(at)),
                    Step::GiveBack(_) | Step::Evaluate(_) => {}
                    Step::Clear => {
                        state = state.cleared();
                        since.push(0);
                    }
                }
                prop_assert!(since.iter().all(|evaluated| *evaluated <= CEILING), "{:?}", since);
                prop_assert_eq!(*since.last().unwrap(), state.count.unknown + state.count.known);
            }
        }
    }
}
