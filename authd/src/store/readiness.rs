//! [`Readiness`]: whether the database answers and takes writes.

use crate::{
    domain::{outage::Outages, setting::Readiness, store_error::StoreError},
    store::{
        db::{Backend, Db},
        dialect::{on_db, on_read, on_tx},
    },
};
use std::sync::PoisonError;

/// Asks the database.
pub(super) struct Probe {
    pub(super) db: Db,
}

#[async_trait::async_trait]
impl Readiness for Probe {
    async fn probe(&self) -> Result<i64, StoreError> {
        if self.db.context.admit_write().is_err() {
            // It is well: writes are put off on purpose.
            return on_read!(self.db, |tx| {
                let clock = tx.clock();
                let (now_ms,): (i64,) = on_db!(tx, one ["SELECT " NOW " AS now_ms"](clock))?;
                Ok(now_ms)
            });
        }
        on_tx!(self.db, |tx| {
            let clock = tx.clock();
            let (now_ms,): (i64,) = on_db!(tx, one ["UPDATE probe SET at_ms = " NOW " WHERE probe.name = 'ready'
                RETURNING at_ms"](clock))?;
            Ok(now_ms)
        })
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        on_tx!(self.db, |tx| {
            // On the connection that writes: SQLite's settings are of one connection each.
            let rows: Vec<(String, String)> = on_db!(tx, all[DURABILITY]())?;
            Ok(rows)
        })
    }

    fn outages(&self) -> Outages {
        self.db.context.outages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn kind(&self) -> &'static str {
        match self.db.backend {
            Backend::Sqlite { .. } => "sqlite",
            Backend::Postgres(_) => "postgres",
        }
    }
}
