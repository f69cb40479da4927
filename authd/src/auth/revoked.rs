//! Sessions that ended, in memory: what `verify` asks instead of the database, and ends that still wait to be durable.

use crate::domain::{
    audit::Event,
    session::{EndReason, Revocation},
    token::Handle,
};
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
    pending: Mutex<HashMap<SessionId, Waiting<PendingEnd>>>,
    sought: Mutex<HashMap<Handle, Waiting<Event>>>,
}

/// What is to be done, by the call that wants it or, when that could not, by a job.
#[derive(Debug)]
struct Waiting<T> {
    what: T,
    /// Whether a turn of the job has gone by since: the call is over, or has been slow for as long.
    is_due: bool,
}

impl<T: Clone> Waiting<T> {
    fn new(what: T) -> Self {
        Self { what, is_due: false }
    }

    /// What was already waiting at the last turn; the rest is at the next one.
    fn due<K: Clone>(waiting: &Mutex<HashMap<K, Self>>) -> Vec<(K, T)> {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let due = waiting.iter().filter(|(_, one)| one.is_due).map(|(key, one)| (key.clone(), one.what.clone()));
        let due = due.collect();
        waiting.values_mut().for_each(|one| one.is_due = true);
        due
    }
}

/// What a poll may forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forget {
    /// Ends that no token can outlive.
    Expired,
    /// Nothing: the clock is not believed.
    Nothing,
}

/// An end that waits to be durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingEnd {
    /// Why.
    pub(super) why: EndReason,
    /// Who ended it, in which request.
    pub(super) event: Event,
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

    /// Takes a poll's result and forgets what no token can outlive.
    pub fn absorb(&self, news: Vec<Revocation>, cursor: i64, now_ms: i64, forget: Forget) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for revocation in news {
            state.denied.remove(&revocation.session);
            state.sessions.insert(revocation.session, revocation.forget_ms);
        }
        if forget == Forget::Expired {
            state.sessions.retain(|_, forget_ms| *forget_ms > now_ms);
        }
        state.cursor = cursor;
        state.loaded_ms = Some(now_ms);
    }

    /// Sessions that ended on this instance just now.
    pub(super) fn add(&self, sessions: &[SessionId], forget_ms: i64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for session in sessions {
            state.sessions.insert(session.clone(), forget_ms);
        }
    }

    /// Denies a session from memory until its end is durable.
    pub(super) fn deny_until_durable(&self, session: &SessionId, end: PendingEnd) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() < MAX_PENDING || pending.contains_key(session) {
            pending.insert(session.clone(), Waiting::new(end));
            self.state.write().unwrap_or_else(PoisonError::into_inner).denied.insert(session.clone());
        }
    }

    /// Ends that have waited to be durable since the last time somebody asked.
    pub(super) fn due_ends(&self) -> Vec<(SessionId, PendingEnd)> {
        Waiting::due(&self.pending)
    }

    /// The session of this handle is to end; which one that is, storage has not said yet.
    pub(super) fn seek(&self, handle: Handle, event: Event) {
        let mut sought = self.sought.lock().unwrap_or_else(PoisonError::into_inner);
        if sought.len() < MAX_PENDING {
            sought.insert(handle, Waiting::new(event));
        }
    }

    /// Storage has said which session has this handle, or that there is none.
    pub(super) fn found(&self, handle: Handle) {
        self.sought.lock().unwrap_or_else(PoisonError::into_inner).remove(&handle);
    }

    /// Handles whose sessions have waited to end since the last time somebody asked, each with the event of it.
    pub(super) fn due_searches(&self) -> Vec<(Handle, Event)> {
        Waiting::due(&self.sought)
    }

    /// The end of `session` is durable now.
    pub(super) fn made_durable(&self, session: &SessionId, forget_ms: i64) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.denied.remove(session);
        state.sessions.insert(session.clone(), forget_ms);
    }

    /// Access tokens issued before `floor_s` (Unix seconds) do not work any more: the global epoch moved (R13).
    pub(super) fn raise_floor(&self, floor_s: i64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.floor_s = state.floor_s.max(floor_s);
    }

    /// Whether a token of this session, issued then, must not work.
    #[must_use]
    pub fn denies(&self, session: &SessionId, issued_s: i64) -> bool {
        let below = issued_s < self.state.read().unwrap_or_else(PoisonError::into_inner).floor_s;
        below || self.contains(session)
    }

    fn contains(&self, session: &SessionId) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.sessions.contains_key(session) || state.denied.contains(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Action, Actor, EventOutcome};
    use shared::id::EventId;

    fn end() -> PendingEnd {
        let event = Event {
            id: EventId::new(0, [0; 10]),
            at_ms: 0,
            action: Action::SessionRevoked,
            outcome: EventOutcome::Ok,
            reason: None,
            actor: Actor::User("usr_1".to_owned()),
            target: None,
            network: None,
            device: None,
            request_id: None,
            detail: Vec::new(),
        };
        PendingEnd { why: EndReason::Logout, event }
    }

    #[test]
    fn a_session_whose_end_is_not_durable_is_denied_and_keeps_who_ended_it() {
        let (set, session) = (RevokedSet::default(), SessionId::new(0, [1; 10]));
        set.deny_until_durable(&session, end());
        set.absorb(Vec::new(), 1, 1_000_000, Forget::Expired);
        assert!(set.denies(&session, 0));
        assert_eq!(set.due_ends(), [], "whoever wants it may be at it");
        assert_eq!(set.due_ends(), [(session.clone(), end())]);
        set.made_durable(&session, 2_000_000);
        assert!(set.denies(&session, 0) && set.due_ends().is_empty());
        set.absorb(Vec::new(), 2, 2_000_000, Forget::Nothing);
        assert!(set.denies(&session, 0), "a clock that is not believed ends nothing");
        set.absorb(Vec::new(), 2, 2_000_000, Forget::Expired);
        assert!(!set.denies(&session, 0), "no token of it can be alive");
    }

    #[test]
    fn tokens_from_before_an_epoch_bump_are_denied() {
        let (set, session) = (RevokedSet::default(), SessionId::new(0, [1; 10]));
        set.raise_floor(100);
        set.raise_floor(50);
        assert!(set.denies(&session, 99) && !set.denies(&session, 100));
    }
}
