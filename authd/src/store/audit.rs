//! [`AuditLog`] on both databases: events without a change, lists, the sealed order.

use crate::{
    domain::{
        audit::{AuditLog, Event, EventFilter, Sealed, StoredEvent, Worth},
        page::{Page, PageRequest},
        store_error::StoreError,
    },
    store::{
        db::{Db, Tx},
        dialect::{Dialect, on_built, on_db, on_read, on_tx},
        error::Stored,
        event,
        page::{self, CHEAP_COUNT, Table},
        seal,
    },
};
use shared::{chain::Entry, id::EventId, notable::NOTABLE};
use sqlx::{Encode, QueryBuilder, Type};

/// At most this many sealed events are read at once.
const MOST: u32 = 10_000;

/// Events in the database.
pub(super) struct Audit {
    pub(super) db: Db,
}

/// A row of `event`.
#[derive(sqlx::FromRow)]
pub(super) struct EventRow {
    id: String,
    tenant_id: String,
    seq: Option<i64>,
    hash: Option<Vec<u8>>,
    at_ms: i64,
    action: String,
    outcome: String,
    reason: Option<String>,
    actor_kind: String,
    actor_id: Option<String>,
    actor_uid: Option<i64>,
    actor_login_uid: Option<i64>,
    actor_pid: Option<i64>,
    target_kind: Option<String>,
    target_id: Option<String>,
    network: Option<String>,
    device: Option<String>,
    request_id: Option<String>,
    detail: String,
    mac: Vec<u8>,
}

impl EventRow {
    pub(super) fn event(self) -> Stored<StoredEvent> {
        Ok(StoredEvent {
            id: EventId::parse(&self.id).map_err(StoreError::corrupt)?,
            seq: self.seq,
            at_ms: self.at_ms,
            action: self.action,
            outcome: self.outcome,
            reason: self.reason,
            actor_kind: self.actor_kind,
            actor_id: self.actor_id,
            actor_uid: self.actor_uid,
            actor_login_uid: self.actor_login_uid,
            actor_pid: self.actor_pid,
            target_kind: self.target_kind,
            target_id: self.target_id,
            network: self.network,
            device: self.device,
            request_id: self.request_id,
            detail: serde_json::from_str(&self.detail).map_err(StoreError::corrupt)?,
        })
    }

    /// As it is stored, whatever that is.
    pub(super) fn entry(self) -> Entry {
        Entry {
            seq: self.seq,
            id: self.id,
            tenant: self.tenant_id,
            at_ms: self.at_ms,
            action: self.action,
            outcome: self.outcome,
            reason: self.reason,
            actor_kind: self.actor_kind,
            actor_id: self.actor_id,
            actor_uid: self.actor_uid,
            actor_login_uid: self.actor_login_uid,
            actor_pid: self.actor_pid,
            target_kind: self.target_kind,
            target_id: self.target_id,
            network: self.network,
            device: self.device,
            request_id: self.request_id,
            detail: self.detail,
            mac: self.mac,
            hash: self.hash,
        }
    }
}

/// Those that read. An event that somebody else wrote may not: it must not hide the others, and a check tells of it.
fn readable(rows: Vec<EventRow>) -> Vec<StoredEvent> {
    let read = |row: EventRow| {
        let (id, seq) = (row.id.clone(), row.seq);
        row.event()
            .inspect_err(|cause| tracing::warn!(id, seq, %cause, "an event cannot be read: run `authctl audit verify`"))
            .ok()
    };
    rows.into_iter().filter_map(read).collect()
}

#[async_trait::async_trait]
impl AuditLog for Audit {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        on_tx!(self.db, |tx| event::write_all(tx, &events).await)
    }

    async fn merge(&self, events: Vec<StoredEvent>) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        on_tx!(self.db, |tx| event::merge(tx, &events).await)
    }

    async fn probe(&self, event: Event) -> Result<(), StoreError> {
        on_tx!(self.db.for_probes(), |tx| {
            tx.undo();
            event::write(tx, &event).await
        })
    }

    async fn list(&self, filter: EventFilter, page: PageRequest) -> Result<Page<StoredEvent>, StoreError> {
        on_read!(self.db, |tx| list(tx, &filter, &page).await)
    }

    async fn after(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let limit = i64::from(limit.min(MOST));
        let rows: Vec<EventRow> = on_read!(self.db, |tx| {
            on_db!(tx, all ["SELECT " STORED " FROM event WHERE event.seq > $1
                AND event.seq <= (SELECT chain_head.seq FROM chain_head WHERE chain_head.name = 'audit')
                ORDER BY event.seq LIMIT $2"](after, limit))
        })?;
        Ok(readable(rows))
    }

    async fn notable(&self, after: i64, up_to: i64) -> Result<Vec<StoredEvent>, StoreError> {
        let rows: Vec<EventRow> = on_read!(self.db, |tx| {
            on_built!(tx, fetch_all {
                let mut query = QueryBuilder::new("SELECT ");
                query.push(crate::store::dialect::STORED).push(" FROM event WHERE event.seq > ").push_bind(after);
                query.push(" AND event.seq <= ").push_bind(up_to);
                push_notable(&mut query);
                query.push(" ORDER BY event.seq LIMIT ").push_bind(i64::from(MOST));
                query
            })
        })?;
        Ok(readable(rows))
    }

    async fn head(&self) -> Result<i64, StoreError> {
        on_read!(self.db, |tx| {
            let (seq,): (i64,) =
                on_db!(tx, one["SELECT chain_head.seq FROM chain_head WHERE chain_head.name = 'audit'"]())?;
            Ok(seq)
        })
    }

    async fn seal(&self, batch: u32) -> Result<Sealed, StoreError> {
        on_tx!(self.db, |tx| seal::seal(tx, batch).await)
    }
}

async fn list(tx: &mut Tx<'_>, filter: &EventFilter, request: &PageRequest) -> Stored<Page<StoredEvent>> {
    let after = page::after(request)?;
    let limit = page::limit(request);
    let rows: Vec<EventRow> = on_built!(tx, fetch_all {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(crate::store::dialect::STORED).push(" FROM event WHERE TRUE");
        push_filter(&mut query, filter);
        page::push_page(&mut query, Table::Event, after.as_ref(), limit);
        query
    })?;
    let (matching,): (i64,) = on_built!(tx, fetch_one {
        let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 AS one FROM event WHERE TRUE");
        push_filter(&mut query, filter);
        query.push(" LIMIT ").push_bind(CHEAP_COUNT + 1).push(") AS counted");
        query
    })?;
    let page = page::cut(rows, limit, matching, |last| (last.at_ms, last.id.clone()));
    Ok(Page { items: readable(page.items), next: page.next, total: page.total })
}

fn push_filter<DB>(query: &mut QueryBuilder<DB>, filter: &EventFilter)
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    match filter.action.as_deref() {
        None => {}
        Some(action) if action.contains('.') => {
            query.push(" AND event.action = ").push_bind(action.to_owned());
        }
        Some(noun) => {
            // `/` comes right after `.`: everything that begins with `noun.`.
            query.push(" AND event.action > ").push_bind(format!("{noun}."));
            query.push(" AND event.action < ").push_bind(format!("{noun}/"));
        }
    }
    if let Some(actor) = &filter.actor {
        query.push(" AND (event.actor_id = ").push_bind(actor.clone());
        if let Ok(uid) = actor.parse::<i64>() {
            query.push(" OR event.actor_uid = ").push_bind(uid);
        }
        query.push(")");
    }
    let texts = [
        (" AND event.target_id = ", &filter.target),
        (" AND event.network = ", &filter.network),
        (" AND event.outcome = ", &filter.outcome),
        (" AND event.request_id = ", &filter.request_id),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            query.push(condition).push_bind(value.clone());
        }
    }
    if let Some(since_ms) = filter.since_ms {
        query.push(" AND event.at_ms >= ").push_bind(since_ms);
    }
    if let Some(until_ms) = filter.until_ms {
        query.push(" AND event.at_ms < ").push_bind(until_ms);
    }
    if filter.worth == Worth::Notable {
        push_notable(query);
    }
}

fn push_notable<DB>(query: &mut QueryBuilder<DB>)
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    query.push(" AND (FALSE");
    for kind in NOTABLE {
        query.push(" OR (event.action = ").push_bind(kind.action.to_owned());
        if let Some(reason) = kind.reason {
            query.push(" AND event.reason = ").push_bind(reason.to_owned());
        }
        query.push(")");
    }
    query.push(")");
}
