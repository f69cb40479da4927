//! [`WrapStore`] on both databases: the root secret and the private halves of signing keys, encrypted.

use crate::{
    domain::{
        audit::Event,
        store_error::StoreError,
        wrap::{Item, WrapStore, Wrapped},
    },
    store::{
        db::{Db, Tx},
        dialect::{on_db, on_read, on_tx},
        error::Stored,
        event,
    },
};
use shared::id::KeyId;

/// Encrypted secrets in the database.
pub(super) struct Wraps {
    pub(super) db: Db,
}

#[async_trait::async_trait]
impl WrapStore for Wraps {
    async fn wrapped(&self) -> Result<Vec<Wrapped>, StoreError> {
        on_read!(self.db, |tx| {
            // A key that has ended has no private half any more.
            let rows: Vec<(String, String, Vec<u8>)> = on_db!(
                tx,
                all["SELECT signing_key.id, signing_key.kek_id, signing_key.wrapped FROM signing_key
                WHERE signing_key.ended_ms IS NULL ORDER BY signing_key.created_ms, signing_key.id"]()
            )?;
            let keys = rows.into_iter().map(|(id, kek, bytes)| {
                let id = KeyId::parse(&id).map_err(StoreError::corrupt)?;
                Ok(Wrapped { item: Item::SigningKey(id), kek, bytes })
            });
            let mut stored = keys.collect::<Stored<Vec<Wrapped>>>()?;
            stored.extend(root(tx).await?);
            Ok(stored)
        })
    }

    async fn plant(&self, new: Wrapped) -> Result<Wrapped, StoreError> {
        on_tx!(self.db, |tx| {
            let (rows,): (i64,) = on_db!(
                tx,
                one["SELECT count(*) FROM (SELECT 1 AS one FROM signing_key UNION ALL SELECT 1 FROM audit_key
                UNION ALL SELECT 1 FROM event UNION ALL SELECT 1 FROM account LIMIT 1) AS used"]()
            )?;
            if let (0, None) = (rows, root(tx).await?) {
                let clock = tx.clock();
                on_db!(tx, execute ["INSERT INTO root_secret (wrapped, kek_id, created_ms) VALUES ($2, $3, " NOW ")
                    ON CONFLICT (tenant_id) DO NOTHING"](clock, new.bytes.as_slice(), new.kek.as_str()))?;
            }
            root(tx).await?.ok_or_else(|| {
                StoreError::corrupt(
                    "the database is in use, but its root secret is missing: restore the database from a backup",
                )
            })
        })
    }

    async fn rewrap(&self, old: &Wrapped, new: Wrapped, event: Event) -> Result<bool, StoreError> {
        let old = old.clone();
        on_tx!(self.db, |tx| {
            let moved = match &old.item {
                Item::Root => on_db!(
                    tx,
                    execute["UPDATE root_secret SET wrapped = $3, kek_id = $4 WHERE wrapped = $1 AND kek_id = $2"](
                        old.bytes.as_slice(),
                        old.kek.as_str(),
                        new.bytes.as_slice(),
                        new.kek.as_str(),
                    )
                ),
                Item::SigningKey(id) => on_db!(
                    tx,
                    execute["UPDATE signing_key SET wrapped = $3, kek_id = $4
                        WHERE wrapped = $1 AND kek_id = $2 AND id = $5 AND ended_ms IS NULL"](
                        old.bytes.as_slice(),
                        old.kek.as_str(),
                        new.bytes.as_slice(),
                        new.kek.as_str(),
                        id.as_str(),
                    )
                ),
            }?;
            if moved > 0 {
                event::write(tx, &event).await?;
            }
            Ok(moved > 0)
        })
    }
}

async fn root(tx: &mut Tx<'_>) -> Stored<Option<Wrapped>> {
    let row: Option<(String, Vec<u8>)> = on_db!(
        tx,
        optional["SELECT root_secret.kek_id, root_secret.wrapped FROM root_secret
            WHERE root_secret.tenant_id = 'default'"]()
    )?;
    Ok(row.map(|(kek, bytes)| Wrapped { item: Item::Root, kek, bytes }))
}
