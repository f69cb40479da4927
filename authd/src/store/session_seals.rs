//! Erasing the seals of successors whose grace is over (R6).
//!
//! No index knows which sessions these are: with one that every refresh changes, PostgreSQL would write a refreshed row
//! anew into all of them. So a walk through all sessions finds them, a slice a turn: fifty thousand sessions are seen in
//! each, a million in a minute or two.

use crate::{
    domain::outage::MAX_EXTENSION_MS,
    store::{
        db::Db,
        dialect::{on_db, on_read, on_tx},
        error::Stored,
        row::json_list,
        session_slice::{self, END},
    },
};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the walk is: behind this id.
#[derive(Clone, Default)]
pub(super) struct SealWalk(Arc<Mutex<String>>);

/// How long seals are kept after their rotation, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Graces {
    pub(super) plain_ms: i64,
    pub(super) keyed_ms: i64,
}

impl Graces {
    /// A seal outlives its grace by as much as an outage may add to it (R5).
    pub(super) fn of(grace_ms: i64, keyed_grace_ms: i64) -> Self {
        Self {
            plain_ms: grace_ms.saturating_add(MAX_EXTENSION_MS),
            keyed_ms: keyed_grace_ms.max(grace_ms).saturating_add(MAX_EXTENSION_MS),
        }
    }
}

impl SealWalk {
    /// One turn: looks at the next slice of sessions and erases at most `batch` seals; how many it found. Rows that
    /// somebody holds are left for the next round.
    pub(super) async fn turn(&self, db: &Db, graces: Graces, batch: u32) -> Stored<u64> {
        let Graces { plain_ms, keyed_ms } = graces;
        let from = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (due, end) = on_read!(db, |tx| {
            let end = session_slice::end(tx, &from).await?;
            let clock = tx.clock();
            let due: Vec<(String,)> = on_db!(tx, all ["SELECT session.id FROM session
                WHERE session.id > $2 AND session.id <= $3 AND session.sealed IS NOT NULL AND session.rotated_ms
                    < (SELECT " NOW ") - CASE WHEN session.sealed_keying = 'plain' THEN $4 ELSE $5 END
                ORDER BY session.id LIMIT $6"](
                clock, from.as_str(), end.as_deref().unwrap_or(END), plain_ms, keyed_ms, i64::from(batch),
            ))?;
            Ok((due, end))
        })?;
        let found = u64::try_from(due.len()).unwrap_or(u64::MAX);
        let last = if found < u64::from(batch) { end } else { due.last().map(|(id,)| id.clone()) };
        if found > 0 {
            let ids = json_list(due.iter().map(|(id,)| id.as_str()));
            on_tx!(db, |tx| {
                let clock = tx.clock();
                on_db!(tx, execute ["UPDATE session SET sealed = NULL, sealed_keying = NULL WHERE session.id IN (
                    SELECT session.id FROM session WHERE session.id IN " IDS " AND session.rotated_ms
                        < (SELECT " NOW ") - CASE WHEN session.sealed_keying = 'plain' THEN $3 ELSE $4 END
                    ORDER BY session.id" SKIP_LOCKED ")"](clock, ids.as_str(), plain_ms, keyed_ms))
            })?;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = last.unwrap_or_default();
        Ok(found)
    }
}
