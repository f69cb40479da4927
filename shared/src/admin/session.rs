//! Calls about sessions.

pub mod lineage;
pub mod stats;

use super::Page;
use crate::{
    id::{SessionId, UserId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

call!(
    /// Sessions, newest first.
    List: "/v1/session/list", Read, ListRequest => Page<Session>
);
call!(
    /// One session.
    Show: "/v1/session/show", Read, ShowRequest => Session
);
call!(
    /// Ends one session, or every session that a filter matches.
    Revoke: "/v1/session/revoke", Admin, RevokeRequest => Revoked
);
call!(
    /// Ends every session opened before, by moving the global epoch, and lifts the lockdown after a restored database.
    EpochBump: "/v1/session/epoch-bump", Admin, EpochBumpRequest => EpochBumped
);

/// Whether a session can still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Usable.
    Live,
    /// Ended by somebody or something.
    Ended,
    /// Reached its idle or absolute end.
    Expired,
}

/// A session as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// The account's address; `null` when it has none any more.
    pub email: Option<String>,
    /// Whether it is usable.
    pub state: State,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub last_seen_at: Option<Timestamp>,
    /// When it ends unless it is refreshed.
    pub idle_expires_at: Timestamp,
    /// When it ends for good.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// Why it was ended.
    pub end_reason: Option<String>,
    /// How many times it was refreshed.
    pub generation: u64,
    /// What the client said it is.
    pub device: Option<String>,
    /// Coarse network of the last refresh.
    pub network: Option<String>,
    /// How its tokens travel: `body` or `cookie`.
    pub transport: String,
    /// How it was authenticated (RFC 8176).
    pub amr: Vec<String>,
}

/// Which sessions; conditions are joined by "and", an absent one matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Id, id prefix or e-mail address of an account.
    pub user: Option<String>,
    /// Address or network they were last seen from. Sessions know a /24 or /48 and nothing finer: an address, or a
    /// network smaller than that, stands for the one around it.
    pub ip: Option<String>,
    /// Their state.
    pub state: Option<State>,
    /// Opened at or after.
    pub since: Option<Timestamp>,
    /// Opened before.
    pub until: Option<Timestamp>,
    /// Part of the device's name.
    pub device: Option<String>,
}

/// Request of [`List`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListRequest {
    /// See [`Filter::user`].
    pub user: Option<String>,
    /// See [`Filter::ip`].
    pub ip: Option<String>,
    /// See [`Filter::state`].
    pub state: Option<State>,
    /// See [`Filter::since`].
    pub since: Option<Timestamp>,
    /// See [`Filter::until`].
    pub until: Option<Timestamp>,
    /// See [`Filter::device`].
    pub device: Option<String>,
    /// Most items in the answer; see [`super::page_size`].
    pub limit: Option<u32>,
    /// Cursor of an earlier answer.
    pub after: Option<String>,
}

impl ListRequest {
    /// The conditions alone.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            user: self.user.clone(),
            ip: self.ip.clone(),
            state: self.state,
            since: self.since,
            until: self.until,
            device: self.device.clone(),
        }
    }
}

/// Request of [`Show`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRequest {
    /// Id or unambiguous id prefix.
    pub id: String,
}

/// Request of [`Revoke`]: an `id`, or at least one filter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RevokeRequest {
    /// Id or unambiguous id prefix of one session; not together with filters.
    pub id: Option<String>,
    /// See [`Filter::user`].
    pub user: Option<String>,
    /// See [`Filter::ip`].
    pub ip: Option<String>,
    /// See [`Filter::state`]; only live sessions can be ended, so `live` alone means all of them.
    pub state: Option<State>,
    /// See [`Filter::since`].
    pub since: Option<Timestamp>,
    /// See [`Filter::until`].
    pub until: Option<Timestamp>,
    /// See [`Filter::device`].
    pub device: Option<String>,
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    pub dry_run: bool,
    /// How many sessions the caller expects to end; another number is a conflict.
    pub expect: Option<u64>,
    /// By how many per cent the number may differ from `expect`.
    pub tolerance: Option<u32>,
}

impl RevokeRequest {
    /// The conditions alone.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            user: self.user.clone(),
            ip: self.ip.clone(),
            state: self.state,
            since: self.since,
            until: self.until,
            device: self.device.clone(),
        }
    }

    /// Whether `matched` is near enough to what the caller expects; without `expect` everything is.
    #[must_use]
    pub fn is_expected(&self, matched: u64) -> bool {
        let Some(expect) = self.expect else { return true };
        let slack = u128::from(expect) * u128::from(self.tolerance.unwrap_or(0));
        u128::from(matched.abs_diff(expect)) * 100 <= slack
    }
}

/// Answer of [`Revoke`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Live sessions that matched.
    pub matched: u64,
    /// Sessions that were ended; 0 on a dry run.
    pub revoked: u64,
}

/// Request of [`EpochBump`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EpochBumpRequest {
    /// That the database in use is the one that shall be used from now on; needed while the daemon is locked down.
    pub accept_restore: bool,
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    pub dry_run: bool,
}

/// Answer of [`EpochBump`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochBumped {
    /// The global epoch after it.
    pub epoch: i64,
    /// Live sessions that end with it.
    pub sessions: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifted_set_is_noticed_beyond_its_tolerance() {
        let request = |expect, tolerance| RevokeRequest { expect, tolerance, ..RevokeRequest::default() };
        assert!(request(None, None).is_expected(7));
        assert!(request(Some(7), None).is_expected(7));
        assert!(!request(Some(7), None).is_expected(8));
        assert!(request(Some(100), Some(5)).is_expected(105));
        assert!(!request(Some(100), Some(5)).is_expected(94));
        assert!(!request(Some(0), Some(100)).is_expected(1));
        assert!(request(Some(u64::MAX), Some(u32::MAX)).is_expected(0));
    }
}
