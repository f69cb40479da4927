//! Calls about limits.

use super::{Empty, Page};
use crate::{
    rate::Rate,
    time::{Span, Timestamp},
};
use serde::{Deserialize, Serialize};

call!(
    /// Every policy with its live value.
    List: "/v1/limit/list", Read, Empty => Page<Limit>
);
call!(
    /// One policy.
    Show: "/v1/limit/show", Read, ShowRequest => Limit
);
call!(
    /// Changes the live value of a policy, for good or for a time.
    Set: "/v1/limit/set", Admin, SetRequest => Changed
);
call!(
    /// Returns a policy to its default, or forgets what it counted for one key.
    Reset: "/v1/limit/reset", Admin, ResetRequest => Changed
);

/// How a policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// So many in so long.
    Rate,
    /// Growing delays after a burst.
    Ladder,
    /// A number that is never exceeded.
    Count,
}

/// The values of a policy; which of them it has depends on its kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Setting {
    /// Of a rate: how many in how long.
    pub rate: Option<Rate>,
    /// How many at once; of a count: how many.
    pub burst: Option<u32>,
    /// Of a ladder: the delay after the burst; it doubles from there.
    pub first_delay: Option<Span>,
    /// Of a ladder: the longest delay.
    pub max_delay: Option<Span>,
}

/// A policy as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Its name.
    pub policy: String,
    /// How it counts.
    pub kind: Kind,
    /// See [`Setting::rate`].
    pub rate: Option<Rate>,
    /// See [`Setting::burst`].
    pub burst: Option<u32>,
    /// See [`Setting::first_delay`].
    pub first_delay: Option<Span>,
    /// See [`Setting::max_delay`].
    pub max_delay: Option<Span>,
    /// What the configuration says: where it returns to.
    pub default: Setting,
    /// When it was last changed; `null`: never, it has its default.
    pub changed_at: Option<Timestamp>,
    /// Who changed it: `uid:1000`.
    pub changed_by: Option<String>,
    /// When it returns to its default.
    pub expires_at: Option<Timestamp>,
    /// Whether it only counts and refuses nothing.
    pub shadow: bool,
}

/// Request of [`Show`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRequest {
    /// Name of the policy.
    pub policy: String,
}

/// Request of [`Set`]; values that are absent stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// Name of the policy.
    pub policy: String,
    /// See [`Setting::rate`].
    #[serde(default)]
    pub rate: Option<Rate>,
    /// See [`Setting::burst`].
    #[serde(default)]
    pub burst: Option<u32>,
    /// See [`Setting::first_delay`].
    #[serde(default)]
    pub first_delay: Option<Span>,
    /// See [`Setting::max_delay`].
    #[serde(default)]
    pub max_delay: Option<Span>,
    /// How long it holds; `null`: until it is changed again.
    #[serde(default, rename = "for")]
    pub lasting: Option<Span>,
    /// Count, and refuse nothing.
    #[serde(default)]
    pub shadow: bool,
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

/// Request of [`Reset`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetRequest {
    /// Name of the policy.
    pub policy: String,
    /// Forget what was counted for this address or account, and leave the policy as it is.
    #[serde(default)]
    pub key: Option<String>,
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

/// Answer of [`Set`] and [`Reset`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The policy: as it is now, on a dry run as it would be.
    pub limit: Limit,
    /// What it was before.
    pub previous: Limit,
}
