//! [`KeyStore`] on both databases: signing keys and heartbeats.

use crate::{
    domain::{
        audit::Event,
        instance::{Heartbeat, Presence},
        key::{KeyAlgorithm, KeyState, KeyStore, SigningKey},
        store_error::StoreError,
    },
    store::{
        db::{Db, Tx},
        dialect::{on_db, on_read, on_tx},
        error::Stored,
        event,
        row::count,
        session_slice::{self, END},
    },
};
use shared::id::KeyId;
use std::collections::BTreeMap;

/// Ended keys are listed this long, in milliseconds.
const ENDED_LISTED_MS: i64 = 30 * 24 * 3_600 * 1_000;
/// Heartbeats are kept this long, in milliseconds: what the longest token and the oldest copy of the key set outlive.
const BEAT_KEPT_MS: i64 = 3 * 24 * 3_600 * 1_000;

/// Keys in the database.
pub(super) struct Keys {
    pub(super) db: Db,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: String,
    algorithm: String,
    state: String,
    public: Vec<u8>,
    wrapped: Vec<u8>,
    kek_id: String,
    created_ms: i64,
    promote_after_ms: Option<i64>,
    activated_ms: Option<i64>,
    retiring_ms: Option<i64>,
    ended_ms: Option<i64>,
}

impl KeyRow {
    fn key(self) -> Stored<SigningKey> {
        Ok(SigningKey {
            id: KeyId::parse(&self.id).map_err(StoreError::corrupt)?,
            algorithm: KeyAlgorithm::parse(&self.algorithm)
                .ok_or_else(|| StoreError::corrupt(format_args!("algorithm {:?}", self.algorithm)))?,
            state: KeyState::parse(&self.state)
                .ok_or_else(|| StoreError::corrupt(format_args!("key state {:?}", self.state)))?,
            public: self.public,
            wrapped: self.wrapped,
            kek: self.kek_id,
            created_ms: self.created_ms,
            promote_after_ms: self.promote_after_ms,
            activated_ms: self.activated_ms,
            retiring_ms: self.retiring_ms,
            ended_ms: self.ended_ms,
        })
    }
}

#[async_trait::async_trait]
impl KeyStore for Keys {
    async fn keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let rows: Vec<KeyRow> = on_read!(self.db, |tx| {
            let clock = tx.clock();
            on_db!(tx, all ["SELECT id, algorithm, state, public, wrapped, kek_id, created_ms, promote_after_ms,
                activated_ms, retiring_ms, ended_ms FROM signing_key WHERE ended_ms IS NULL OR ended_ms > " NOW " - $2
                ORDER BY created_ms, id"](clock, ENDED_LISTED_MS))
        })?;
        rows.into_iter().map(KeyRow::key).collect()
    }

    async fn stage(&self, key: SigningKey, event: Event) -> Result<bool, StoreError> {
        on_tx!(self.db, |tx| {
            let added = add(tx, &key).await?;
            with_event(tx, added, &event).await
        })
    }

    async fn activate(&self, id: &KeyId, event: Event) -> Result<bool, StoreError> {
        let id = id.clone();
        on_tx!(self.db, |tx| {
            let staged: Option<(String,)> = on_db!(tx, optional ["SELECT signing_key.id FROM signing_key
                WHERE signing_key.id = $1 AND signing_key.state = 'staged'" LOCK](id.as_str()))?;
            if staged.is_none() {
                return Ok(false);
            }
            let clock = tx.clock();
            on_db!(tx, execute ["UPDATE signing_key SET state = 'retiring', retiring_ms = " NOW "
                WHERE state = 'active'"](clock))?;
            let moved = on_db!(tx, execute ["UPDATE signing_key SET state = 'active', activated_ms = " NOW "
                WHERE id = $2 AND state = 'staged'"](clock, id.as_str()))?;
            with_event(tx, moved, &event).await
        })
    }

    async fn request_promotion(&self, id: &KeyId, event: Event) -> Result<bool, StoreError> {
        let id = id.clone();
        on_tx!(self.db, |tx| {
            let clock = tx.clock();
            let moved = on_db!(tx, execute ["UPDATE signing_key SET promote_after_ms = " NOW "
                WHERE id = $2 AND state = 'staged'"](clock, id.as_str()))?;
            with_event(tx, moved, &event).await
        })
    }

    async fn retire(&self, id: &KeyId, event: Event) -> Result<bool, StoreError> {
        let id = id.clone();
        on_tx!(self.db, |tx| {
            let moved = end(tx, &id, KeyState::Retiring, KeyState::Retired).await?;
            with_event(tx, moved, &event).await
        })
    }

    async fn replace_staged(&self, old: &KeyId, new: SigningKey, events: [Event; 2]) -> Result<bool, StoreError> {
        let old = old.clone();
        on_tx!(self.db, |tx| {
            if end(tx, &old, KeyState::Staged, KeyState::Retired).await? == 0 || add(tx, &new).await? == 0 {
                tx.undo();
                return Ok(false);
            }
            for event in &events {
                event::write(tx, event).await?;
            }
            Ok(true)
        })
    }

    async fn revoke(&self, id: &KeyId, next: Option<&KeyId>, events: Vec<Event>) -> Result<bool, StoreError> {
        let (id, next) = (id.clone(), next.cloned());
        on_tx!(self.db, |tx| {
            let state: Option<(String,)> = on_db!(tx, optional ["SELECT signing_key.state FROM signing_key
                WHERE signing_key.id = $1" LOCK](id.as_str()))?;
            let published = state.and_then(|(state,)| KeyState::parse(&state)).filter(|state| state.is_published());
            let Some(state) = published.filter(|state| (*state == KeyState::Active) == next.is_some()) else {
                return Ok(false);
            };
            let mut moved = end(tx, &id, state, KeyState::Revoked).await?;
            if let Some(next) = &next {
                let clock = tx.clock();
                moved = moved.min(on_db!(tx, execute ["UPDATE signing_key SET state = 'active', activated_ms = " NOW "
                    WHERE id = $2 AND state = 'staged'"](clock, next.as_str()))?);
            }
            if moved == 0 {
                tx.undo();
                return Ok(false);
            }
            for event in &events {
                event::write(tx, event).await?;
            }
            Ok(true)
        })
    }

    async fn sessions_with_tokens(&self, issued_ms: std::ops::Range<i64>) -> Result<u64, StoreError> {
        let (mut sum, mut from) = (0_u64, String::new());
        loop {
            let (behind, issued_ms) = (from.clone(), issued_ms.clone());
            let (sessions, end) = on_read!(self.db, |tx| {
                let end = session_slice::end(tx, &behind).await?;
                let clock = tx.clock();
                let (sessions,): (i64,) = on_db!(tx, one ["SELECT count(*) FROM session WHERE " LIVE "
                    AND session.created_ms < $3 AND COALESCE(session.rotated_ms, session.created_ms) >= $2
                    AND session.id > $4 AND session.id <= $5"](
                    clock, issued_ms.start, issued_ms.end, behind.as_str(), end.as_deref().unwrap_or(END),
                ))?;
                Ok((count(sessions), end))
            })?;
            sum = sum.saturating_add(sessions);
            match end {
                Some(end) => from = end,
                None => return Ok(sum),
            }
        }
    }

    async fn beat(&self, presence: &Presence) -> Result<(Vec<Heartbeat>, i64), StoreError> {
        let presence = presence.clone();
        on_tx!(self.db, |tx| beat(tx, &presence).await)
    }

    async fn beats(&self) -> Result<(Vec<Heartbeat>, i64), StoreError> {
        on_read!(self.db, |tx| {
            let clock = tx.clock();
            let (now_ms,): (i64,) = on_db!(tx, one ["SELECT " NOW " AS now_ms"](clock))?;
            Ok((beats(tx).await?, now_ms))
        })
    }

    async fn leave(&self, instance: &str) -> Result<(), StoreError> {
        let instance = instance.to_owned();
        on_tx!(self.db, |tx| {
            let clock = tx.clock();
            on_db!(tx, execute ["UPDATE instance SET left_ms = " NOW " WHERE name = $2"](clock, instance.as_str()))?;
            Ok(())
        })
    }
}

/// Ends a key and forgets its private half.
async fn end(tx: &mut Tx<'_>, id: &KeyId, from: KeyState, to: KeyState) -> Stored<u64> {
    let (clock, nothing): (i64, &[u8]) = (tx.clock(), &[]);
    on_db!(tx, execute ["UPDATE signing_key SET state = $4, ended_ms = " NOW ", wrapped = $3
        WHERE id = $2 AND state = $5"](clock, id.as_str(), nothing, to.as_str(), from.as_str()))
}

/// A unique index allows one staged key.
async fn add(tx: &mut Tx<'_>, key: &SigningKey) -> Stored<u64> {
    let clock = tx.clock();
    on_db!(tx, execute ["INSERT INTO signing_key
        (id, algorithm, state, public, wrapped, kek_id, created_ms, promote_after_ms)
        VALUES ($2, $3, 'staged', $4, $5, $6, " NOW ", $7) ON CONFLICT DO NOTHING"](
        clock, key.id.as_str(), key.algorithm.as_str(), key.public.as_slice(), key.wrapped.as_slice(),
        key.kek.as_str(), key.promote_after_ms,
    ))
}

/// Writes the event if a row changed, and tells whether one did.
async fn with_event(tx: &mut Tx<'_>, changed: u64, event: &Event) -> Stored<bool> {
    if changed == 0 {
        tx.undo();
        return Ok(false);
    }
    event::write(tx, event).await?;
    Ok(true)
}

async fn beat(tx: &mut Tx<'_>, me: &Presence) -> Stored<(Vec<Heartbeat>, i64)> {
    let clock = tx.clock();
    let before: Option<(String,)> = on_db!(tx, optional ["SELECT instance.serving FROM instance
        WHERE instance.name = $1" LOCK](me.instance.as_str()))?;
    let before: BTreeMap<String, i64> = before.map(|(text,)| read(&text)).transpose()?.unwrap_or_default();
    let (now_ms,): (i64,) = on_db!(tx, one ["SELECT " NOW " AS now_ms"](clock))?;
    let serving: BTreeMap<&str, i64> =
        me.serving.iter().map(|key| (key.as_str(), before.get(key).copied().unwrap_or(now_ms))).collect();
    let serving = serde_json::to_string(&serving).map_err(StoreError::corrupt)?;
    let keks = serde_json::to_string(&me.keks).map_err(StoreError::corrupt)?;
    on_db!(
        tx,
        execute["INSERT INTO instance (name, beat_ms, serving, keks, cache_ms, access_ttl_ms)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (name) DO UPDATE SET beat_ms = excluded.beat_ms, left_ms = NULL, serving = excluded.serving,
            keks = excluded.keks, cache_ms = excluded.cache_ms, access_ttl_ms = excluded.access_ttl_ms"](
            me.instance.as_str(),
            now_ms,
            serving.as_str(),
            keks.as_str(),
            me.cache_ms,
            me.access_ttl_ms,
        )
    )?;
    on_db!(tx, execute ["DELETE FROM instance WHERE instance.name IN (SELECT instance.name FROM instance
        WHERE instance.beat_ms < $1" SKIP_LOCKED ")"](now_ms.saturating_sub(BEAT_KEPT_MS)))?;
    Ok((beats(tx).await?, now_ms))
}

#[derive(sqlx::FromRow)]
struct BeatRow {
    name: String,
    beat_ms: i64,
    left_ms: Option<i64>,
    serving: String,
    keks: String,
    cache_ms: i64,
    access_ttl_ms: i64,
}

async fn beats(tx: &mut Tx<'_>) -> Stored<Vec<Heartbeat>> {
    let rows: Vec<BeatRow> = on_db!(
        tx,
        all["SELECT name, beat_ms, left_ms, serving, keks, cache_ms, access_ttl_ms FROM instance ORDER BY name"]()
    )?;
    let beat = |row: BeatRow| {
        Ok(Heartbeat {
            instance: row.name,
            beat_ms: row.beat_ms,
            left_ms: row.left_ms,
            serving: read(&row.serving)?,
            keks: read(&row.keks)?,
            cache_ms: row.cache_ms,
            access_ttl_ms: row.access_ttl_ms,
        })
    };
    rows.into_iter().map(beat).collect()
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Stored<T> {
    serde_json::from_str(text).map_err(StoreError::corrupt)
}
