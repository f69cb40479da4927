//! Events without a change while the log is away: kept on disk, and merged when it is back.

use crate::auth::Auth;
use crate::domain::{
    audit::{Event, SpoolFault, StoredEvent},
    store_error::StoreError,
};

/// Events that are merged in one transaction.
const MERGE_BATCH: usize = 200;

/// Where events without a change are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// In the log.
    Logged,
    /// In the spool.
    Spooled,
    /// Nowhere: the log is away and the spool is full.
    NoRoom,
}

impl Auth {
    /// Writes events without a change into the log or, while that is away, into the spool.
    ///
    /// # Errors
    /// [`StoreError`] of the log when the spool does not work either.
    pub(super) async fn keep_somewhere(&self, events: Vec<Event>) -> Result<Kept, StoreError> {
        let kept = events.iter().map(StoredEvent::from).collect();
        let written = if self.is_storage_away() {
            Err(StoreError::unavailable("storage was away a moment ago"))
        } else {
            self.parts.audit.append(events).await
        };
        let Err(fault) = written else { return Ok(Kept::Logged) };
        match self.parts.spool.keep(kept).await {
            Ok(()) => Ok(Kept::Spooled),
            Err(SpoolFault::Full) => Ok(Kept::NoRoom),
            Err(SpoolFault::Broken(_)) => Err(fault),
        }
    }

    /// Nobody is kept waiting for what has just failed; the jobs find out when storage is back.
    fn is_storage_away(&self) -> bool {
        self.parts.readiness.outages().since_ms().is_some()
    }

    /// Writes into the log what the spool keeps; how much.
    ///
    /// # Errors
    /// [`StoreError`]; it stays in the spool. What was written is found there by its id the next time.
    pub async fn merge_spool(&self) -> Result<usize, StoreError> {
        if self.parts.spool.depth() == 0 || self.is_storage_away() {
            return Ok(0);
        }
        let kept = self.parts.spool.take().await.map_err(StoreError::unavailable)?;
        for batch in kept.chunks(MERGE_BATCH) {
            self.parts.audit.merge(batch.to_vec()).await?;
        }
        self.parts.spool.merged().await.map_err(StoreError::unavailable)?;
        Ok(kept.len())
    }
}
