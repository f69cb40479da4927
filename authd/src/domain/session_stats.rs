//! An overview of all sessions: how many of which kinds, and where most of them are.

use crate::domain::session::{Network, SessionState, Transport};
use shared::id::UserId;

/// Sessions of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTally {
    /// Their state.
    pub state: SessionState,
    /// How their tokens travel.
    pub transport: Transport,
    /// Opened less than so many milliseconds ago, one of [`AGES_MS`]; `None`: longer ago than all of them.
    pub younger_than_ms: Option<i64>,
    /// How many.
    pub count: u64,
}

/// Bounds of the ages that sessions are counted by, in milliseconds: an hour, a day, a week, thirty days.
pub const AGES_MS: [i64; 4] = [3_600_000, 24 * 3_600_000, 7 * 24 * 3_600_000, 30 * 24 * 3_600_000];

/// An overview of all sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionStats {
    /// When it was made, by database time.
    pub at_ms: i64,
    /// Each kind there is.
    pub tallies: Vec<SessionTally>,
    /// Accounts with the most live sessions, their e-mail and how many; sought among those with the most sessions that
    /// nobody has ended.
    pub accounts: Vec<(UserId, Option<String>, u64)>,
    /// Networks with the most live sessions.
    pub networks: Vec<(Network, u64)>,
}
