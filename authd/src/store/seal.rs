//! The audit chain: committed events get a sequence number and a hash over everything before them.

use crate::{
    domain::{audit::StoredEvent, store_error::StoreError},
    store::{
        audit::EventRow,
        db::Tx,
        dialect::{Dialect, on_built, on_db},
        error::Stored,
    },
};
use sha2::{Digest, Sha256};
use sqlx::{Encode, QueryBuilder, Type};

/// At most this many events are sealed at once.
const MOST: u32 = 1_000;
/// Events that get their place with one statement.
const CHUNK: usize = 250;

/// A hash of the chain.
pub(super) type Link = [u8; 32];

/// Seals what is committed; two sealers cannot fork the chain, because its head moves by compare-and-set.
pub(super) async fn seal(tx: &mut Tx<'_>, batch: u32) -> Stored<u32> {
    let (first, mut hash) = head(tx).await?;
    let limit = i64::from(batch.min(MOST));
    let rows: Vec<EventRow> = on_db!(tx, all ["SELECT seq, " EVENT " FROM event WHERE event.seq IS NULL
        ORDER BY event.id LIMIT $1"](limit))?;
    let mut sealed = Vec::with_capacity(rows.len());
    let mut seq = first;
    for row in rows {
        let mut event = row.event()?;
        seq += 1;
        event.seq = Some(seq);
        hash = link(&hash, &event);
        sealed.push((event.id.as_str().to_owned(), seq, hash));
    }
    if sealed.is_empty() {
        return Ok(0);
    }
    for chunk in sealed.chunks(CHUNK) {
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
        return Ok(0);
    }
    Ok(u32::try_from(sealed.len()).unwrap_or(u32::MAX))
}

async fn head(tx: &mut Tx<'_>) -> Stored<(i64, Link)> {
    let (seq, hash): (i64, Vec<u8>) = on_db!(tx, one ["SELECT chain_head.seq, chain_head.hash FROM chain_head
        WHERE chain_head.name = 'audit'" LOCK]())?;
    let hash = hash.try_into().map_err(|_| StoreError::corrupt("the head of the audit chain is not 32 bytes long"))?;
    Ok((seq, hash))
}

fn fill<DB>(sealed: &[(String, i64, Link)]) -> QueryBuilder<DB>
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

/// `SHA-256(previous ‖ canonical event)`. Every field is written with its length in front, absent ones apart from
/// empty ones, so that no two events have the same bytes.
pub(super) fn link(previous: &Link, event: &StoredEvent) -> Link {
    let mut canonical = Canonical(Sha256::new());
    canonical.0.update(previous);
    canonical.text(event.id.as_str());
    canonical.number(event.seq);
    canonical.number(Some(event.at_ms));
    for text in [&event.action, &event.outcome, &event.actor_kind] {
        canonical.text(text);
    }
    for text in [
        &event.reason,
        &event.actor_id,
        &event.target_kind,
        &event.target_id,
        &event.network,
        &event.device,
        &event.request_id,
    ] {
        canonical.optional(text.as_deref());
    }
    for number in [event.actor_uid, event.actor_login_uid, event.actor_pid] {
        canonical.number(number);
    }
    canonical.number(i64::try_from(event.detail.len()).ok());
    for (name, value) in &event.detail {
        canonical.text(name);
        canonical.text(value);
    }
    canonical.0.finalize().into()
}

struct Canonical(Sha256);

impl Canonical {
    fn text(&mut self, text: &str) {
        self.0.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.update([u8::from(text.is_some())]);
        if let Some(text) = text {
            self.text(text);
        }
    }

    fn number(&mut self, number: Option<i64>) {
        self.0.update([u8::from(number.is_some())]);
        self.0.update(number.unwrap_or_default().to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::id::EventId;

    fn event() -> StoredEvent {
        StoredEvent {
            id: EventId::new(1, [1; 10]),
            seq: Some(1),
            at_ms: 1,
            action: "a".into(),
            outcome: "ok".into(),
            reason: None,
            actor_kind: "user".into(),
            actor_id: None,
            actor_uid: None,
            actor_login_uid: None,
            actor_pid: None,
            target_kind: None,
            target_id: None,
            network: None,
            device: None,
            request_id: None,
            detail: Vec::new(),
        }
    }

    #[test]
    fn any_changed_field_and_any_other_past_change_the_link() {
        let base = link(&[0; 32], &event());
        let text = || Some(String::from("x"));
        let others = [
            StoredEvent { seq: Some(2), ..event() },
            StoredEvent { at_ms: 2, ..event() },
            StoredEvent { reason: Some(String::new()), ..event() },
            StoredEvent { reason: text(), ..event() },
            StoredEvent { actor_id: text(), ..event() },
            StoredEvent { actor_uid: Some(0), ..event() },
            StoredEvent { target_kind: text(), ..event() },
            StoredEvent { target_id: text(), ..event() },
            StoredEvent { detail: vec![("a".into(), "b".into())], ..event() },
            StoredEvent { detail: vec![("ab".into(), String::new())], ..event() },
        ];
        let mut seen = vec![base, link(&[1; 32], &event())];
        for other in others {
            seen.push(link(&[0; 32], &other));
        }
        let distinct: std::collections::HashSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
    }
}
