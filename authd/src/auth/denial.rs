//! Refusals in the audit without a flood: the first of a kind in a minute is written at once, the rest of that minute
//! are counted and written as one event when it is over. None is lost.

use crate::{
    auth::{Auth, spool::Kept},
    domain::{
        audit::{Actor, Event},
        limit::PolicyName,
        store_error::StoreError,
        tally::DenialFate,
    },
};
use shared::id::EventId;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Why a banned address is refused.
pub(super) const BAN: &str = "ban";
const WINDOW_MS: i64 = 60_000;
/// Kinds kept apart at once, about 500 bytes each; beyond it they are told apart by action and reason only.
const MAX_KINDS: usize = 10_000;

/// While it is full it is looked through for room so often, in milliseconds: a flood must not pay for it each time.
const SWEEP_MS: i64 = 1_000;

/// Counts refusals by kind.
#[derive(Debug, Default)]
pub(super) struct Denials(Mutex<Kinds>);

#[derive(Debug, Default)]
struct Kinds {
    windows: HashMap<String, Window>,
    swept_ms: Option<i64>,
}

#[derive(Debug)]
struct Window {
    since_ms: i64,
    counted: Option<Counted>,
}

/// Refusals that were counted: the last of them stands for all.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    last: Event,
    count: u64,
}

/// What is to be written now for one kind.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    kind: String,
    counted: Option<Counted>,
    first: Option<Event>,
}

/// Which counted refusals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Those of minutes that are over.
    Closed,
    /// All: the daemon stops.
    All,
}

/// What became of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// It was written.
    Written,
    /// It was counted; the count is written when its minute is over.
    Counted,
    /// It waits on this machine's disk until storage is back.
    Spooled,
}

impl From<Noted> for DenialFate {
    fn from(noted: Noted) -> Self {
        match noted {
            Noted::Written => Self::Written,
            Noted::Counted => Self::Counted,
            Noted::Spooled => Self::Spooled,
        }
    }
}

impl Window {
    fn is_open(&self, now_ms: i64) -> bool {
        // Requests that began at the same time are refused in any order.
        (-WINDOW_MS..WINDOW_MS).contains(&now_ms.saturating_sub(self.since_ms))
    }

    fn count(&mut self, more: Counted) {
        let before = self.counted.take();
        let count = before.as_ref().map_or(0, |before| before.count).saturating_add(more.count);
        // From several networks: the event names none rather than the wrong one.
        let is_one = before.is_none_or(|before| before.last.network == more.last.network);
        let network = more.last.network.clone().filter(|_| is_one);
        self.counted = Some(Counted { count, last: Event { network, ..more.last } });
    }
}

impl Due {
    /// The events to write. What was counted gets a new id each time: after an unknown outcome it may be there already,
    /// and is then there twice rather than in the way of everything after it.
    fn events(&self, new_id: impl Fn(i64) -> EventId) -> Vec<Event> {
        let counted = self.counted.clone().map(|Counted { last, count }| {
            let id = new_id(last.at_ms);
            Event { id, ..last }.with("count", count)
        });
        counted.into_iter().chain(self.first.clone()).collect()
    }
}

impl Kinds {
    /// Whether one more kind can be kept apart.
    fn has_room(&mut self, now_ms: i64) -> bool {
        let is_due = self.swept_ms.is_none_or(|at_ms| now_ms.abs_diff(at_ms) >= SWEEP_MS.unsigned_abs());
        if self.windows.len() >= MAX_KINDS && is_due {
            self.swept_ms = Some(now_ms);
            self.windows.retain(|_, window| window.counted.is_some() || window.is_open(now_ms));
        }
        self.windows.len() < MAX_KINDS
    }
}

impl Denials {
    fn lock(&self) -> MutexGuard<'_, Kinds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to write for this refusal; `None`: it is counted.
    fn admit(&self, event: Event) -> Option<Due> {
        let (mut kinds, now_ms) = (self.lock(), event.at_ms);
        let mut kind = kind_of(&event);
        if !kinds.windows.contains_key(&kind) && !kinds.has_room(now_ms) {
            kind = coarse_kind_of(&event);
        }
        let kinds = &mut kinds.windows;
        match kinds.get_mut(&kind) {
            Some(window) if window.is_open(now_ms) => {
                window.count(Counted { last: event, count: 1 });
                None
            }
            Some(window) => {
                window.since_ms = now_ms;
                Some(Due { kind, counted: window.counted.take(), first: Some(event) })
            }
            None => {
                kinds.insert(kind.clone(), Window { since_ms: now_ms, counted: None });
                Some(Due { kind, counted: None, first: Some(event) })
            }
        }
    }

    /// Counted refusals that are due; their windows are forgotten.
    fn take(&self, which: Flush, now_ms: i64) -> Vec<Due> {
        let mut due = Vec::new();
        self.lock().windows.retain(|kind, window| {
            if which == Flush::Closed && window.is_open(now_ms) {
                return true;
            }
            if let Some(counted) = window.counted.take() {
                due.push(Due { kind: kind.clone(), counted: Some(counted), first: None });
            }
            false
        });
        due
    }

    /// What there is no room for even beside the log: the first of a kind is counted with the others of its minute.
    fn count(&self, due: Due, now_ms: i64) {
        let mut kinds = self.lock();
        let window = kinds.windows.entry(due.kind).or_insert(Window { since_ms: now_ms, counted: None });
        window.since_ms = now_ms;
        if let Some(counted) = due.counted {
            window.count(counted);
        }
        if let Some(first) = due.first {
            window.count(Counted { last: first, count: 1 });
        }
    }

    /// What could not be written: counts come back, and the next refusal of the kind is written again.
    fn give_back(&self, due: Due) {
        let mut kinds = self.lock();
        let window = kinds.windows.entry(due.kind).or_insert(Window { since_ms: i64::MIN, counted: None });
        window.since_ms = i64::MIN;
        if let Some(counted) = due.counted {
            window.count(counted);
        }
    }
}

/// Refusals that are one kind wherever they come from: by limits of an account, device or session, which an attacker
/// with many networks exceeds from all of them, and by bans, which name their network themselves.
fn is_of_any_network(event: &Event) -> bool {
    const BUCKETS: [PolicyName; 5] = [
        PolicyName::LoginAccount,
        PolicyName::LoginHard,
        PolicyName::LoginDeviceFailures,
        PolicyName::ReauthSession,
        PolicyName::RefreshSession,
    ];
    let reason = event.reason.as_deref().unwrap_or_default();
    reason == BAN || BUCKETS.iter().any(|policy| policy.as_str() == reason)
}

/// One kind: the same refusal of the same caller from the same network about the same thing.
fn kind_of(event: &Event) -> String {
    let network = event.network.as_ref().filter(|_| !is_of_any_network(event)).map_or("", |network| network.as_str());
    let target = event.target.as_ref().map_or("", |target| target.id.as_str());
    let actor = match &event.actor {
        Actor::Anonymous => String::new(),
        Actor::User(id) => id.clone(),
        Actor::Operator { uid, .. } => format!("uid {uid}"),
        Actor::Job(name) => (*name).to_owned(),
    };
    format!("{}|{network}|{actor}|{target}", coarse_kind_of(event))
}

fn coarse_kind_of(event: &Event) -> String {
    format!("{}|{}", event.action.as_str(), event.reason.as_deref().unwrap_or_default())
}

impl Auth {
    /// Writes or counts a refusal that can come in floods. Its target must not be the caller's to choose freely.
    ///
    /// While storage is away it is kept on disk, so that a refusal that needs no storage is answered as what it is.
    ///
    /// # Errors
    /// [`StoreError`]: a refusal that cannot be recorded anywhere is answered 503.
    pub(super) async fn note_denial(&self, event: Event) -> Result<Noted, StoreError> {
        let noted = match self.denials.admit(event) {
            Some(due) => self.write_due(vec![due]).await?,
            None => Noted::Counted,
        };
        self.tally.denials.count(noted.into());
        Ok(noted)
    }

    /// Writes refusals that were counted.
    ///
    /// # Errors
    /// [`StoreError`]; they stay counted.
    pub async fn flush_denials(&self, which: Flush) -> Result<(), StoreError> {
        let due = self.denials.take(which, self.now_ms());
        if due.is_empty() { Ok(()) } else { self.write_due(due).await.map(drop) }
    }

    /// Into the log, or else into the spool; what does not fit there is counted.
    async fn write_due(&self, due: Vec<Due>) -> Result<Noted, StoreError> {
        let new_id = |at_ms| EventId::new(at_ms, self.id_entropy());
        let events: Vec<Event> = due.iter().flat_map(|due| due.events(new_id)).collect();
        match self.keep_somewhere(events).await {
            Ok(Kept::Logged) => Ok(Noted::Written),
            Ok(Kept::Spooled) => Ok(Noted::Spooled),
            Ok(Kept::NoRoom) => {
                let now_ms = self.now_ms();
                due.into_iter().for_each(|due| self.denials.count(due, now_ms));
                Ok(Noted::Counted)
            }
            Err(fault) => {
                due.into_iter().for_each(|due| self.denials.give_back(due));
                Err(fault)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        audit::{Action, EventOutcome},
        session::Network,
    };

    fn id(at_ms: i64) -> EventId {
        EventId::new(at_ms, [1; 10])
    }

    fn refusal(target: &str, at_ms: i64) -> Event {
        let event = Event {
            id: id(at_ms),
            at_ms,
            action: Action::LoginDenied,
            outcome: EventOutcome::Ok,
            reason: None,
            actor: Actor::Anonymous,
            target: None,
            network: Some(Network::stored("192.0.2.0/24".to_owned())),
            device: None,
            request_id: None,
            detail: Vec::new(),
        };
        event.about("user", target).denied("login.account")
    }

    #[test]
    fn the_first_of_a_kind_is_written_and_the_rest_of_its_minute_is_counted() {
        let denials = Denials::default();
        assert_eq!(denials.admit(refusal("ada", 0)).unwrap().events(id), [refusal("ada", 0)]);
        assert_eq!(denials.admit(refusal("ada", -1)), None);
        assert_eq!(denials.admit(refusal("ada", 59_999)), None);
        assert!(denials.admit(refusal("bob", 59_999)).is_some(), "another account is another kind");
        let due = denials.admit(refusal("ada", 60_000)).unwrap();
        assert_eq!(due.events(id), [refusal("ada", 59_999).with("count", 2), refusal("ada", 60_000)]);
    }

    #[test]
    fn refusals_of_one_account_are_one_kind_from_however_many_networks_and_others_are_not() {
        let denials = Denials::default();
        let from = |network: u32, event: Event| Event {
            network: Some(Network::stored(format!("10.0.{network}.0/24"))),
            ..event
        };
        assert!(denials.admit(from(0, refusal("ada", 0))).is_some());
        for network in 1..200 {
            assert_eq!(denials.admit(from(network, refusal("ada", 1))), None);
            assert!(denials.admit(from(network, refusal("-", 1).denied("unknown_token"))).is_some());
        }
        let due = denials.take(Flush::All, 2);
        let counted: Vec<Event> = due.iter().flat_map(|due| due.events(id)).collect();
        assert_eq!(counted, [Event { network: None, ..refusal("ada", 1).with("count", 199) }]);
    }

    #[test]
    fn a_flood_that_ends_is_written_when_its_minute_is_over() {
        let denials = Denials::default();
        for at_ms in 0..100 {
            denials.admit(refusal("ada", at_ms));
        }
        assert_eq!(denials.take(Flush::Closed, 59_999), []);
        let due = denials.take(Flush::Closed, 60_000);
        assert_eq!(
            due.iter().flat_map(|due| due.events(id)).collect::<Vec<_>>(),
            [refusal("ada", 99).with("count", 99)]
        );
        assert_eq!(denials.take(Flush::All, 60_000), []);
    }

    #[test]
    fn a_stop_writes_what_is_counted_so_far() {
        let denials = Denials::default();
        denials.admit(refusal("ada", 0));
        denials.admit(refusal("ada", 1));
        assert_eq!(denials.take(Flush::All, 2).len(), 1);
    }

    #[test]
    fn what_could_not_be_written_is_counted_on_and_the_next_refusal_is_written() {
        let denials = Denials::default();
        let due = denials.admit(refusal("ada", 0)).unwrap();
        denials.give_back(due);
        assert!(denials.admit(refusal("ada", 1)).is_some());
        denials.admit(refusal("ada", 2));
        for due in denials.take(Flush::Closed, 61_000) {
            denials.give_back(due);
        }
        let due = denials.admit(refusal("ada", 61_001)).unwrap();
        assert_eq!(due.events(id), [refusal("ada", 2).with("count", 1), refusal("ada", 61_001)]);
    }

    #[test]
    fn what_fits_nowhere_is_counted_with_its_minute() {
        let denials = Denials::default();
        let due = denials.admit(refusal("ada", 0)).unwrap();
        denials.count(due, 5);
        assert_eq!(denials.admit(refusal("ada", 6)), None);
        let due = denials.take(Flush::All, 7);
        assert_eq!(due.iter().flat_map(|due| due.events(id)).collect::<Vec<_>>(), [refusal("ada", 6).with("count", 2)]);
    }

    #[test]
    fn more_kinds_than_are_kept_apart_share_one_and_lose_no_count() {
        let denials = Denials::default();
        for account in 0..MAX_KINDS + 5 {
            denials.admit(refusal(&account.to_string(), 0));
        }
        let counted: u64 =
            denials.take(Flush::All, 1).iter().filter_map(|due| due.counted.as_ref()).map(|c| c.count).sum();
        assert_eq!(counted, 4, "the first beyond is written, the others are counted together");
    }
}
