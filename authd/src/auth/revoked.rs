//! Sessions that ended, in memory: what `verify` asks instead of the database, and ends that still wait to be durable.

use crate::domain::{
    audit::Event,
    revocation::{FeedCursor, Revocation},
    session::EndReason,
    token::Handle,
};
use shared::id::SessionId;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError, RwLock},
};

/// Ends that could not be made durable, kept for a retry; beyond this many the caller's 503 is all there is.
const MAX_PENDING: usize = 10_000;
/// Ends that are taken in while nobody can ask: a fraction of a millisecond.
const AT_ONCE: usize = 2_000;
/// Looking for what may be forgotten goes through the whole set; beyond this many it is done twice a minute.
const MANY: usize = 10_000;
const FORGET_EACH_MS: i64 = 30_000;

/// The set. Bounded by what ended within the life of an access token: about 50 MiB for a million.
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

/// A session's id in little space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Short([u8; 16]);

impl From<&SessionId> for Short {
    fn from(session: &SessionId) -> Self {
        Self(session.bits().to_be_bytes())
    }
}

#[derive(Debug, Default)]
struct State {
    /// When each may be forgotten.
    sessions: HashMap<Short, i64>,
    /// None of them earlier than this.
    first_forget_ms: i64,
    /// When it was last looked for what may be.
    forgot_ms: i64,
    denied: HashSet<SessionId>,
    cursor: FeedCursor,
    loaded_ms: Option<i64>,
    floor_s: i64,
}

impl State {
    fn remember(&mut self, session: &SessionId, forget_ms: i64) {
        self.first_forget_ms = if self.sessions.is_empty() { forget_ms } else { self.first_forget_ms.min(forget_ms) };
        self.sessions.insert(session.into(), forget_ms);
    }

    fn forget(&mut self, now_ms: i64) {
        let is_early = self.sessions.len() > MANY && now_ms.abs_diff(self.forgot_ms) < FORGET_EACH_MS.unsigned_abs();
        if self.first_forget_ms > now_ms || is_early {
            return;
        }
        self.sessions.retain(|_, forget_ms| *forget_ms > now_ms);
        self.first_forget_ms = self.sessions.values().copied().min().unwrap_or(i64::MAX);
        self.forgot_ms = now_ms;
        if self.sessions.len() < self.sessions.capacity() / 8 {
            self.sessions.shrink_to_fit();
        }
    }
}

impl RevokedSet {
    /// Where the next poll starts.
    #[must_use]
    pub fn cursor(&self) -> FeedCursor {
        self.state.read().unwrap_or_else(PoisonError::into_inner).cursor
    }

    /// When the set was last known complete, Unix milliseconds; `None` before the first load.
    #[must_use]
    pub fn loaded_ms(&self) -> Option<i64> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).loaded_ms
    }

    /// Takes a page of a poll's result and forgets what no token can outlive. With the last page the set is complete.
    pub fn absorb(&self, news: &[Revocation], cursor: FeedCursor, now_ms: i64, forget: Forget) {
        for some in news.chunks(AT_ONCE) {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            for revocation in some {
                state.denied.remove(&revocation.session);
                state.remember(&revocation.session, revocation.forget_ms);
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if forget == Forget::Expired {
            state.forget(now_ms);
        }
        state.cursor = cursor;
        if !cursor.has_more() {
            state.loaded_ms = Some(now_ms);
        }
    }

    /// Sessions that ended on this instance just now.
    pub(super) fn add(&self, sessions: &[SessionId], forget_ms: i64) {
        for some in sessions.chunks(AT_ONCE) {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            some.iter().for_each(|session| state.remember(session, forget_ms));
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
        state.remember(session, forget_ms);
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
        state.sessions.contains_key(&session.into()) || state.denied.contains(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        audit::{Action, Actor, EventOutcome},
        revocation::FeedRound,
    };
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
        set.absorb(&[], FeedCursor::up_to(1), 1_000_000, Forget::Expired);
        assert!(set.denies(&session, 0));
        assert_eq!(set.due_ends(), [], "whoever wants it may be at it");
        assert_eq!(set.due_ends(), [(session.clone(), end())]);
        set.made_durable(&session, 2_000_000);
        assert!(set.denies(&session, 0) && set.due_ends().is_empty());
        set.absorb(&[], FeedCursor::up_to(2), 2_000_000, Forget::Nothing);
        assert!(set.denies(&session, 0), "a clock that is not believed ends nothing");
        set.absorb(&[], FeedCursor::up_to(2), 2_000_000, Forget::Expired);
        assert!(!set.denies(&session, 0), "no token of it can be alive");
    }

    #[test]
    fn a_large_set_is_complete_with_its_last_page_and_forgets_each_in_time() {
        let set = RevokedSet::default();
        let session = |number: u32| SessionId::new(i64::from(number), [7; 10]);
        let last = 3 * u32::try_from(MANY).unwrap();
        let ends: Vec<Revocation> = (0..last)
            .map(|number| Revocation { session: session(number), forget_ms: 1_000 + 10 * i64::from(number) })
            .collect();
        let round = Some(FeedRound { until: 9, after: (0, 1) });
        set.absorb(&ends[..MANY], FeedCursor { read: 0, round }, 500, Forget::Expired);
        assert_eq!((set.loaded_ms(), set.cursor().read), (None, 0));
        set.absorb(&ends[MANY..], FeedCursor::up_to(9), 600, Forget::Expired);
        assert_eq!((set.loaded_ms(), set.cursor().read), (Some(600), 9));
        assert!((0..last).all(|number| set.contains(&session(number))) && !set.contains(&session(last)));
        set.absorb(&[], FeedCursor::up_to(9), 1_000, Forget::Expired);
        assert!(set.contains(&session(0)), "not worth the while yet");
        let half = 10 * i64::from(last / 2);
        set.absorb(&[], FeedCursor::up_to(9), half, Forget::Expired);
        assert!((0..last).all(|number| set.contains(&session(number)) == (1_000 + 10 * i64::from(number) > half)));
    }

    #[test]
    fn tokens_from_before_an_epoch_bump_are_denied() {
        let (set, session) = (RevokedSet::default(), SessionId::new(0, [1; 10]));
        set.raise_floor(100);
        set.raise_floor(50);
        assert!(set.denies(&session, 99) && !set.denies(&session, 100));
    }
}
