//! What operators do with the database as a whole: look at it, back it up, move it.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::{
    audit::Action,
    secret::Secret,
    store_error::StoreError,
    upkeep::{Copy, Facts, MoveEvents, Moved, UpkeepError, Watcher, Writes},
};
use std::{collections::BTreeSet, sync::Arc};

/// The setting that says when the last backup was made.
const BACKUP: &str = "backup.last";
/// Events that are sealed at once before a move.
const SEAL_BATCH: u32 = 1_000;

/// How the database is, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseReport {
    /// `sqlite` or `postgres`.
    pub kind: &'static str,
    /// Where, how large, of which version.
    pub facts: Facts,
    /// When it was last backed up, Unix milliseconds.
    pub backed_up_ms: Option<i64>,
    /// The key-encryption keys that it needs.
    pub kek_ids: Vec<String>,
    /// Those that are at hand.
    pub kek_ids_held: Vec<String>,
    /// The last sealed event.
    pub audit_seq: i64,
    /// Whether it takes writes.
    pub writes: Writes,
}

impl From<UpkeepError> for OperatorRefusal {
    fn from(error: UpkeepError) -> Self {
        match error {
            UpkeepError::Storage(fault) => Self::Storage(fault),
            UpkeepError::Invalid(what) | UpkeepError::Conflict(what) => Self::Invalid(what),
            other @ (UpkeepError::Failed(_) | UpkeepError::Abandoned) => Self::Storage(StoreError::unavailable(other)),
        }
    }
}

impl Auth {
    /// How the database is.
    ///
    /// # Errors
    /// [`StoreError`]: it does not answer.
    pub async fn database(&self) -> Result<DatabaseReport, StoreError> {
        let backup = self.parts.settings.all().await?.into_iter().find(|setting| setting.name == BACKUP);
        let kek_ids: BTreeSet<String> = self.parts.wraps.wrapped().await?.into_iter().map(|row| row.kek).collect();
        Ok(DatabaseReport {
            kind: self.parts.readiness.kind(),
            facts: self.parts.upkeep.facts().await?,
            backed_up_ms: backup.map(|setting| setting.changed_ms),
            kek_ids: kek_ids.into_iter().collect(),
            kek_ids_held: self.parts.wrapper.ids(),
            audit_seq: self.parts.audit.head().await?,
            writes: self.parts.upkeep.writes(),
        })
    }

    /// A copy of the database, recorded before anything of it is given away.
    ///
    /// # Errors
    /// [`UpkeepError`]; there is no copy then.
    pub async fn back_up(&self, operator: &Operator, watcher: Arc<dyn Watcher>) -> Result<Copy, UpkeepError> {
        let copy = self.parts.upkeep.copy(watcher).await?;
        let event =
            self.operator_event(operator, Action::DatabaseBackedUp).about("database", self.parts.readiness.kind());
        let event = event.with("bytes", copy.bytes).with("seq", copy.seq);
        self.parts.settings.put(BACKUP, &copy.bytes.to_string(), &operator.name(), None, event).await?;
        Ok(copy)
    }

    /// Moves the database to PostgreSQL; a dry run looks at the target and counts.
    ///
    /// # Errors
    /// [`UpkeepError`]; this database is in use as before.
    pub async fn move_database(
        &self,
        operator: &Operator,
        target: &Secret,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Moved, UpkeepError> {
        if operator.is_dry_run() {
            return self.parts.upkeep.try_move(target).await;
        }
        // What is sealed here has its place in the chain there.
        while self.seal_events(SEAL_BATCH).await? >= SEAL_BATCH {}
        let event = |action| self.operator_event(operator, action).about("database", "postgres");
        let events = MoveEvents {
            begun: event(Action::DatabaseMoveBegun),
            arrived: event(Action::DatabaseMoved).with("side", "new"),
            left: event(Action::DatabaseMoved).with("side", "old"),
        };
        self.parts.upkeep.move_to(target, events, watcher).await
    }
}
