//! [`HardStore`] on both databases: each step is one statement on one row, so that parallel attempts cannot pass each
//! other, and it does what [`HardState`](crate::domain::hard::HardState) says.

use crate::{
    domain::{
        audit::Event,
        hard::{CEILING, Charge, HardCount, HardLimit, HardStore, Lane, Rest},
        limit::LimitKey,
        store_error::StoreError,
    },
    store::{
        db::{Budget, Db, Tx},
        dialect::{on_db, on_one, on_read, on_tx},
        error::Stored,
        event,
        row::{json_list, user_id},
    },
};
use shared::id::UserId;
use std::collections::HashMap;

/// A bucket of names that nobody has starts afresh so long after its first charge, in milliseconds: nobody can log in
/// and clear it, and if it filled up for good it would tell such names from accounts.
const UNKNOWN_KEPT_MS: i64 = 30 * 24 * 3_600 * 1_000;
/// Every instance asks for opened accounts many times within this, in milliseconds.
const LATELY_MS: i64 = 60_000;

/// Counts in the database.
pub(super) struct Hard {
    pub(super) db: Db,
}

#[async_trait::async_trait]
impl HardStore for Hard {
    async fn charge(&self, key: &LimitKey, lane: Lane, limit: HardLimit) -> Result<Option<Charge>, StoreError> {
        let (db, key) = (self.db.clone(), key.clone());
        self.db
            .to_the_end(async move { on_one!(db, Budget::Statement, |tx| charge(tx, &key, lane, limit).await) })
            .await
    }

    async fn give_back(&self, charge: &Charge) -> Result<(), StoreError> {
        let (db, charge) = (self.db.clone(), charge.clone());
        self.db
            .to_the_end(async move {
                on_one!(db, Budget::Statement, |tx| {
                    let (one, key) = (HardCount::one(charge.lane), charge.key.as_str());
                    on_db!(
                        tx,
                        execute["UPDATE throttle SET unknown = throttle.unknown - $3, known = throttle.known - $4
                        WHERE throttle.tenant_id = 'default' AND throttle.bucket = $1 AND throttle.generation = $2"](
                            key,
                            charge.generation,
                            i64::from(one.unknown),
                            i64::from(one.known),
                        )
                    )?;
                    Ok(())
                })
            })
            .await
    }

    async fn clear(&self, key: &LimitKey) -> Result<(), StoreError> {
        let (db, key) = (self.db.clone(), key.clone());
        self.db
            .to_the_end(async move {
                on_one!(db, Budget::Statement, |tx| {
                    on_db!(
                        tx,
                        execute["UPDATE throttle SET unknown = 0, known = 0, generation = throttle.generation + 1
                        WHERE throttle.tenant_id = 'default' AND throttle.bucket = $1"](
                            key.as_str()
                        )
                    )?;
                    Ok(())
                })
            })
            .await
    }

    async fn open(&self, account: &UserId, event: Event) -> Result<HardCount, StoreError> {
        let account = account.clone();
        on_tx!(self.db, |tx| {
            let before = open(tx, &account).await?;
            event::write(tx, &event).await?;
            Ok(before)
        })
    }

    async fn counts(&self, accounts: &[UserId]) -> Result<Vec<HardCount>, StoreError> {
        let (accounts, ids) = (accounts.to_vec(), json_list(accounts.iter().map(UserId::as_str)));
        on_read!(self.db, |tx| {
            let rows: Vec<(String, i64, i64)> = on_db!(tx, all ["SELECT throttle.bucket, throttle.unknown,
                throttle.known FROM throttle WHERE throttle.tenant_id = $1 AND throttle.bucket IN " IDS](
                "default", ids.as_str(),
            ))?;
            let found: HashMap<String, HardCount> =
                rows.into_iter().map(|(id, unknown, known)| (id, count(unknown, known))).collect();
            Ok(accounts.iter().map(|id| found.get(id.as_str()).copied().unwrap_or_default()).collect())
        })
    }

    async fn opened_lately(&self) -> Result<Vec<(UserId, i64)>, StoreError> {
        on_read!(self.db, |tx| {
            let clock = tx.clock();
            let rows: Vec<(String, i64)> = on_db!(tx, all ["SELECT throttle.bucket, throttle.opened_ms FROM throttle
                WHERE throttle.opened_ms > (SELECT " NOW ") - $2"](clock, LATELY_MS))?;
            rows.into_iter().map(|(id, at_ms)| Ok((user_id(&id)?, at_ms))).collect()
        })
    }
}

async fn charge(tx: &mut Tx<'_>, key: &LimitKey, lane: Lane, limit: HardLimit) -> Stored<Option<Charge>> {
    let (clock, one, max) = (tx.clock(), HardCount::one(lane), limit.of(lane));
    let is_account = UserId::parse(key.as_str()).is_ok();
    let row: Option<(i64, i64, i64)> = on_db!(tx, optional ["INSERT INTO throttle
        (bucket, unknown, known, forget_ms) VALUES ($2, $3, $4, " NOW " + $5)
        ON CONFLICT (tenant_id, bucket) DO UPDATE SET unknown = throttle.unknown + excluded.unknown,
            known = throttle.known + excluded.known
        WHERE throttle.unknown + throttle.known < $6
            AND throttle.unknown * excluded.unknown + throttle.known * excluded.known < $7
        RETURNING unknown, known, generation"](
        clock, key.as_str(), i64::from(one.unknown), i64::from(one.known), (!is_account).then_some(UNKNOWN_KEPT_MS),
        i64::from(CEILING), i64::from(max),
    ))?;
    Ok(row.map(|(unknown, known, generation)| {
        let rest = if limit.is_off(count(unknown, known), lane) { Rest::None } else { Rest::Some };
        Charge { key: key.clone(), lane, generation, rest }
    }))
}

/// Opens both lanes of an account for good, on all instances; what was charged until then.
pub(super) async fn open(tx: &mut Tx<'_>, account: &UserId) -> Stored<HardCount> {
    let clock = tx.clock();
    let before: Option<(i64, i64)> = on_db!(tx, optional ["SELECT throttle.unknown, throttle.known FROM throttle
        WHERE throttle.tenant_id = 'default' AND throttle.bucket = $1" LOCK](account.as_str()))?;
    on_db!(tx, execute ["UPDATE throttle SET unknown = 0, known = 0, generation = throttle.generation + 1,
        opened_ms = " NOW " WHERE throttle.tenant_id = 'default' AND throttle.bucket = $2"](clock, account.as_str()))?;
    Ok(before.map_or_else(HardCount::default, |(unknown, known)| count(unknown, known)))
}

/// Leaves the count of an account that is being deleted to the sweep, which also gets what attempts under way charge.
pub(super) async fn forget(tx: &mut Tx<'_>, account: &UserId) -> Stored<()> {
    let clock = tx.clock();
    on_db!(tx, execute ["INSERT INTO throttle (bucket, unknown, known, forget_ms) VALUES ($2, 0, 0, " NOW ")
        ON CONFLICT (tenant_id, bucket) DO UPDATE SET opened_ms = NULL, forget_ms = excluded.forget_ms"](
        clock, account.as_str(),
    ))?;
    Ok(())
}

fn count(unknown: i64, known: i64) -> HardCount {
    let number = |stored: i64| u32::try_from(stored).unwrap_or_default();
    HardCount { unknown: number(unknown), known: number(known) }
}
