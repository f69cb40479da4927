//! Calls about the audit log.

use super::{Access, Call, Page, Shape};
use crate::{
    id::{EventId, SessionId, UserId},
    notable,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

call!(
    /// Events, newest first.
    List: "/v1/audit/list", Read, ListRequest => Page<Event>
);

/// Events as they are sealed, oldest first, one JSON object a line. The header
/// [`super::POSITION_HEADER`] of the answer says after which sequence number the stream begins.
#[derive(Debug, Clone, Copy)]
pub struct Tail;

impl Call for Tail {
    const PATH: &'static str = "/v1/audit/tail";
    const ACCESS: Access = Access::Read;
    const SHAPE: Shape = Shape::Lines;
    type Request = TailRequest;
    type Response = Event;
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Ok,
    /// Refused.
    Denied,
    /// Failed.
    Error,
}

/// What kind of actor did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// An account.
    User,
    /// Somebody on an admin socket.
    Operator,
    /// The daemon itself.
    Job,
    /// Nobody known.
    Anonymous,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind of actor.
    pub kind: ActorKind,
    /// Account id or name of the job.
    pub id: Option<String>,
    /// User id of the operator's process.
    pub uid: Option<u32>,
    /// User id the operator logged in with, where the kernel tells it.
    pub login_uid: Option<u32>,
    /// Process id of the operator's process.
    pub pid: Option<i32>,
}

/// What it was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `user`, `session`, `key`, `limit`, …
    pub kind: String,
    /// Its id or name.
    pub id: String,
}

/// An event of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its place in the sealed chain; `null` until it is sealed.
    pub seq: Option<u64>,
    /// When it happened.
    pub at: Timestamp,
    /// What happened: `noun.verb_in_past`.
    pub action: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in a word (or in the operator's words).
    pub reason: Option<String>,
    /// Who did it.
    pub actor: Actor,
    /// What it was done to.
    pub target: Option<Target>,
    /// From where.
    pub network: Option<String>,
    /// With what.
    pub device: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// For which tenant.
    pub tenant: Option<String>,
    /// What else is known; `null` or an object.
    pub detail: serde_json::Value,
}

/// Request of [`List`]; conditions are joined by "and".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListRequest {
    /// Exactly this action, or all of a noun: `session.*`.
    pub action: Option<String>,
    /// Account id, name of a job, or `uid:1000`.
    pub actor: Option<String>,
    /// Id or name of the target.
    pub target: Option<String>,
    /// Address or network.
    pub ip: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Happened at or after.
    pub since: Option<Timestamp>,
    /// Happened before.
    pub until: Option<Timestamp>,
    /// In this request.
    pub request_id: Option<String>,
    /// `true`: only what is worth a notification ([`crate::notable`]).
    pub notable: Option<bool>,
    /// Most items in the answer; see [`super::page_size`].
    pub limit: Option<u32>,
    /// Cursor of an earlier answer.
    pub after: Option<String>,
}

impl ListRequest {
    /// Whether an event meets every condition but `ip`, which only the daemon can compare.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.action.as_ref().is_none_or(|wanted| is_action(wanted, &event.action))
            && self.actor.as_ref().is_none_or(|wanted| is_actor(wanted, &event.actor))
            && self.target.as_ref().is_none_or(|id| event.target.as_ref().is_some_and(|target| target.id == *id))
            && self.outcome.is_none_or(|outcome| event.outcome == outcome)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
            && (self.notable != Some(true) || notable::of(&event.action, event.reason.as_deref()).is_some())
            && self.request_id.as_ref().is_none_or(|id| event.request_id.as_ref() == Some(id))
    }
}

fn is_action(wanted: &str, action: &str) -> bool {
    match wanted.strip_suffix(".*") {
        Some(noun) => action.split_once('.').is_some_and(|(of, _)| of == noun),
        None => action == wanted,
    }
}

fn is_actor(wanted: &str, actor: &Actor) -> bool {
    match wanted.strip_prefix("uid:") {
        Some(uid) => uid.parse().is_ok_and(|uid: u32| actor.uid == Some(uid)),
        None => actor.id.as_deref() == Some(wanted),
    }
}

/// Request of [`Tail`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TailRequest {
    /// Begin after this sequence number; `null`: with what is sealed from now on.
    pub after: Option<u64>,
}

impl Target {
    /// An account.
    #[must_use]
    pub fn user(id: &UserId) -> Self {
        Self { kind: "user".to_owned(), id: id.to_string() }
    }

    /// A session.
    #[must_use]
    pub fn session(id: &SessionId) -> Self {
        Self { kind: "session".to_owned(), id: id.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            id: EventId::new(5, [0; 10]),
            seq: Some(1),
            at: Timestamp(5),
            action: "session.revoked".to_owned(),
            outcome: Outcome::Ok,
            reason: None,
            actor: Actor { kind: ActorKind::Operator, id: None, uid: Some(1000), login_uid: None, pid: None },
            target: None,
            network: None,
            device: None,
            request_id: None,
            tenant: None,
            detail: serde_json::Value::Null,
        }
    }

    #[test]
    fn filters_match_an_action_its_noun_and_a_uid() {
        let by_action = |action: &str| ListRequest { action: Some(action.to_owned()), ..ListRequest::default() };
        let by_actor = |actor: &str| ListRequest { actor: Some(actor.to_owned()), ..ListRequest::default() };
        assert!(by_action("session.revoked").matches(&event()));
        assert!(by_action("session.*").matches(&event()));
        assert!(!by_action("sess.*").matches(&event()));
        assert!(by_actor("uid:1000").matches(&event()));
        assert!(!by_actor("uid:100").matches(&event()));
        assert!(!by_actor("usr_x").matches(&event()));
    }
}
