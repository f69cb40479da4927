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
use shared::chain::{Entry, Hash};
use sqlx::{Encode, QueryBuilder, Type};
use std::iter::Peekable;

/// At most this many events are sealed at once.
const MOST: u32 = 1_000;
/// Events that get their place with one statement.
const CHUNK: usize = 250;

/// How far the chain has come.
struct Place {
    seq: i64,
    hash: Vec<u8>,
}

impl Place {
    fn next(&self) -> Stored<i64> {
        self.seq.checked_add(1).ok_or_else(|| StoreError::corrupt("the audit chain says that it has no place left"))
    }

    /// Goes past the events that already stand where the chain goes on: only a sealer gives places, and moves the head
    /// with them, so somebody else put these there. The chain must not stall because of them.
    fn pass(&mut self, taken: &mut Peekable<impl Iterator<Item = Entry>>, sealed: &mut Sealed) -> Stored<()> {
        loop {
            let next = self.next()?;
            let Some(there) = taken.next_if(|entry| entry.seq == Some(next)) else { return Ok(()) };
            let link = there.fields().link(&self.hash, next, &there.mac).to_vec();
            *self = Self { seq: next, hash: there.hash.unwrap_or(link) };
            sealed.misplaced.push(there.id);
        }
    }
}

/// Seals what is committed; two sealers cannot fork the chain, because its head moves by compare-and-set.
pub(super) async fn seal(tx: &mut Tx<'_>, batch: u32) -> Stored<Sealed> {
    let mut place = head(tx).await?;
    let first = place.seq;
    let limit = batch.min(MOST);
    let rows: Vec<EventRow> = on_db!(tx, all ["SELECT " STORED " FROM event WHERE event.seq IS NULL
        ORDER BY event.id LIMIT $1"](i64::from(limit)))?;
    let taken: Vec<EventRow> = on_db!(tx, all ["SELECT " STORED " FROM event WHERE event.seq >= $1
        ORDER BY event.seq LIMIT $2"](first, i64::from(MOST)))?;
    let mut sealed = Sealed::default();
    let has_more_taken = taken.len() >= MOST as usize;
    let mut taken = taken.into_iter().map(EventRow::entry).peekable();
    if let Some(last) = taken.next_if(|entry| entry.seq == Some(first))
        && last.hash.as_ref() != Some(&place.hash)
    {
        // One of the two was changed. What the next event follows is what stands in the log.
        place.hash = last.hash.unwrap_or(place.hash);
        sealed.misplaced.push(last.id);
    }
    let mut places = Vec::with_capacity(rows.len());
    for row in rows {
        place.pass(&mut taken, &mut sealed)?;
        if has_more_taken && taken.peek().is_none() {
            // What stands behind those is seen the next time.
            break;
        }
        let entry = row.entry();
        let fields = entry.fields();
        let notary = tx.context.notary()?;
        if fields.mac(|known| notary.keyed(known)).as_slice() != entry.mac {
            sealed.forged.push(entry.id.clone());
        }
        let seq = place.next()?;
        let hash = fields.link(&place.hash, seq, &entry.mac);
        places.push((entry.id, seq, hash));
        place = Place { seq, hash: hash.to_vec() };
    }
    place.pass(&mut taken, &mut sealed)?;
    sealed.head = place.seq;
    if place.seq == first {
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
        WHERE chain_head.name = 'audit' AND chain_head.seq = $3"](place.seq, place.hash.as_slice(), first)
    )?;
    if moved == 0 {
        tx.undo();
        return Ok(Sealed { head: first, ..Sealed::default() });
    }
    sealed.count = u32::try_from(places.len()).unwrap_or(u32::MAX);
    Ok(sealed)
}

async fn head(tx: &mut Tx<'_>) -> Stored<Place> {
    let (seq, hash): (i64, Vec<u8>) = on_db!(tx, one ["SELECT chain_head.seq, chain_head.hash FROM chain_head
        WHERE chain_head.name = 'audit'" LOCK]())?;
    Ok(Place { seq, hash })
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
