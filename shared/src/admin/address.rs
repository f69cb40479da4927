//! Calls about bans and allowances of addresses.

use super::{Empty, Page};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

call!(
    /// Every ban that holds, newest first.
    BanList: "/v1/ban/list", Read, Empty => Page<Rule>
);
call!(
    /// Refuses an address or a network on every route that takes a credential.
    BanAdd: "/v1/ban/add", Admin, AddRequest => Rule
);
call!(
    /// Ends a ban.
    BanRemove: "/v1/ban/remove", Admin, RemoveRequest => Rule
);
call!(
    /// Every allowance that holds, newest first.
    AllowList: "/v1/allow/list", Read, Empty => Page<Rule>
);
call!(
    /// Lifts the limits that count by address for an address or a network.
    AllowAdd: "/v1/allow/add", Admin, AddRequest => Rule
);
call!(
    /// Ends an allowance.
    AllowRemove: "/v1/allow/remove", Admin, RemoveRequest => Rule
);

/// A ban or an allowance. Of several that match an address the one for the smallest network counts, of equal ones the
/// ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Address or network: `192.0.2.1`, `192.0.2.0/24`.
    pub network: String,
    /// Why.
    pub reason: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it: `uid:1000`.
    pub created_by: String,
    /// When it ends; `null`: not by itself.
    pub expires_at: Option<Timestamp>,
}

/// Request of [`BanAdd`] and [`AllowAdd`]; a rule for the same network is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddRequest {
    /// Address or network in CIDR notation.
    pub network: String,
    /// How long it holds; `null`: until it is removed.
    #[serde(default, rename = "for")]
    pub lasting: Option<Span>,
    /// Ban it also when it reaches into loopback or a trusted proxy.
    #[serde(default)]
    pub force: bool,
    /// Why, for the list and the audit log.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Request of [`BanRemove`] and [`AllowRemove`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveRequest {
    /// Exactly the address or network of the rule.
    pub network: String,
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
