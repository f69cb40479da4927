//! [`SessionStore`] on both databases.

use crate::{
    domain::{
        audit::Event,
        page::{MAX_PAGE, Page, PageRequest},
        revocation::{FeedCursor, Revocation},
        session::{
            EndReason, LiveSession, NewSession, Opened, Revoked, Rotate, Rotated, Session, SessionFilter, SessionStore,
        },
        session_stats::SessionStats,
        store_error::StoreError,
        token::{Handle, TokenHash},
    },
    store::{
        db::{Backend, Budget, Db},
        dialect::{on_db, on_one, on_read, on_tx},
        error::Stored,
        rotation_lane::Lanes,
        row::SessionRow,
        session_end, session_feed, session_list, session_open, session_past, session_rotate,
        session_seals::{Graces, SealWalk},
        session_slice, session_stats, sweep,
    },
};
use shared::id::SessionId;
use std::{ops::RangeInclusive, sync::Arc};

/// Sessions in the database; cheap to clone.
#[derive(Clone)]
pub(super) struct Sessions {
    db: Db,
    /// SQLite's writer groups its changes by itself.
    lanes: Option<Arc<Lanes>>,
    seals: SealWalk,
}

impl Sessions {
    pub(super) fn on(db: &Db) -> Self {
        let lanes = matches!(db.backend, Backend::Postgres(_)).then(|| Arc::new(Lanes::start(db)));
        Self { db: db.clone(), lanes, seals: SealWalk::default() }
    }

    /// One statement where that serves, else a transaction.
    async fn open_in_steps(&self, new: NewSession, events: Vec<Event>) -> Stored<Opened> {
        let (new, events) = (Arc::new(new), Arc::new(events));
        let until = self.db.context.until(Budget::Statement);
        if self.lanes.is_some() {
            let (new, events) = (new.clone(), events.clone());
            let opened =
                on_one!(self.db, Budget::Until(until), |tx| session_open::at_once(tx, &new, &events, until).await)?;
            if let Some(opened) = opened {
                return Ok(opened);
            }
        }
        on_tx!(self.db, within Budget::Until(until), |tx| session_open::open(tx, &new, &events).await)
    }
}

#[async_trait::async_trait]
impl SessionStore for Sessions {
    async fn open(&self, new: NewSession, events: Vec<Event>) -> Result<Opened, StoreError> {
        let sessions = self.clone();
        self.db.to_the_end(async move { sessions.open_in_steps(new, events).await }).await
    }

    async fn rotate(&self, rotate: Rotate) -> Result<Option<Rotated>, StoreError> {
        let call = Arc::new(rotate);
        match &self.lanes {
            Some(lanes) => lanes.rotate(call).await,
            None => self.db.to_the_end(session_rotate::alone(self.db.clone(), call)).await,
        }
    }

    async fn find(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let id = id.clone();
        let row: Option<SessionRow> = on_read!(self.db, |tx| {
            let clock = tx.clock();
            on_db!(tx, optional ["SELECT " SESSION ", " NOW " AS now_ms FROM session WHERE session.id = $2"](
                clock, id.as_str(),
            ))
        })?;
        row.map(|row| row.session()).transpose()
    }

    async fn find_by_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<Session>, StoreError> {
        // Ids are ASCII below the tilde and sort by their bytes.
        let (from, to) = (prefix.to_owned(), format!("{prefix}~"));
        let rows: Vec<SessionRow> = on_read!(self.db, |tx| {
            let clock = tx.clock();
            on_db!(tx, all ["SELECT " SESSION ", " NOW " AS now_ms FROM session
                WHERE session.id >= $2 AND session.id < $3 ORDER BY session.id LIMIT $4"](
                clock, from.as_str(), to.as_str(), i64::from(limit.min(MAX_PAGE)),
            ))
        })?;
        rows.iter().map(SessionRow::session).collect()
    }

    async fn find_live(&self, id: &SessionId) -> Result<Option<LiveSession>, StoreError> {
        let id = id.clone();
        on_read!(self.db, |tx| {
            let clock = tx.clock();
            let row: Option<LiveRow> = on_db!(tx, optional ["SELECT " SESSION ", " NOW " AS now_ms,
                (SELECT count(*) FROM account WHERE account.id = session.account_id
                    AND account.disabled_ms IS NULL AND account.deleted_ms IS NULL) AS enabled
                FROM session WHERE session.id = $2"](clock, id.as_str()))?;
            let Some(LiveRow { row, enabled }) = row else { return Ok(None) };
            let session = row.session()?;
            Ok(Some(LiveSession { session, account_enabled: enabled > 0 }))
        })
    }

    async fn find_by_handle(&self, handle: Handle) -> Result<Option<Session>, StoreError> {
        let row: Option<SessionRow> = on_read!(self.db, |tx| {
            let clock = tx.clock();
            on_db!(tx, optional ["SELECT " SESSION ", " NOW " AS now_ms FROM session WHERE session.handle = $2"](
                clock, handle.0.as_slice(),
            ))
        })?;
        row.map(|row| row.session()).transpose()
    }

    async fn is_current(&self, handle: Handle, token: TokenHash) -> Result<bool, StoreError> {
        on_read!(self.db, |tx| {
            let clock = tx.clock();
            let row: Option<(String,)> = on_db!(tx, optional ["SELECT session.id FROM session
                WHERE session.handle = $2 AND session.cur_hash = $3 AND " LIVE](
                clock, handle.0.as_slice(), token.0.as_slice(),
            ))?;
            Ok(row.is_some())
        })
    }

    async fn list(&self, filter: SessionFilter, page: PageRequest) -> Result<Page<Session>, StoreError> {
        on_read!(self.db, |tx| session_list::list(tx, &filter, &page).await)
    }

    async fn count_live(&self, filter: SessionFilter) -> Result<u64, StoreError> {
        session_slice::count_live(&self.db, filter).await
    }

    async fn revoke_if(
        &self,
        filter: SessionFilter,
        expected: RangeInclusive<u64>,
        why: EndReason,
        event: Event,
    ) -> Result<Revoked, StoreError> {
        // One session, or those that one account may have, are an ordinary change.
        let is_narrow = filter.id.is_some() || filter.account.is_some();
        let budget = if is_narrow { Budget::Long } else { Budget::Bulk };
        on_tx!(self.db, within budget, |tx| session_end::revoke(tx, &filter, &expected, (why, &event)).await)
    }

    async fn stats(&self, top: u32) -> Result<SessionStats, StoreError> {
        session_stats::read(&self.db, top).await
    }

    async fn revocations(&self, cursor: FeedCursor) -> Result<(Vec<Revocation>, FeedCursor), StoreError> {
        on_read!(self.db, |tx| session_feed::since(tx, cursor).await)
    }

    async fn sweep(&self, grace_ms: i64, keyed_grace_ms: i64, batch: u32) -> Result<u64, StoreError> {
        let swept = on_tx!(self.db, |tx| sweep::sweep(tx, batch).await)?;
        Ok(swept + self.seals.turn(&self.db, Graces::of(grace_ms, keyed_grace_ms), batch).await?)
    }

    async fn forget(&self, before_ms: i64, batch: u32) -> Result<u64, StoreError> {
        on_tx!(self.db, |tx| session_past::forget(tx, before_ms, batch).await)
    }
}

#[derive(sqlx::FromRow)]
struct LiveRow {
    #[sqlx(flatten)]
    row: SessionRow,
    enabled: i64,
}
