//! Calls about the daemon as a whole.

use super::{
    Empty,
    config::{Change, Problem},
};
use crate::{mode::Mode, time::Timestamp};
use serde::{Deserialize, Serialize};

call!(
    /// How the daemon is.
    Status: "/v1/status", Any, Empty => StatusReport
);
call!(
    /// Reads the configuration again and applies what can change live; all of it or, with problems, nothing.
    Reload: "/v1/reload", Own, ReloadRequest => Reloaded
);

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// `sqlite` or `postgres`.
    pub kind: String,
    /// `up`, `down` or `read_only`.
    pub state: String,
}

/// The limiter that instances share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redis {
    /// `off`, `up` or `down`.
    pub state: String,
}

/// The signing keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Id of the key that signs.
    pub active: Option<String>,
    /// Id of the key that signs next.
    pub staged: Option<String>,
}

/// The pool that hashes passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashing {
    /// Threads.
    pub workers: u64,
    /// Threads that are hashing.
    pub busy: u64,
    /// Passwords that wait.
    pub queued: u64,
    /// Passwords that were checked since the start.
    #[serde(default)]
    pub evaluated: u64,
}

/// Sessions in sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// Usable ones; `null` when the database cannot be asked. Where counting takes longer than 50 ms, a count is shown for
    /// as long as 20 times what it took.
    pub live: Option<u64>,
}

/// A part that works less well than it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// Which part.
    pub part: String,
    /// Since when.
    pub since: Timestamp,
    /// What follows from it.
    pub effect: String,
}

/// Answer of [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Version of the daemon.
    pub version: String,
    /// Whether it can do its work; the same as `/health/ready`.
    pub ready: bool,
    /// Since when it runs.
    pub since: Timestamp,
    /// Address the public API listens on.
    pub listen: Option<String>,
    /// The operating mode.
    pub mode: Mode,
    /// The database.
    pub database: Database,
    /// The limiter that instances share.
    pub redis: Redis,
    /// The signing keys.
    pub keys: Keys,
    /// The pool that hashes passwords.
    pub hashing: Hashing,
    /// Sessions in sum.
    pub sessions: Sessions,
    /// What works less well than it should.
    pub degraded: Vec<Degraded>,
    /// What an operator should look at, in words.
    pub problems: Vec<String>,
}

/// Request of [`Reload`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadRequest {
    /// Answer when the new configuration is in force, not when it is accepted.
    pub wait: bool,
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    pub dry_run: bool,
}

/// Answer of [`Reload`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What changed live.
    pub applied: Vec<Change>,
    /// What differs and needs a restart.
    pub restart: Vec<Change>,
    /// Why nothing was applied.
    pub problems: Vec<Problem>,
}
