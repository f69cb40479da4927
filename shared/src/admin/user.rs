//! Calls about accounts.

pub mod transfer;

use super::{Page, WireSecret};
use crate::{id::UserId, time::Timestamp};
use serde::{Deserialize, Serialize};

call!(
    /// Accounts, newest first.
    List: "/v1/user/list", Read, ListRequest => Page<User>
);
call!(
    /// One account.
    Show: "/v1/user/show", Read, ShowRequest => User
);
call!(
    /// Makes an account.
    Create: "/v1/user/create", Admin, CreateRequest => Created
);
call!(
    /// Takes an account out of use and ends its sessions.
    Disable: "/v1/user/disable", Admin, ChangeRequest => Changed
);
call!(
    /// Takes a disabled account into use again.
    Enable: "/v1/user/enable", Admin, ChangeRequest => Changed
);
call!(
    /// Clears the failure counters of an account.
    Unlock: "/v1/user/unlock", Admin, ChangeRequest => Changed
);
call!(
    /// Ends every session of an account.
    Logout: "/v1/user/logout", Admin, ChangeRequest => Changed
);
call!(
    /// Issues a one-time token with which a new password can be set.
    ResetPassword: "/v1/user/reset-password", Admin, ChangeRequest => PasswordReset
);
call!(
    /// Deletes an account and what belongs to it.
    Delete: "/v1/user/delete", Admin, ChangeRequest => Changed
);

/// Whether an account may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It may.
    Enabled,
    /// An operator took it out of use.
    Disabled,
}

/// For whom the password login of an account is off after too many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Locked {
    /// For devices that have not logged in before.
    UnknownDevices,
    /// For devices that have.
    KnownDevices,
    /// For all.
    Both,
}

/// An account as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its primary address, as it was written.
    pub email: Option<String>,
    /// Its user name, as it was written.
    pub username: Option<String>,
    /// Whether it may log in.
    pub state: State,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last logged in.
    pub last_login_at: Option<Timestamp>,
    /// How many live sessions it has.
    pub sessions: u64,
    /// For whom its password login is off; `null`: for nobody.
    pub locked: Option<Locked>,
}

/// Request of [`List`]; conditions are joined by "and".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListRequest {
    /// Part of the e-mail address or of the user name, in any case.
    pub search: Option<String>,
    /// Whether it may log in.
    pub state: Option<State>,
    /// Most items in the answer; see [`super::page_size`].
    pub limit: Option<u32>,
    /// Cursor of an earlier answer.
    pub after: Option<String>,
}

/// Request of [`Show`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRequest {
    /// Id, unambiguous id prefix or e-mail address.
    pub user: String,
}

/// Request of [`Create`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// Its address.
    pub email: String,
    /// Its user name.
    #[serde(default)]
    pub username: Option<String>,
    /// Its password; without one the account has none and the answer carries a one-time reset token.
    #[serde(default)]
    pub password: Option<WireSecret>,
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

/// Answer of [`Create`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The account; `null` on a dry run.
    pub user: Option<User>,
    /// One-time token for `POST /api/auth/password/reset`, when no password was given.
    pub reset_token: Option<WireSecret>,
    /// When that token ends.
    pub expires_at: Option<Timestamp>,
}

/// Request of the calls that change one account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// Id, unambiguous id prefix or e-mail address.
    pub user: String,
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

/// Answer of the calls that change one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The account: as it is now, on a dry run or after a deletion as it was.
    pub user: User,
    /// Whether anything was (on a dry run: would be) different from before.
    pub changed: bool,
    /// Sessions that were (on a dry run: would be) ended.
    pub revoked: u64,
}

/// Answer of [`ResetPassword`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordReset {
    /// The account.
    pub user: User,
    /// One-time token for `POST /api/auth/password/reset`; `null` on a dry run.
    pub reset_token: Option<WireSecret>,
    /// When that token ends.
    pub expires_at: Option<Timestamp>,
}
