//! Looking after the database as a whole: how it is, copies of it, and its move to another server.

use crate::domain::{audit::Event, secret::Secret, store_error::StoreError};
use std::{fs::File, sync::Arc};

/// How the database is; sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
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
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSize {
    /// Its name.
    pub name: String,
    /// About how many rows; `None` where nothing tells without counting.
    pub rows: Option<u64>,
    /// PostgreSQL: its size with its indexes, in bytes.
    pub bytes: Option<u64>,
}

/// How far long work has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is being done: `copy`, `compare`.
    pub doing: &'static str,
    /// To which table; `None`: to the whole.
    pub table: Option<String>,
    /// Rows, or bytes of the whole.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

/// Who waits for long work.
pub trait Watcher: Send + Sync {
    /// Hears how far it has come; must not wait.
    fn saw(&self, step: Step);

    /// Nobody waits any more: the work is to end.
    fn has_left(&self) -> bool;
}

/// A copy of the database as a SQLite file, which no path leads to any more: it is gone when it is closed.
#[derive(Debug)]
pub struct Copy {
    /// The file, to be read from its beginning.
    pub file: File,
    /// Its size.
    pub bytes: u64,
    /// The last sealed event in it.
    pub seq: i64,
}

/// What a move carries besides its target.
#[derive(Debug)]
pub struct MoveEvents {
    /// Written before anything is copied, and copied with the rest.
    pub begun: Event,
    /// Written into the new database.
    pub arrived: Event,
    /// Written into the old one when it is given up.
    pub left: Event,
}

/// What a move did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where the data is now, without a password.
    pub to: String,
    /// Rows of each table.
    pub rows: Vec<(String, u64)>,
    /// The last sealed event.
    pub seq: i64,
}

/// Whether the database takes writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Writes {
    /// It does.
    #[default]
    Taken,
    /// They are put off: it is being moved since then, Unix milliseconds.
    Held(i64),
    /// It takes none any more.
    Moved {
        /// Since when, Unix milliseconds.
        at_ms: i64,
        /// Where the data is now, without a password.
        to: String,
    },
}

/// Why such work ended without its result; what it made is gone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpkeepError {
    /// This cannot be done with this database, or with this target.
    #[error("{0}")]
    Invalid(String),
    /// The target is in use, or such work is under way.
    #[error("{0}")]
    Conflict(String),
    /// Trying again may help: the disk, the target or the way to it failed.
    #[error("{0}")]
    Failed(String),
    /// Nobody waits for it.
    #[error("given up: nobody waits for it any more")]
    Abandoned,
    /// The database.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

/// Looks after the database. One piece of work at a time.
#[async_trait::async_trait]
pub trait Upkeep: Send + Sync {
    /// How it is.
    async fn facts(&self) -> Result<Facts, StoreError>;

    /// Whether it takes writes; asked with every request.
    fn writes(&self) -> Writes;

    /// Makes a consistent copy while everything goes on.
    async fn copy(&self, watcher: Arc<dyn Watcher>) -> Result<Copy, UpkeepError>;

    /// Looks at a target, and counts what a move would copy; leaves nothing there.
    async fn try_move(&self, target: &Secret) -> Result<Moved, UpkeepError>;

    /// Moves everything to an empty PostgreSQL database: all of it, or nothing. This database takes no writes
    /// meanwhile, and none afterwards.
    async fn move_to(
        &self,
        target: &Secret,
        events: MoveEvents,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Moved, UpkeepError>;

    /// Where the data was moved to, if it was, and when.
    async fn moved(&self) -> Result<Option<(String, i64)>, StoreError>;

    /// Makes a database that was moved the one in use again; whether it had been moved.
    async fn undo_move(&self, event: Event) -> Result<bool, StoreError>;
}
