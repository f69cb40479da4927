//! [`ChainStore`] on both databases: the chain as it is stored, its checkpoints, tombstones and public keys.

use crate::{
    domain::{
        audit::Event,
        chain::{ChainStats, ChainStore, Placed, Purged},
        store_error::StoreError,
    },
    store::{
        audit::EventRow,
        db::{Db, Tx},
        dialect::{on_db, on_read, on_tx},
        error::Stored,
        event,
        page::CHEAP_COUNT,
        row::count,
    },
};
use shared::chain::{AuditKey, Checkpoint, Entry, Tombstone, verify::Tail};

/// At most this many rows are read at once.
const MOST: u32 = 1_000;
/// Kinds of recent events that are counted apart.
const KINDS: i64 = 100;

/// The chain in the database.
pub(super) struct Chain {
    pub(super) db: Db,
}

#[derive(sqlx::FromRow)]
struct CheckpointRow {
    number: i64,
    seq: i64,
    hash: Vec<u8>,
    at_ms: i64,
    anchored_seq: i64,
    key_id: String,
    signature: Vec<u8>,
}

impl CheckpointRow {
    fn checkpoint(self) -> Checkpoint {
        Checkpoint {
            number: self.number,
            seq: self.seq,
            hash: self.hash,
            at_ms: self.at_ms,
            anchored_seq: self.anchored_seq,
            key: self.key_id,
            signature: self.signature,
        }
    }
}

#[derive(sqlx::FromRow)]
struct PlacedRow {
    #[sqlx(flatten)]
    row: CheckpointRow,
    event_hash: Option<Vec<u8>>,
}

#[derive(sqlx::FromRow)]
struct TombstoneRow {
    number: i64,
    from_seq: i64,
    up_to_seq: i64,
    hash: Vec<u8>,
    purged: i64,
    checkpoint: i64,
    cut_off_ms: i64,
    at_ms: i64,
    key_id: String,
    signature: Vec<u8>,
}

impl TombstoneRow {
    fn tombstone(self) -> Tombstone {
        Tombstone {
            number: self.number,
            from_seq: self.from_seq,
            up_to_seq: self.up_to_seq,
            hash: self.hash,
            count: self.purged,
            checkpoint: self.checkpoint,
            cut_off_ms: self.cut_off_ms,
            at_ms: self.at_ms,
            key: self.key_id,
            signature: self.signature,
        }
    }
}

/// Head and last event, read by one statement.
type TailRow = (Option<i64>, Option<Vec<u8>>, Option<i64>, Option<Vec<u8>>);

fn entries(rows: Vec<EventRow>) -> Vec<Entry> {
    rows.into_iter().map(EventRow::entry).collect()
}

#[async_trait::async_trait]
impl ChainStore for Chain {
    async fn sealed(&self, after: i64, up_to: i64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let limit = i64::from(limit.min(MOST));
        let rows = on_read!(self.db, |tx| {
            on_db!(tx, all ["SELECT " STORED " FROM event WHERE event.seq IS NOT NULL AND event.seq > $1
                AND event.seq <= $2 ORDER BY event.seq, event.id LIMIT $3"](after, up_to, limit))
        })?;
        Ok(entries(rows))
    }

    async fn unsealed(&self, after: &str, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let (after, limit) = (after.to_owned(), i64::from(limit.min(MOST)));
        let rows = on_read!(self.db, |tx| {
            on_db!(tx, all ["SELECT " STORED " FROM event WHERE event.seq IS NULL AND event.id > $1
                ORDER BY event.id LIMIT $2"](after.as_str(), limit))
        })?;
        Ok(entries(rows))
    }

    async fn find(&self, id: &str, seq: Option<i64>) -> Result<Option<Entry>, StoreError> {
        let id = id.to_owned();
        let row: Option<EventRow> = on_read!(self.db, |tx| {
            on_db!(tx, optional ["SELECT " STORED " FROM event WHERE event.id = $1 OR event.seq = $2 LIMIT 1"](
                id.as_str(), seq,
            ))
        })?;
        Ok(row.map(EventRow::entry))
    }

    async fn tail(&self) -> Result<Tail, StoreError> {
        let (head_seq, head_hash, last_seq, last_hash): TailRow = on_read!(self.db, |tx| {
            on_db!(
                tx,
                one["SELECT
                (SELECT chain_head.seq FROM chain_head
                    WHERE chain_head.name = 'audit' AND chain_head.tenant_id = 'default') AS head_seq,
                (SELECT chain_head.hash FROM chain_head WHERE chain_head.name = 'audit') AS head_hash,
                (SELECT max(event.seq) FROM event) AS last_seq,
                (SELECT event.hash FROM event WHERE event.seq = (SELECT max(event.seq) FROM event)
                    ORDER BY event.id LIMIT 1) AS last_hash"]()
            )
        })?;
        // A head that is not there says nothing that could be right.
        let (head_seq, head_hash) = (head_seq.unwrap_or(-1), head_hash.unwrap_or_default());
        Ok(Tail { head_seq, head_hash, last: last_seq.map(|seq| (seq, last_hash)) })
    }

    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let row: Option<CheckpointRow> = on_read!(self.db, |tx| {
            on_db!(
                tx,
                optional["SELECT number, seq, hash, at_ms, anchored_seq, key_id, signature FROM checkpoint
                ORDER BY checkpoint.number DESC LIMIT 1"]()
            )
        })?;
        Ok(row.map(CheckpointRow::checkpoint))
    }

    async fn checkpoints(&self, after: i64, limit: u32) -> Result<Vec<Placed>, StoreError> {
        let limit = i64::from(limit.min(MOST));
        let rows: Vec<PlacedRow> = on_read!(self.db, |tx| {
            on_db!(
                tx,
                all["SELECT number, seq, hash, at_ms, anchored_seq, key_id, signature,
                (SELECT event.hash FROM event WHERE event.seq = checkpoint.seq LIMIT 1) AS event_hash
                FROM checkpoint WHERE checkpoint.number > $1 AND checkpoint.tenant_id = 'default'
                ORDER BY checkpoint.number LIMIT $2"](after, limit)
            )
        })?;
        Ok(rows.into_iter().map(|placed| (placed.row.checkpoint(), placed.event_hash)).collect())
    }

    async fn add_checkpoint(&self, checkpoint: Checkpoint) -> Result<bool, StoreError> {
        on_tx!(self.db, |tx| {
            let added = on_db!(
                tx,
                execute["INSERT INTO checkpoint (number, seq, hash, at_ms, anchored_seq, key_id, signature)
                VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (number) DO NOTHING"](
                    checkpoint.number,
                    checkpoint.seq,
                    checkpoint.hash.as_slice(),
                    checkpoint.at_ms,
                    checkpoint.anchored_seq,
                    checkpoint.key.as_str(),
                    checkpoint.signature.as_slice(),
                )
            )?;
            Ok(added > 0)
        })
    }

    async fn tombstones(&self) -> Result<Vec<Tombstone>, StoreError> {
        let rows: Vec<TombstoneRow> = on_read!(self.db, |tx| {
            on_db!(
                tx,
                all["SELECT number, from_seq, up_to_seq, hash, purged, checkpoint, cut_off_ms, at_ms, key_id, signature
                FROM tombstone WHERE tombstone.tenant_id = 'default' ORDER BY tombstone.number"]()
            )
        })?;
        Ok(rows.into_iter().map(TombstoneRow::tombstone).collect())
    }

    async fn keys(&self) -> Result<Vec<(AuditKey, Vec<u8>)>, StoreError> {
        let rows: Vec<(String, Vec<u8>, i64, Vec<u8>)> = on_read!(self.db, |tx| {
            on_db!(
                tx,
                all["SELECT id, public, created_ms, mac FROM audit_key WHERE audit_key.tenant_id = 'default'
                ORDER BY audit_key.created_ms, audit_key.id"]()
            )
        })?;
        Ok(rows.into_iter().map(|(id, public, created_ms, mac)| (AuditKey { id, public, created_ms }, mac)).collect())
    }

    async fn add_key(&self, key: AuditKey, mac: [u8; 32]) -> Result<(), StoreError> {
        on_tx!(self.db, |tx| {
            on_db!(
                tx,
                execute["INSERT INTO audit_key (id, public, created_ms, mac) VALUES ($1, $2, $3, $4)
                ON CONFLICT (id) DO NOTHING"](
                    key.id.as_str(), key.public.as_slice(), key.created_ms, mac.as_slice()
                )
            )
            .map(|_| ())
        })
    }

    async fn purgeable(&self, cut_off_ms: i64, exported_ms: i64, most: i64) -> Result<Option<Checkpoint>, StoreError> {
        let rows: Vec<CheckpointRow> = on_read!(self.db, |tx| {
            let (purged,): (i64,) =
                on_db!(tx, one["SELECT COALESCE((SELECT max(tombstone.up_to_seq) FROM tombstone), 0)"]())?;
            // The last one within the bound, else the first beyond it: a single range may be larger.
            on_db!(
                tx,
                all["SELECT number, seq, hash, at_ms, anchored_seq, key_id, signature FROM checkpoint
                WHERE checkpoint.at_ms < $1 AND checkpoint.seq > $2 AND checkpoint.seq <=
                    (SELECT max(later.anchored_seq) FROM checkpoint AS later WHERE later.at_ms <= $3)
                AND (checkpoint.seq <= $2 + $4 OR checkpoint.seq =
                    (SELECT min(least.seq) FROM checkpoint AS least WHERE least.seq > $2))
                ORDER BY checkpoint.number DESC LIMIT 1"](cut_off_ms, purged, exported_ms, most)
            )
        })?;
        Ok(rows.into_iter().next().map(CheckpointRow::checkpoint))
    }

    async fn purge(&self, tombstone: Tombstone, event: Event) -> Result<Purged, StoreError> {
        on_tx!(self.db, bulk | tx | purge(tx, &tombstone, &event).await)
    }

    async fn last_run(&self, job: &'static str) -> Result<(i64, Option<i64>), StoreError> {
        on_read!(self.db, |tx| {
            let clock = tx.clock();
            on_db!(tx, one ["SELECT " NOW " AS now_ms,
                (SELECT job_run.ran_ms FROM job_run WHERE job_run.name = $2) AS ran_ms"](clock, job))
        })
    }

    async fn job_ran(&self, job: &'static str, at_ms: i64) -> Result<(), StoreError> {
        on_tx!(self.db, |tx| {
            on_db!(
                tx,
                execute["INSERT INTO job_run (name, ran_ms) VALUES ($1, $2)
                ON CONFLICT (name) DO UPDATE SET ran_ms = excluded.ran_ms"](job, at_ms)
            )
            .map(|_| ())
        })
    }

    async fn stats(&self, since_ms: i64) -> Result<ChainStats, StoreError> {
        on_read!(self.db, |tx| {
            let (unsealed,): (i64,) = on_db!(
                tx,
                one["SELECT count(*) FROM
                (SELECT 1 AS one FROM event WHERE event.seq IS NULL LIMIT $1) AS counted"](
                    CHEAP_COUNT + 1
                )
            )?;
            let first: Option<(i64, i64)> = on_db!(
                tx,
                optional["SELECT event.seq, event.at_ms FROM event
                WHERE event.seq IS NOT NULL ORDER BY event.seq LIMIT 1"]()
            )?;
            let recent: Vec<(String, String, i64)> = on_db!(
                tx,
                all["SELECT event.action, event.outcome, count(*) AS events
                FROM event WHERE event.at_ms >= $1 GROUP BY event.action, event.outcome
                ORDER BY events DESC, event.action, event.outcome LIMIT $2"](since_ms, KINDS)
            )?;
            let recent = recent.into_iter().map(|(action, outcome, events)| (action, outcome, count(events))).collect();
            Ok(ChainStats { unsealed: count(unsealed), first, recent })
        })
    }
}

/// The tombstone first: the triggers let go only what one covers.
async fn purge(tx: &mut Tx<'_>, tombstone: &Tombstone, event: &Event) -> Stored<Purged> {
    let laid = on_db!(
        tx,
        execute["INSERT INTO tombstone (number, from_seq, up_to_seq, hash, purged, checkpoint, cut_off_ms, at_ms,
            key_id, signature)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (number) DO NOTHING"](
            tombstone.number,
            tombstone.from_seq,
            tombstone.up_to_seq,
            tombstone.hash.as_slice(),
            tombstone.count,
            tombstone.checkpoint,
            tombstone.cut_off_ms,
            tombstone.at_ms,
            tombstone.key.as_str(),
            tombstone.signature.as_slice(),
        )
    )?;
    if laid == 0 {
        tx.undo();
        return Ok(Purged::Overtaken);
    }
    let gone = on_db!(tx, execute["DELETE FROM event WHERE event.seq <= $1"](tombstone.up_to_seq))?;
    let gone = i64::try_from(gone).unwrap_or(i64::MAX);
    if gone != tombstone.count {
        tx.undo();
        return Ok(Purged::Differs { found: gone });
    }
    on_db!(tx, execute["DELETE FROM checkpoint WHERE checkpoint.number <= $1"](tombstone.checkpoint))?;
    event::write(tx, event).await?;
    Ok(Purged::Done)
}
