//! Calls about the database as a whole.

use super::{Access, Call, Empty, Shape, WireSecret};
use crate::{error::ErrorCode, time::Timestamp};
use serde::{Deserialize, Serialize};

call!(
    /// How the database is: where, how large, of which version.
    Status: "/v1/db/status", Read, Empty => StatusReport
);

/// A consistent copy of the database, made while everything goes on. Lines: how far it is, then the file in pieces,
/// then [`BackupLine::Done`]; without that last line it is not complete.
#[derive(Debug, Clone, Copy)]
pub struct Backup;

impl Call for Backup {
    const PATH: &'static str = "/v1/db/backup";
    const ACCESS: Access = Access::Admin;
    const SHAPE: Shape = Shape::Lines;
    type Request = BackupRequest;
    type Response = BackupLine;
}

/// Moves everything to an empty PostgreSQL database. Lines: how far it is, then [`MoveLine::Done`].
#[derive(Debug, Clone, Copy)]
pub struct Move;

impl Call for Move {
    const PATH: &'static str = "/v1/db/move";
    const ACCESS: Access = Access::Admin;
    const SHAPE: Shape = Shape::Lines;
    type Request = MoveRequest;
    type Response = MoveLine;
}

/// How the database is; sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// `sqlite` or `postgres`.
    pub kind: String,
    /// Where it is, without a password.
    pub place: String,
    /// Which migration its schema has.
    pub schema: i64,
    /// Which one this program has.
    pub program_schema: i64,
    /// All of it.
    pub bytes: u64,
    /// SQLite: what has not been folded into the file yet.
    pub wal_bytes: Option<u64>,
    /// Its tables, by name.
    pub tables: Vec<TableSize>,
    /// Connections that are open.
    pub connections: u32,
    /// Most connections there may be.
    pub max_connections: u32,
    /// When it was last backed up through authd.
    pub backed_up_at: Option<Timestamp>,
    /// Ids of the key-encryption keys under which something is encrypted in it.
    pub kek_ids: Vec<String>,
    /// Ids of the key-encryption keys that the daemon has.
    pub kek_ids_held: Vec<String>,
    /// Last sealed event.
    pub audit_seq: i64,
    /// `taken`, `held` (it is being moved) or `moved`.
    pub writes: String,
    /// Where the data is now, if it was moved.
    pub moved_to: Option<String>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSize {
    /// Its name.
    pub name: String,
    /// About how many rows.
    pub rows: Option<u64>,
    /// Its size with its indexes, where the database tells.
    pub bytes: Option<u64>,
}

/// Request of [`Backup`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Say how large it would be about, and make none.
    #[serde(default)]
    pub dry_run: bool,
}

/// Request of [`Move`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// `postgres://user:password@host/database`
    pub target_url: WireSecret,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Look at the target, count, and leave everything as it is.
    #[serde(default)]
    pub dry_run: bool,
}

/// How far long work has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done: `copy`, `compare`.
    pub doing: String,
    /// To which table; `null`: to the whole.
    pub table: Option<String>,
    /// Rows, or bytes of the whole.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

/// Why it ended without its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// As in a problem document.
    pub code: ErrorCode,
    /// What happened, for people.
    pub detail: String,
}

/// A line of [`Backup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupLine {
    /// How far the copy is.
    Progress(Progress),
    /// The next piece of the file, in base64.
    Piece(String),
    /// It failed; what came before is worth nothing.
    Failed(Failed),
    /// The file is complete.
    Done(BackedUp),
}

/// A complete backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// Its size; of a dry run, about.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal digits; none of a dry run.
    pub sha256: Option<String>,
    /// Ids of the key-encryption keys that it needs and does not contain.
    pub kek_ids: Vec<String>,
    /// Last sealed event in it.
    pub audit_seq: i64,
    /// When it was made.
    pub at: Timestamp,
}

/// A line of [`Move`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveLine {
    /// How far it is.
    Progress(Progress),
    /// It failed; this database is in use as before.
    Failed(Failed),
    /// The data is there.
    Done(Moved),
}

/// A finished move, or what one would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Where the data is now, without a password.
    pub to: String,
    /// Rows of each table.
    pub tables: Vec<MovedTable>,
    /// Last sealed event.
    pub audit_seq: i64,
    /// What to put into authd.toml before authd is started again.
    pub configuration: String,
}

/// A table that was copied and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedTable {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// What `authd verify-backup` found in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The file.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Which migration its schema has.
    pub schema: i64,
    /// Which one this program has.
    pub program_schema: i64,
    /// Rows of each table.
    pub tables: Vec<MovedTable>,
    /// Ids of the key-encryption keys that it needs.
    pub kek_ids: Vec<String>,
    /// Last sealed event.
    pub audit_seq: i64,
    /// Events that have no place in the chain yet; the daemon gives them one.
    pub unsealed: u64,
    /// What is wrong; empty: it can be restored.
    pub problems: Vec<String>,
}
