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
    /// One policy, with whom it limits now on the instance that answers.
    Show: "/v1/limit/show", Read, ShowRequest => Shown
);
call!(
    /// The addresses, accounts and sessions that the instance that answers refused most in the last ten minutes.
    Top: "/v1/limit/top", Read, TopRequest => Page<Limited>
);
call!(
    /// What a limit would have done to the attempts of the past; changes nothing.
    Test: "/v1/limit/test", Read, TestRequest => Trial
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
    /// So many different ones in a while.
    Spread,
    /// A share of all, in percent.
    Share,
}

/// The values of a policy; which of them it has depends on its kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Setting {
    /// Of a rate: how many in how long.
    pub rate: Option<Rate>,
    /// How many at once; of a count or a spread: how many; of a share: of how many at least; of `login.hard`: how many
    /// from unknown devices.
    pub burst: Option<u32>,
    /// Of `login.hard`: how many from known devices and inside sessions.
    #[serde(default)]
    pub known: Option<u32>,
    /// Of a ladder: the delay after the burst; it doubles from there.
    pub first_delay: Option<Span>,
    /// Of a ladder: the longest delay.
    pub max_delay: Option<Span>,
    /// Of a share: more than so many in a hundred.
    #[serde(default)]
    pub percent: Option<u32>,
    /// Of a spread: how long each counts.
    #[serde(default)]
    pub window: Option<Span>,
    /// Of a spread: how long it locks.
    #[serde(default)]
    pub lock: Option<Span>,
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
    /// See [`Setting::known`].
    #[serde(default)]
    pub known: Option<u32>,
    /// See [`Setting::first_delay`].
    pub first_delay: Option<Span>,
    /// See [`Setting::max_delay`].
    pub max_delay: Option<Span>,
    /// See [`Setting::percent`].
    #[serde(default)]
    pub percent: Option<u32>,
    /// See [`Setting::window`].
    #[serde(default)]
    pub window: Option<Span>,
    /// See [`Setting::lock`].
    #[serde(default)]
    pub lock: Option<Span>,
    /// What the configuration says: where it returns to.
    pub default: Setting,
    /// When it was last changed; `null`: never, it has its default.
    pub changed_at: Option<Timestamp>,
    /// Who changed it: `uid:1000`.
    pub changed_by: Option<String>,
    /// When the value before it returns.
    pub expires_at: Option<Timestamp>,
    /// Whether it only counts and refuses nothing.
    pub shadow: bool,
    /// What is left of it for unknown devices on the instance that answers while an alarm goes on; `null`: no alarm
    /// takes from it.
    #[serde(default)]
    pub tightened: Option<Setting>,
    /// How many the instance that answers has refused since its start.
    #[serde(default)]
    pub refused: u64,
    /// How many it would have refused, had the policy not only counted.
    #[serde(default)]
    pub would_refuse: u64,
}

/// Answer of [`Show`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The policy.
    #[serde(flatten)]
    pub limit: Limit,
    /// Who is at the limit now, the longest wait first; at most a thousand.
    pub limited: Vec<Limited>,
}

/// Somebody at a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// Name of the policy.
    pub policy: String,
    /// Address, network, account, session or user id.
    pub key: String,
    /// Until the next one is let through; zero: it would be now.
    pub wait: Span,
    /// Since when it is at the limit, with pauses of less than a minute.
    pub since: Timestamp,
    /// When the last one was refused.
    pub last: Timestamp,
    /// How many were refused in the last ten minutes.
    pub refused: u64,
    /// How many would have been, had the policy not only counted.
    pub would_refuse: u64,
}

/// Request of [`Top`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopRequest {
    /// At most so many.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// Request of [`Test`]; values that are absent are those in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
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
    /// How much of the past; `null`: a day.
    #[serde(default)]
    pub replay: Option<Span>,
}

/// Answer of [`Test`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Name of the policy.
    pub policy: String,
    /// The limit that was tried.
    pub tried: Setting,
    /// From when on attempts were read.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Whether older ones were left out because there were too many.
    pub cut: bool,
    /// How many events were read.
    pub events: u64,
    /// How many attempts they tell of.
    pub attempts: u64,
    /// How many the limit would have refused.
    pub refused: u64,
    /// How many of those were logins that succeeded.
    pub refused_logins: u64,
    /// Whom it would have refused most.
    pub worst: Vec<Worst>,
    /// What the audit does not know and this answer therefore assumes.
    pub notes: Vec<String>,
}

/// Somebody whom a limit would have refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worst {
    /// Network or account.
    pub key: String,
    /// How many attempts.
    pub attempts: u64,
    /// How many the limit would have refused.
    pub refused: u64,
    /// How many of those were logins that succeeded.
    pub refused_logins: u64,
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
    /// See [`Setting::known`].
    #[serde(default)]
    pub known: Option<u32>,
    /// See [`Setting::first_delay`].
    #[serde(default)]
    pub first_delay: Option<Span>,
    /// See [`Setting::max_delay`].
    #[serde(default)]
    pub max_delay: Option<Span>,
    /// See [`Setting::percent`].
    #[serde(default)]
    pub percent: Option<u32>,
    /// How long it holds, after which the value before it returns; `null`: until it is changed again.
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
    /// Of a reset of one key: whether anything was counted for it; on a dry run whether it has to wait.
    #[serde(default)]
    pub forgotten: Option<bool>,
}
