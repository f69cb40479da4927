//! Sealing: committed events get a sequence number and a hash over everything before them.

use crate::{
    domain::{audit::Sealed, store_error::StoreError},
    store::{
        audit::EventRow,
        db::Tx,
        dialect::{Dialect, on_built, on_db},
        error::Stored,
    },
};
use shared::chain::Hash;
use sqlx::{Encode, QueryBuilder, Type};

/// At most this many events are sealed at once.
const MOST: u32 = 1_000;
/// Events that get their place with one statement.
const CHUNK: usize = 250;

/// Seals what is committed; two sealers cannot fork the chain, because its head moves by compare-and-set.
pub(super) async fn seal(tx: &mut Tx<'_>, batch: u32) -> Stored<Sealed> {
    let (first, mut hash) = head(tx).await?;
    let limit = i64::from(batch.min(MOST));
    let rows: Vec<EventRow> = on_db!(tx, all ["SELECT " STORED " FROM event WHERE event.seq IS NULL
        ORDER BY event.id LIMIT $1"](limit))?;
    let mut places = Vec::with_capacity(rows.len());
    let mut sealed = Sealed::default();
    let mut seq = first;
    for row in rows {
        let entry = row.entry();
        let fields = entry.fields();
        let notary = tx.context.notary()?;
        if fields.mac(|known| notary.keyed(known)).as_slice() != entry.mac {
            sealed.forged.push(entry.id.clone());
        }
        seq += 1;
        hash = fields.link(&hash, seq, &entry.mac);
        places.push((entry.id, seq, hash));
    }
    if places.is_empty() {
        return Ok(sealed);
    }
    for chunk in places.chunks(CHUNK) {
        let filled = on_built!(tx, execute fill(chunk))?;
        if filled != u64::try_from(chunk.len()).unwrap_or(u64::MAX) {
            return Err(StoreError::corrupt("an event changed while it was sealed"));
        }
    }
    let moved = on_db!(
        tx,
        execute["UPDATE chain_head SET seq = $1, hash = $2
        WHERE chain_head.name = 'audit' AND chain_head.seq = $3"](seq, hash.as_slice(), first)
    )?;
    if moved == 0 {
        tx.undo();
        return Ok(Sealed::default());
    }
    sealed.count = u32::try_from(places.len()).unwrap_or(u32::MAX);
    Ok(sealed)
}

async fn head(tx: &mut Tx<'_>) -> Stored<(i64, Hash)> {
    let (seq, hash): (i64, Vec<u8>) = on_db!(tx, one ["SELECT chain_head.seq, chain_head.hash FROM chain_head
        WHERE chain_head.name = 'audit'" LOCK]())?;
    let hash = hash.try_into().map_err(|_| StoreError::corrupt("the head of the audit chain is not 32 bytes long"))?;
    Ok((seq, hash))
}

fn fill<DB>(sealed: &[(String, i64, Hash)]) -> QueryBuilder<DB>
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    Vec<u8>: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new("UPDATE event SET seq = sealed.column2, hash = sealed.column3 FROM (");
    query.push_values(sealed, |mut row, (id, seq, hash)| {
        row.push_bind(id.clone()).push_bind(*seq).push_bind(hash.to_vec());
    });
    query.push(") AS sealed WHERE event.id = sealed.column1 AND event.seq IS NULL");
    query
}
