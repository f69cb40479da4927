//! What each flow does when something is wrong: one table. The public API consults it, `authctl status` and
//! authd-failures(7) print it, and a test walks it with the real faults.

mod matrix;
mod text;

use shared::{error::ErrorCode, mode::Mode};

/// Something people or operators do, or the daemon does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// Registration.
    Register,
    /// Login.
    Login,
    /// Refresh.
    Refresh,
    /// What people change: logout, ended sessions, another or a reset password, a deleted account.
    Change,
    /// What people read: their profile, their sessions.
    Read,
    /// Verification of access tokens, and the key set.
    Verify,
    /// What operators read.
    AdminRead,
    /// What operators change.
    AdminChange,
    /// Rotation of signing keys.
    KeyRotation,
    /// The audit log.
    Audit,
}

impl Flow {
    /// All of them, in the order of the manual.
    pub const ALL: [Self; 10] = [
        Self::Register,
        Self::Login,
        Self::Refresh,
        Self::Change,
        Self::Read,
        Self::Verify,
        Self::AdminRead,
        Self::AdminChange,
        Self::KeyRotation,
        Self::Audit,
    ];
}

/// Something that is wrong, or that an operator has ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// The database does not answer: it is down, hangs, or cannot be reached.
    DatabaseAway,
    /// The database answers and takes no writes, or the audit log takes no events.
    DatabaseUnwritable,
    /// A change was committed and the answer to the commit was lost.
    CommitReplyLost,
    /// Redis does not answer, is slow, or has forgotten everything.
    RedisAway,
    /// More passwords wait to be hashed than can be in time.
    HashQueueFull,
    /// The clock has jumped.
    ClockStepped,
    /// Mode `read-only`.
    ReadOnly,
    /// Mode `no-login`.
    NoLogin,
    /// Mode `lockdown`, or a restored database that nobody has accepted.
    Lockdown,
}

impl Condition {
    /// All of them, in the order of the manual.
    pub const ALL: [Self; 9] = [
        Self::DatabaseAway,
        Self::DatabaseUnwritable,
        Self::CommitReplyLost,
        Self::RedisAway,
        Self::HashQueueFull,
        Self::ClockStepped,
        Self::ReadOnly,
        Self::NoLogin,
        Self::Lockdown,
    ];

    /// What a mode means; `None` for the normal one.
    #[must_use]
    pub fn of(mode: Mode) -> Option<Self> {
        match mode {
            Mode::Normal => None,
            Mode::ReadOnly => Some(Self::ReadOnly),
            Mode::NoLogin => Some(Self::NoLogin),
            Mode::Lockdown => Some(Self::Lockdown),
        }
    }

    /// The code with which a flow that is closed answers.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::HashQueueFull => ErrorCode::Overloaded,
            Self::ReadOnly | Self::NoLogin => ErrorCode::ReadOnly,
            Self::DatabaseAway
            | Self::DatabaseUnwritable
            | Self::CommitReplyLost
            | Self::RedisAway
            | Self::ClockStepped
            | Self::Lockdown => ErrorCode::StorageUnavailable,
        }
    }

    /// What follows from it, in a line: which flows are closed, which work with less.
    #[must_use]
    pub fn effect(self) -> String {
        let parts = [
            (Behaviour::Closed, "answers 503", "answer 503"),
            (Behaviour::Degraded, "works with less", "work with less"),
            (Behaviour::Open, "goes on from memory", "go on from memory"),
        ];
        let told = parts.into_iter().filter_map(|(behaviour, one, several)| {
            let flows: Vec<&str> =
                Flow::ALL.into_iter().filter(|flow| cell(*flow, self).behaviour == behaviour).map(Flow::name).collect();
            let verb = if flows.len() == 1 { one } else { several };
            (!flows.is_empty()).then(|| format!("{} {verb}", flows.join(", ")))
        });
        told.collect::<Vec<_>>().join("; ")
    }
}

/// What a flow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It is refused with 503, and nothing has changed.
    Closed,
    /// It works with less than usual.
    Degraded,
    /// It goes on from what is in memory.
    Open,
    /// It does not notice.
    Unaffected,
}

/// What one flow does under one condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// In a word.
    pub behaviour: Behaviour,
    /// In a sentence; empty where there is nothing to say.
    pub effect: &'static str,
}

/// What `flow` does under `condition`.
#[must_use]
pub fn cell(flow: Flow, condition: Condition) -> Cell {
    let found = matrix::MATRIX.iter().find(|(of, under, ..)| (*of, *under) == (flow, condition));
    let (behaviour, effect) =
        found.map_or((Behaviour::Unaffected, ""), |(_, _, behaviour, effect)| (*behaviour, *effect));
    Cell { behaviour, effect }
}

/// Whether `flow` must be refused under `condition`.
#[must_use]
pub fn is_closed(flow: Flow, condition: Condition) -> bool {
    cell(flow, condition).behaviour == Behaviour::Closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_told_twice_and_none_is_told_that_says_nothing() {
        for (number, (flow, condition, behaviour, effect)) in matrix::MATRIX.iter().enumerate() {
            let again = matrix::MATRIX.iter().skip(number + 1).any(|cell| (cell.0, cell.1) == (*flow, *condition));
            assert!(!again, "{flow:?} under {condition:?} is told twice");
            assert!(!effect.is_empty() && effect.ends_with('.'), "{flow:?} under {condition:?}: {effect}");
            assert!(Flow::ALL.contains(flow) && Condition::ALL.contains(condition));
            assert!(*behaviour != Behaviour::Closed || condition.code().status() == 503);
        }
    }

    #[test]
    fn modes_do_what_their_names_say() {
        let closed = |condition| Flow::ALL.into_iter().filter(|flow| is_closed(*flow, condition)).collect::<Vec<_>>();
        let public = [Flow::Register, Flow::Login, Flow::Refresh, Flow::Change, Flow::Read, Flow::Verify];
        assert_eq!(closed(Condition::ReadOnly), public[..4]);
        assert_eq!(closed(Condition::NoLogin), public[..2]);
        assert_eq!(closed(Condition::Lockdown), public);
    }

    #[test]
    fn the_effect_of_a_condition_names_what_is_closed_and_what_goes_on() {
        let effect = Condition::DatabaseAway.effect();
        assert!(effect.starts_with("registration, login, refresh"), "{effect}");
        assert!(effect.contains("answer 503") && effect.contains("verification goes on from memory"), "{effect}");
        assert_eq!(Condition::NoLogin.effect(), "registration, login answer 503");
    }
}
