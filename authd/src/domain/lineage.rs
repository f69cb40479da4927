//! The history of a session: what the audit log says of it, and what only its row knows.

use crate::domain::{
    audit::{Action, EventOutcome, StoredEvent},
    session::{Session, SessionState},
};

/// How far the time of an event may be from that of the row it describes, in milliseconds: one is read from the
/// instance's clock, the other from the database's.
const SAME_MS: i64 = 2_000;

/// Something that happened to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An event says so.
    Event(Box<StoredEvent>),
    /// The row says so.
    Row {
        /// When.
        at_ms: i64,
        /// What; `session.expired` is no action of the log.
        action: &'static str,
        /// Rotations by then.
        generation: Option<i64>,
        /// Why.
        reason: Option<String>,
        /// Whether network and device of the row belong to it.
        place: Place,
    },
}

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where the row says the session was seen last.
    LastSeen,
    /// The row does not know.
    Unknown,
}

impl Step {
    fn at_ms(&self) -> i64 {
        match self {
            Self::Event(event) => event.at_ms,
            Self::Row { at_ms, .. } => *at_ms,
        }
    }
}

/// Puts together what is known of a session, oldest first. Routine rotations leave no event: the row knows the last one
/// (reliability §4).
#[must_use]
pub fn steps(session: &Session, events: Vec<StoredEvent>) -> Vec<Step> {
    let done = EventOutcome::Ok.as_str();
    let knows = |action: Action, near_ms: Option<i64>| {
        events.iter().any(|event| {
            let is_near = near_ms.is_none_or(|at_ms| event.at_ms.abs_diff(at_ms) <= SAME_MS.unsigned_abs());
            event.action == action.as_str() && event.outcome == done && is_near
        })
    };
    let row = |at_ms, action, generation, place| Step::Row { at_ms, action, generation, reason: None, place };
    let mut steps = Vec::new();
    if !knows(Action::SessionOpened, None) {
        let place = if session.generation == 0 { Place::LastSeen } else { Place::Unknown };
        steps.push(row(session.created_ms, Action::SessionOpened.as_str(), Some(0), place));
    }
    let seen_ms = session.last_seen_ms;
    if session.generation > 0 && !knows(Action::SessionRefreshed, Some(seen_ms)) {
        let refreshed = Action::SessionRefreshed.as_str();
        steps.push(row(seen_ms, refreshed, Some(session.generation), Place::LastSeen));
    }
    match session.ended_ms {
        Some(at_ms) if !knows(Action::SessionRevoked, None) && !replayed(&events) => steps.push(Step::Row {
            at_ms,
            action: Action::SessionRevoked.as_str(),
            generation: Some(session.generation),
            reason: session.end_reason.clone(),
            place: Place::Unknown,
        }),
        None if session.state == SessionState::Expired => {
            let end_ms = session.idle_expires_ms.min(session.expires_ms);
            let why = if session.idle_expires_ms < session.expires_ms { "idle" } else { "absolute" };
            let mut end = row(end_ms, "session.expired", Some(session.generation), Place::Unknown);
            if let Step::Row { reason, .. } = &mut end {
                *reason = Some(why.to_owned());
            }
            steps.push(end);
        }
        _ => {}
    }
    steps.extend(events.into_iter().map(|event| Step::Event(Box::new(event))));
    steps.sort_by_key(Step::at_ms);
    steps
}

fn replayed(events: &[StoredEvent]) -> bool {
    events.iter().any(|event| event.action == Action::SessionReplayed.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::session::Transport;
    use shared::id::{EventId, SessionId, UserId};

    fn session() -> Session {
        Session {
            id: SessionId::new(0, [1; 10]),
            account: UserId::new(0, [2; 10]),
            email: None,
            state: SessionState::Live,
            created_ms: 10_000,
            last_seen_ms: 10_000,
            idle_expires_ms: 100_000,
            expires_ms: 900_000,
            ended_ms: None,
            end_reason: None,
            generation: 0,
            device: None,
            network: None,
            transport: Transport::Body,
            amr: Vec::new(),
        }
    }

    fn event(at_ms: i64, action: Action) -> StoredEvent {
        StoredEvent {
            id: EventId::new(at_ms, [0; 10]),
            seq: None,
            at_ms,
            action: action.as_str().to_owned(),
            outcome: "ok".to_owned(),
            reason: None,
            actor_kind: "anonymous".to_owned(),
            actor_id: None,
            actor_uid: None,
            actor_login_uid: None,
            actor_pid: None,
            target_kind: None,
            target_id: None,
            network: None,
            device: None,
            request_id: None,
            detail: Vec::new(),
        }
    }

    fn told(session: &Session, events: Vec<StoredEvent>) -> Vec<(i64, String)> {
        let tell = |step: Step| match step {
            Step::Event(event) => (event.at_ms, event.action),
            Step::Row { at_ms, action, .. } => (at_ms, format!("row: {action}")),
        };
        steps(session, events).into_iter().map(tell).collect()
    }

    #[test]
    fn what_the_log_lacks_is_told_by_the_row() {
        let rotated = Session { generation: 7, last_seen_ms: 50_000, ..session() };
        assert_eq!(
            told(&rotated, vec![event(10_001, Action::SessionOpened)]),
            [(10_001, "session.opened".to_owned()), (50_000, "row: session.refreshed".to_owned())]
        );
        let idle = Session { state: SessionState::Expired, ..session() };
        assert_eq!(
            told(&idle, Vec::new()),
            [(10_000, "row: session.opened".to_owned()), (100_000, "row: session.expired".to_owned())]
        );
        let ended = Session { state: SessionState::Ended, ended_ms: Some(60_000), ..session() };
        assert_eq!(told(&ended, vec![event(9_999, Action::SessionOpened)]).last().unwrap().1, "row: session.revoked");
    }

    #[test]
    fn nothing_is_told_twice() {
        let ended = Session {
            generation: 1,
            last_seen_ms: 50_000,
            state: SessionState::Ended,
            ended_ms: Some(60_000),
            ..session()
        };
        let events = vec![
            event(60_002, Action::SessionRevoked),
            event(50_900, Action::SessionRefreshed),
            event(10_000, Action::SessionOpened),
        ];
        assert_eq!(
            told(&ended, events),
            [
                (10_000, "session.opened".to_owned()),
                (50_900, "session.refreshed".to_owned()),
                (60_002, "session.revoked".to_owned())
            ]
        );
    }
}
