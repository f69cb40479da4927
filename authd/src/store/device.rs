//! [`DeviceStore`] on both databases, and what happens to devices with sessions. Device rows come after session rows in
//! every transaction that locks both.

use crate::{
    domain::{
        audit::{Action, Event, EventOutcome},
        device::{Device, DeviceFate, DeviceStore, LIFE_MS, MAX_PER_ACCOUNT, NewDevice, SessionDevice},
        identifier::IdentifierKind,
        session::{EndReason, NewSession},
        store_error::StoreError,
        token::TokenHash,
    },
    store::{
        db::{Db, Tx},
        dialect::{on_db, on_read, on_tx},
        error::Stored,
        event,
        row::{json_list, user_id},
    },
};
use shared::id::{DeviceId, SessionId, UserId};

/// Devices that are dropped with one statement.
const CHUNK: usize = 5_000;

/// Devices in the database.
pub(super) struct Devices {
    pub(super) db: Db,
}

#[async_trait::async_trait]
impl DeviceStore for Devices {
    async fn find(
        &self,
        token: TokenHash,
        kind: IdentifierKind,
        canonical: &str,
    ) -> Result<Option<Device>, StoreError> {
        let canonical = canonical.to_owned();
        on_read!(self.db, |tx| {
            let clock = tx.clock();
            let row: Option<(String, String)> = on_db!(tx, optional ["SELECT device.id, device.account_id
                FROM device JOIN identifier ON identifier.account_id = device.account_id
                WHERE device.token_hash = $2 AND device.expires_ms > " NOW " AND identifier.tenant_id = 'default'
                AND identifier.kind = $3 AND identifier.canonical = $4"](
                clock, token.0.as_slice(), kind.as_str(), canonical.as_str(),
            ))?;
            let Some((id, account)) = row else { return Ok(None) };
            Ok(Some(Device { id: device_id(&id)?, account: user_id(&account)? }))
        })
    }

    async fn fail(&self, id: &DeviceId, max: u32, event: Event) -> Result<DeviceFate, StoreError> {
        let id = id.clone();
        on_tx!(self.db, |tx| {
            let failures: Option<(i64,)> = on_db!(
                tx,
                optional["UPDATE device SET failures = device.failures + 1 WHERE device.id = $1 RETURNING failures"](
                    id.as_str()
                )
            )?;
            if failures.is_none_or(|(failures,)| failures < i64::from(max)) {
                return Ok(DeviceFate::Kept);
            }
            on_db!(tx, execute["DELETE FROM device WHERE device.id = $1"](id.as_str()))?;
            event::write(tx, &event).await?;
            Ok(DeviceFate::Dropped)
        })
    }
}

/// Remembers the device that a session is opened from, or begins its life anew. The account's row is locked.
pub(super) async fn admit(tx: &mut Tx<'_>, new: &NewSession, now_ms: i64, event: Option<&Event>) -> Stored<()> {
    match &new.device {
        None => Ok(()),
        Some(SessionDevice::Known(id)) => {
            on_db!(
                tx,
                execute["UPDATE device SET failures = 0, last_used_ms = $3, expires_ms = $3 + $4
                WHERE device.id = $1 AND device.account_id = $2"](
                    id.as_str(), new.account.as_str(), now_ms, LIFE_MS
                )
            )?;
            Ok(())
        }
        Some(SessionDevice::New(device)) => {
            make_room(tx, &new.account, event).await?;
            insert(tx, new, device, now_ms).await
        }
    }
}

async fn insert(tx: &mut Tx<'_>, new: &NewSession, device: &NewDevice, now_ms: i64) -> Stored<()> {
    on_db!(
        tx,
        execute["INSERT INTO device (id, account_id, token_hash, summary, created_ms, expires_ms)
        VALUES ($1, $2, $3, $4, $5, $5 + $6)"](
            device.id.as_str(),
            new.account.as_str(),
            device.token.0.as_slice(),
            new.origin.device.as_ref().map(|device| device.as_str()),
            now_ms,
            LIFE_MS,
        )
    )?;
    Ok(())
}

/// Drops devices until one more fits: those that never came back first.
async fn make_room(tx: &mut Tx<'_>, account: &UserId, event: Option<&Event>) -> Stored<()> {
    let dropped = on_db!(
        tx,
        all["DELETE FROM device WHERE device.id IN (SELECT device.id FROM device WHERE device.account_id = $1
            ORDER BY (device.last_used_ms IS NOT NULL) DESC, COALESCE(device.last_used_ms, device.created_ms) DESC,
                device.id DESC LIMIT 1000 OFFSET $2) RETURNING id"](
            account.as_str(), i64::from(MAX_PER_ACCOUNT) - 1
        )
    )?;
    let Some(event) = event.filter(|_| !dropped.is_empty()) else { return Ok(()) };
    note_dropped(tx, dropped, EndReason::Evicted, event).await
}

/// Drops the devices that ended sessions were opened with, but for the one of the session `keep`.
pub(super) async fn drop_these(
    tx: &mut Tx<'_>,
    mut devices: Vec<String>,
    keep: Option<&SessionId>,
    (why, operation): (EndReason, &Event),
) -> Stored<()> {
    devices.sort_unstable();
    devices.dedup();
    let keep = keep.map_or("", SessionId::as_str);
    for chunk in devices.chunks(CHUNK) {
        let ids = json_list(chunk.iter().map(String::as_str));
        let dropped = on_db!(tx, all ["DELETE FROM device WHERE device.id IN (SELECT device.id FROM device
            WHERE device.id IN " IDS "
            AND device.id <> COALESCE((SELECT session.device_id FROM session WHERE session.id = $1), '')
            ORDER BY device.id" LOCK ") RETURNING id"](keep, ids.as_str()))?;
        note_dropped(tx, dropped, why, operation).await?;
    }
    Ok(())
}

/// Drops all devices of an account, but for the one of the session `keep` (R11).
pub(super) async fn drop_all(
    tx: &mut Tx<'_>,
    account: &UserId,
    keep: Option<&SessionId>,
    (why, operation): (EndReason, &Event),
) -> Stored<()> {
    let dropped = on_db!(
        tx,
        all["DELETE FROM device WHERE device.account_id = $1
        AND device.id <> COALESCE((SELECT session.device_id FROM session WHERE session.id = $2), '') RETURNING id"](
            account.as_str(),
            keep.map_or("", SessionId::as_str)
        )
    )?;
    note_dropped(tx, dropped, why, operation).await
}

async fn note_dropped(tx: &mut Tx<'_>, dropped: Vec<(String,)>, why: EndReason, operation: &Event) -> Stored<()> {
    let event = operation.clone().doing(Action::DeviceDropped).because(why.as_str());
    let dropped: Vec<&str> = dropped.iter().map(|(id,)| id.as_str()).collect();
    event::write_each(tx, &Event { outcome: EventOutcome::Ok, ..event }, "device", &dropped).await
}

fn device_id(text: &str) -> Stored<DeviceId> {
    DeviceId::parse(text).map_err(StoreError::corrupt)
}
