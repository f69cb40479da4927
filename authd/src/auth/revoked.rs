//! Sessions that ended, in memory: what `verify` asks instead of the database, and ends that still wait to be durable.

use crate::domain::session::{EndReason, Revocation};
use shared::id::SessionId;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError, RwLock},
};

/// Ends that could not be made durable, kept for a retry; beyond this many the caller's 503 is all there is.
const MAX_PENDING: usize = 10_000;

/// The set. Bounded by what ended within the life of an access token.
#[derive(Debug, Default)]
pub struct RevokedSet {
    state: RwLock<State>,
    pending: Mutex<HashMap<SessionId, EndReason>>,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionId, i64>,
    denied: HashSet<SessionId>,
    cursor: i64,
    loaded_ms: Option<i64>,
    floor_s: i64,
}

impl RevokedSet {
    /// Where the next poll starts.
    #[must_use]
    pub fn cursor(&self) -> i64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).cursor
    }

    /// When the set was last known complete, Unix milliseconds; `None` before the first load.
    #[must_use]
    pub fn loaded_ms(&self) -> Option<i64> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).loaded_ms
    }

    /// How many sessions it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.read().unwrap_or_else(PoisonError::into_inner).sessions.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a poll's result and forgets what no token can outlive.
    pub fn absorb(&self, news: Vec<Revocation>, cursor: i64, now_ms: i64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for revocation in news {
            state.denied.remove(&revocation.session);
            state.sessions.insert(revocation.session, revocation.forget_ms);
        }
        state.sessions.retain(|_, forget_ms| *forget_ms > now_ms);
        state.cursor = cursor;
        state.loaded_ms = Some(now_ms);
    }

    /// Sessions that ended on this instance just now.
    pub fn add(&self, sessions: &[SessionId], forget_ms: i64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for session in sessions {
            state.sessions.insert(session.clone(), forget_ms);
        }
    }

    /// Denies a session from memory until its end is durable.
    pub fn deny_until_durable(&self, session: &SessionId, why: EndReason) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() < MAX_PENDING || pending.contains_key(session) {
            pending.insert(session.clone(), why);
            self.state.write().unwrap_or_else(PoisonError::into_inner).denied.insert(session.clone());
        }
    }

    /// Ends that wait to be durable.
    #[must_use]
    pub fn pending(&self) -> Vec<(SessionId, EndReason)> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.iter().map(|(session, why)| (session.clone(), *why)).collect()
    }

    /// The end of `session` is durable now.
    pub fn made_durable(&self, session: &SessionId, forget_ms: i64) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.denied.remove(session);
        state.sessions.insert(session.clone(), forget_ms);
    }

    /// Access tokens issued before `floor_s` (Unix seconds) do not work any more: the global epoch moved (R13).
    pub fn raise_floor(&self, floor_s: i64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.floor_s = state.floor_s.max(floor_s);
    }

    /// Whether a token of this session, issued then, must not work.
    #[must_use]
    pub fn denies(&self, session: &SessionId, issued_s: i64) -> bool {
        let below = issued_s < self.state.read().unwrap_or_else(PoisonError::into_inner).floor_s;
        below || self.contains(session)
    }

    /// Whether a session must not work.
    #[must_use]
    pub fn contains(&self, session: &SessionId) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.sessions.contains_key(session) || state.denied.contains(session)
    }
}
