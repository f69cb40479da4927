//! Writes that are put off while the database is being moved, and the mark of one that was.

use crate::{
    domain::{
        audit::Event,
        upkeep::{UpkeepError, Writes},
    },
    store::{
        db::{Context, Db},
        dialect::{on_db, on_tx},
        error::Stored,
        event,
        sqlite_writer::Writer,
    },
};
use std::sync::{Arc, PoisonError};

/// The setting that says where the data was moved to.
pub(super) const MOVED: &str = "move.moved_to";
/// The setting of the new database that says how far the audit had come when it was filled: as long as that is so,
/// nobody has used it.
pub(super) const ORIGIN: &str = "move.origin";

/// As long as it lives, the database takes no writes.
pub(super) struct Hold {
    context: Arc<Context>,
    writer: Writer,
    ends: Writes,
}

impl Hold {
    /// Puts writes off; those that were queued before have happened when this returns.
    pub(super) async fn begin(db: &Db, writer: &Writer) -> Result<Self, UpkeepError> {
        let context = db.context.clone();
        {
            let mut writes = lock(&context);
            if *writes != Writes::Taken {
                return Err(UpkeepError::Conflict("the database was moved already".to_owned()));
            }
            *writes = Writes::Held(context.clock.now_ms());
        }
        let hold = Self { context, writer: writer.clone(), ends: Writes::Taken };
        hold.writer.write_moving(&hold.context, |_| Box::pin(async { Ok(()) })).await?;
        Ok(hold)
    }

    /// Marks the database as moved, for good: it takes no writes any more, and no daemon starts on it.
    pub(super) async fn keep(mut self, to: &str, event: Event) -> Result<(), UpkeepError> {
        let (place, context) = (to.to_owned(), self.context.clone());
        self.writer
            .write_moving(&context, move |tx| {
                Box::pin(async move {
                    let clock = tx.clock();
                    on_db!(tx, execute ["INSERT INTO setting (name, value, version, changed_ms, changed_by)
                        VALUES ($2, $3, 1, " NOW ", 'authd')"](clock, MOVED, place.as_str()))?;
                    event::write(tx, &event).await
                })
            })
            .await?;
        self.ends = Writes::Moved { at_ms: context.clock.now_ms(), to: to.to_owned() };
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        *lock(&self.context) = std::mem::take(&mut self.ends);
    }
}

fn lock(context: &Context) -> std::sync::RwLockWriteGuard<'_, Writes> {
    context.writes.write().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the mark away; whether there was one.
pub(super) async fn undo(db: &Db, event: Event) -> Stored<bool> {
    on_tx!(db, |tx| {
        let marks = on_db!(
            tx,
            execute["DELETE FROM setting WHERE setting.tenant_id = 'default' AND setting.name = $1"](MOVED)
        )?;
        if marks == 0 {
            tx.undo();
            return Ok(false);
        }
        event::write(tx, &event).await?;
        Ok(true)
    })
}
