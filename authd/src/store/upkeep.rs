//! [`Upkeep`] on both databases.
//!
//! ```text
//! schema   which tables and columns there are to carry
//! row      pages of rows, read and written and summed up
//! backup   either database ─► a SQLite file
//! transfer SQLite ─► target: one transaction on PostgreSQL, while this database takes no writes (hold)
//! check    a SQLite file that an operator gives
//! ```

mod backup;
mod check;
mod facts;
mod hold;
mod row;
mod schema;
mod target;
mod transfer;

pub use check::{CheckError, verify};

use crate::{
    domain::{
        audit::Event,
        secret::Secret,
        store_error::StoreError,
        upkeep::{Copy, Facts, MoveEvents, Moved, Upkeep, UpkeepError, Watcher, Writes},
    },
    store::{
        db::{Backend, Db},
        dialect::{on_db, on_read},
    },
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};
use tokio::sync::Mutex;

/// Looks after one database.
pub(super) struct Care {
    db: Db,
    /// Where an unfinished copy is kept.
    scratch: PathBuf,
    /// One piece of work at a time.
    busy: Mutex<()>,
}

impl Care {
    /// For this database, with a directory for copies that are being made.
    pub(super) fn of(db: Db, scratch: &Path) -> Self {
        Self { db, scratch: scratch.join("backup.partial"), busy: Mutex::default() }
    }

    fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, UpkeepError> {
        self.busy.try_lock().map_err(|_| {
            UpkeepError::Conflict("another backup or a move is under way: wait for it, or end its authctl".to_owned())
        })
    }
}

/// A fault of the database or of the file it goes to.
fn fault(error: sqlx::Error) -> UpkeepError {
    UpkeepError::Failed(error.to_string())
}

fn file_fault(file: &Path, error: &io::Error) -> UpkeepError {
    UpkeepError::Failed(format!("{}: {error}", file.display()))
}

/// An unfinished copy, gone when it is dropped.
struct Draft<'a>(&'a Path);

impl<'a> Draft<'a> {
    /// A place for a copy; what an earlier one left there after a crash is removed.
    fn at(path: &'a Path) -> Result<Self, UpkeepError> {
        remove(path).map_err(|error| file_fault(path, &error))?;
        Ok(Self(path))
    }

    /// The finished copy, which no path leads to any more.
    fn finish(self) -> Result<File, UpkeepError> {
        File::open(self.0).map_err(|error| file_fault(self.0, &error))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Err(error) = remove(self.0) {
            tracing::warn!(path = %self.0.display(), %error, "an unfinished copy of the database is left: remove it");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[async_trait::async_trait]
impl Upkeep for Care {
    async fn facts(&self) -> Result<Facts, StoreError> {
        facts::of(&self.db).await
    }

    fn writes(&self) -> Writes {
        self.db.context.writes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn copy(&self, watcher: Arc<dyn Watcher>) -> Result<Copy, UpkeepError> {
        let turn = self.turn()?;
        let draft = Draft::at(&self.scratch)?;
        match &self.db.backend {
            Backend::Sqlite { readers: Some(readers), .. } => {
                backup::of_file(&readers.connect_options(), draft.0, watcher).await?;
            }
            Backend::Sqlite { readers: None, .. } => {
                return Err(UpkeepError::Invalid("a database in memory has nothing to back up".to_owned()));
            }
            Backend::Postgres(server) => backup::of_server(&server.options(), draft.0, watcher).await?,
        }
        let seq = check::head(draft.0).await.map_err(fault)?;
        let file = draft.finish()?;
        drop(turn);
        let bytes = file.metadata().map_err(|error| file_fault(&self.scratch, &error))?.len();
        Ok(Copy { file, bytes, seq })
    }

    async fn try_move(&self, target: &Secret) -> Result<Moved, UpkeepError> {
        let _turn = self.turn()?;
        transfer::try_to(&self.db, target).await
    }

    async fn move_to(
        &self,
        target: &Secret,
        events: MoveEvents,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Moved, UpkeepError> {
        let _turn = self.turn()?;
        transfer::to(&self.db, target, events, watcher).await
    }

    async fn moved(&self) -> Result<Option<(String, i64)>, StoreError> {
        on_read!(self.db, |tx| on_db!(
            tx,
            optional["SELECT setting.value, setting.changed_ms FROM setting
            WHERE setting.tenant_id = 'default' AND setting.name = $1"](hold::MOVED)
        ))
    }

    async fn undo_move(&self, event: Event) -> Result<bool, StoreError> {
        hold::undo(&self.db, event).await
    }
}
