//! [`KeyStore`] on both databases: signing keys, the id of the key-encryption key, heartbeats.

use crate::{
    domain::{
        audit::Event,
        key::{Heartbeat, KeyAlgorithm, KeyState, KeyStore, SigningKey},
        store_error::StoreError,
    },
    store::{
        db::{Db, Tx},
        dialect::{on_db, on_read, on_tx},
        error::Stored,
        event,
    },
};
use shared::id::KeyId;
use std::collections::BTreeMap;

/// Ended keys are listed this long, in milliseconds.
const ENDED_LISTED_MS: i64 = 30 * 24 * 3_600 * 1_000;
/// Heartbeats are kept this long, in milliseconds.
const BEAT_KEPT_MS: i64 = 24 * 3_600 * 1_000;
/// The setting that names the key-encryption key; not a live setting, so not listed with them.
pub(super) const KEK_SETTING: &str = "kek.id";

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
            on_db!(tx, all ["SELECT id, algorithm, state, public, wrapped, created_ms, promote_after_ms, activated_ms,
                retiring_ms, ended_ms FROM signing_key WHERE ended_ms IS NULL OR ended_ms > " NOW " - $2
                ORDER BY created_ms, id"](clock, ENDED_LISTED_MS))
        })?;
        rows.into_iter().map(KeyRow::key).collect()
    }

    async fn stage(&self, key: SigningKey, event: Event) -> Result<bool, StoreError> {
        on_tx!(self.db, |tx| {
            let clock = tx.clock();
            // A unique index allows one staged key.
            let added = on_db!(tx, execute ["INSERT INTO signing_key
                (id, algorithm, state, public, wrapped, created_ms, promote_after_ms)
                VALUES ($2, $3, 'staged', $4, $5, " NOW ", $6) ON CONFLICT DO NOTHING"](
                clock, key.id.as_str(), key.algorithm.as_str(), key.public.as_slice(), key.wrapped.as_slice(),
                key.promote_after_ms,
            ))?;
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
            let clock = tx.clock();
            let nothing: &[u8] = &[];
            let moved = on_db!(tx, execute ["UPDATE signing_key SET state = 'retired', ended_ms = " NOW ", wrapped = $3
                WHERE id = $2 AND state = 'retiring'"](clock, id.as_str(), nothing))?;
            with_event(tx, moved, &event).await
        })
    }

    async fn kek_id(&self) -> Result<Option<String>, StoreError> {
        on_read!(self.db, |tx| stored_kek(tx).await)
    }

    async fn bind_kek(&self, id: &str) -> Result<String, StoreError> {
        let id = id.to_owned();
        on_tx!(self.db, |tx| {
            let clock = tx.clock();
            on_db!(tx, execute ["INSERT INTO setting (name, value, version, changed_ms, changed_by)
                VALUES ($2, $3, 1, " NOW ", 'authd') ON CONFLICT (tenant_id, name) DO NOTHING"](
                clock, KEK_SETTING, id.as_str(),
            ))?;
            stored_kek(tx).await?.ok_or_else(|| StoreError::corrupt("the id of the key-encryption key is gone"))
        })
    }

    async fn beat(&self, instance: &str, serving: &[String]) -> Result<(Vec<Heartbeat>, i64), StoreError> {
        let (instance, serving) = (instance.to_owned(), serving.to_vec());
        on_tx!(self.db, |tx| beat(tx, &instance, &serving).await)
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
            on_db!(tx, execute["DELETE FROM instance WHERE instance.name = $1"](instance.as_str()))?;
            Ok(())
        })
    }
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

async fn stored_kek(tx: &mut Tx<'_>) -> Stored<Option<String>> {
    let row: Option<(String,)> = on_db!(
        tx,
        optional["SELECT setting.value FROM setting
        WHERE setting.tenant_id = 'default' AND setting.name = $1"](KEK_SETTING)
    )?;
    Ok(row.map(|(id,)| id))
}

async fn beat(tx: &mut Tx<'_>, instance: &str, serving: &[String]) -> Stored<(Vec<Heartbeat>, i64)> {
    let clock = tx.clock();
    let before: Option<(String,)> = on_db!(tx, optional ["SELECT instance.serving FROM instance
        WHERE instance.name = $1" LOCK](instance))?;
    let before = before.map(|(text,)| since(&text)).transpose()?.unwrap_or_default();
    let (now_ms,): (i64,) = on_db!(tx, one ["SELECT " NOW " AS now_ms"](clock))?;
    let serving: BTreeMap<&str, i64> =
        serving.iter().map(|key| (key.as_str(), before.get(key).copied().unwrap_or(now_ms))).collect();
    let text = serde_json::to_string(&serving).map_err(StoreError::corrupt)?;
    on_db!(
        tx,
        execute["INSERT INTO instance (name, beat_ms, serving) VALUES ($1, $2, $3)
        ON CONFLICT (name) DO UPDATE SET beat_ms = excluded.beat_ms, serving = excluded.serving"](
            instance,
            now_ms,
            text.as_str(),
        )
    )?;
    on_db!(tx, execute ["DELETE FROM instance WHERE instance.name IN (SELECT instance.name FROM instance
        WHERE instance.beat_ms < $1" SKIP_LOCKED ")"](now_ms.saturating_sub(BEAT_KEPT_MS)))?;
    Ok((beats(tx).await?, now_ms))
}

async fn beats(tx: &mut Tx<'_>) -> Stored<Vec<Heartbeat>> {
    let rows: Vec<(String, i64, String)> = on_db!(
        tx,
        all["SELECT instance.name, instance.beat_ms, instance.serving FROM instance
            ORDER BY instance.name"]()
    )?;
    rows.into_iter()
        .map(|(instance, beat_ms, text)| Ok(Heartbeat { instance, beat_ms, serving: since(&text)? }))
        .collect()
}

fn since(text: &str) -> Stored<BTreeMap<String, i64>> {
    serde_json::from_str(text).map_err(StoreError::corrupt)
}
