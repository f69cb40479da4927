//! Calls about circuit breakers.

use super::{Empty, Page};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

call!(
    /// Every breaker as it is.
    List: "/v1/breaker/list", Read, Empty => Page<Breaker>
);
call!(
    /// Holds a breaker open: what it protects is not called until it is closed again.
    Open: "/v1/breaker/open", Admin, HoldRequest => Breaker
);
call!(
    /// Closes a breaker: failures may open it again, unless it is held closed.
    Close: "/v1/breaker/close", Admin, CloseRequest => Breaker
);

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// They go through.
    Closed,
    /// They are refused at once.
    Open,
    /// A few go through, to see.
    HalfOpen,
}

/// The breaker of one dependency, on the instance that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Which dependency: `database`, `redis`.
    pub name: String,
    /// What it does with calls.
    pub state: State,
    /// Whether an operator holds it as it is.
    pub held: bool,
    /// Since when it is not closed.
    pub since: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// How long until calls may try again.
    pub retry_in: Option<Span>,
}

/// Request of [`Open`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// Which dependency.
    pub name: String,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Request of [`Close`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// Which dependency.
    pub name: String,
    /// Keep it closed whatever fails.
    #[serde(default)]
    pub hold: bool,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}
