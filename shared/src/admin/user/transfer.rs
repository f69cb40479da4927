//! Accounts on their way in and out: lines of a file.

use crate::{
    admin::{Page, WireSecret},
    error::ErrorCode,
    id::UserId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

call!(
    /// Takes over accounts of another system, each or the reason why not; those that are there already stay as they
    /// are.
    Import: "/v1/user/import", Admin, ImportRequest => Imported
);
call!(
    /// Accounts as lines that [`Import`] takes, newest first; with their password hashes only if asked.
    Export: "/v1/user/export", Admin, ExportRequest => Page<Record>
);

/// Most accounts in one call of [`Import`].
pub const IMPORT_MAX: usize = 500;

/// An account as a line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its id, to be kept: between installations of authd tokens name accounts by it.
    #[serde(default)]
    pub id: Option<UserId>,
    /// Its address.
    pub email: String,
    /// Its user name.
    #[serde(default)]
    pub username: Option<String>,
    /// Whether the address was verified.
    #[serde(default)]
    pub email_verified: bool,
    /// Whether it may not log in.
    #[serde(default)]
    pub disabled: bool,
    /// When it was made; now, if nothing is said.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// When it last logged in.
    #[serde(default)]
    pub last_login_at: Option<Timestamp>,
    /// Hash of its password: a PHC string of argon2, scrypt or pbkdf2, or bcrypt in modular crypt form. Without one it
    /// has no password and needs a reset.
    #[serde(default)]
    pub password_hash: Option<WireSecret>,
}

/// Request of [`Import`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// At most [`IMPORT_MAX`].
    pub users: Vec<Record>,
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

/// Answer of [`Import`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// One for each account, in their order.
    pub results: Vec<Verdict>,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// In a word.
    pub outcome: Fate,
    /// The account that was made or is there; `null` on a dry run and when refused.
    pub user_id: Option<UserId>,
    /// Its address as it is compared; `null` when it is none.
    pub email: Option<String>,
    /// Its user name as it is compared.
    pub username: Option<String>,
    /// Why it was refused.
    pub code: Option<ErrorCode>,
    /// Why it was refused, for people.
    pub detail: Option<String>,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The account was made; on a dry run: would be.
    Created,
    /// It was there already, as the line says.
    Present,
    /// It was not made.
    Refused,
}

/// Request of [`Export`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportRequest {
    /// With password hashes.
    pub hashes: bool,
    /// Most items in the answer; see [`crate::admin::page_size`].
    pub limit: Option<u32>,
    /// Cursor of an earlier answer.
    pub after: Option<String>,
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    pub ticket: Option<String>,
}
