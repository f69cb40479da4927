//! The call that explains what happened and which rule decided.

use crate::{id::EventId, time::Timestamp};
use serde::{Deserialize, Serialize};

call!(
    /// What happened to a session, an account, a request or an address, and which rule decided. The read is audited.
    Why: "/v1/why", Read, Request => Explanation
);

/// Request of [`Why`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Session, account (id, e-mail or user name), request id, address or network.
    pub subject: String,
}

/// What kind of thing was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// A session.
    Session,
    /// An account.
    User,
    /// A request.
    Request,
    /// An address or a network.
    Address,
}

/// What was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What kind of thing.
    pub kind: SubjectKind,
    /// Its id, or the address as it was asked.
    pub id: String,
}

/// One thing that happened or holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When; `null`: it holds now.
    pub at: Option<Timestamp>,
    /// What.
    pub what: String,
    /// The rule behind it: an `R` number of authd-security(7), a policy, a setting.
    pub rule: Option<String>,
    /// The event that says so.
    pub event: Option<EventId>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// A command that can be typed as it stands.
    pub command: String,
    /// What for.
    pub purpose: String,
}

/// Answer of [`Why`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked about.
    pub subject: Subject,
    /// The answer in a sentence.
    pub verdict: String,
    /// The rule that decided, if one did.
    pub rule: Option<String>,
    /// What led to it, oldest first; what holds now comes last.
    pub story: Vec<Step>,
    /// What to do next, the most likely first.
    pub next: Vec<Next>,
}
