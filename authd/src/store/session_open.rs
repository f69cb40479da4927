//! Opening a session: the account's row first, then room under the cap and in its past, then the row (R11).

use crate::{
    domain::{
        audit::Event,
        device::{LIFE_MS, MAX_PER_ACCOUNT, SessionDevice},
        past,
        session::{EndReason, NewSession, OnLimit, Opened},
        store_error::StoreError,
    },
    store::{
        db::Tx,
        device,
        dialect::{on_db, on_postgres},
        error::Stored,
        event,
        row::{json_list, session_ids},
        session_end, session_past,
    },
};
use shared::id::SessionId;

/// Opens a session and writes `events`, or undoes the transaction and says why not. The events of sessions that make
/// room are made from the last of `events`.
pub(super) async fn open(tx: &mut Tx<'_>, new: &NewSession, events: &[Event]) -> Stored<Opened> {
    let Some(now_ms) = lock_for_login(tx, new).await? else {
        tx.undo();
        return Ok(Opened::AccountChanged);
    };
    let Some(Room { evicted, over }) = make_room(tx, new, events.last()).await? else {
        tx.undo();
        return Ok(Opened::Full);
    };
    if let Some(over_by_ms) = new.over_by_ms {
        session_past::trim(tx, &new.account, over_by_ms, past::surplus(over)).await?;
    }
    event::write_all(tx, events).await?;
    device::admit(tx, new, now_ms, events.last()).await?;
    insert(tx, new, now_ms, evicted).await
}

/// Opens a session with one statement that commits by itself, for PostgreSQL; `None` when the account may not log in or
/// has no room for the session or its device, or more of a past than one counts, or the statement came too late (see
/// [`crate::store::session_routine`]): [`open`] then tells which. Logins in flight do not see each other and may
/// overshoot the cap; the next login trims.
pub(super) async fn at_once(tx: &mut Tx<'_>, new: &NewSession, events: &[Event], until: i64) -> Stored<Option<Opened>> {
    let (clock, Some(deadline_ms)) = (tx.clock(), tx.context.database_time_at(until)) else { return Ok(None) };
    let columns = event::Arrays::of(tx.context.notary()?, events)?;
    let times: Option<(i64, i64, i64)> = on_postgres!(tx, fetch_optional [CLOCK ", owner AS (
            UPDATE account SET last_login_ms = " NOW "
            WHERE account.id = $2 AND account.epoch = $3 AND account.disabled_ms IS NULL AND account.deleted_ms IS NULL
                AND " NOW " <= $27 AND (SELECT count(*) <= $33 AND count(*) FILTER (WHERE seen.is_live) < $4
                    FROM (SELECT " LIVE_THEN " AS is_live FROM session WHERE session.account_id = $2 LIMIT $33 + 1) AS seen)
                AND ($28::bytea IS NULL OR (SELECT count(*) FROM device WHERE device.account_id = $2) < $29)
            RETURNING account.id, account.last_login_ms AS now_ms),
        events AS (
            INSERT INTO event (id, at_ms, action, outcome, reason, actor_kind, actor_id, target_kind, target_id,
                network, device, request_id, detail, mac)
            SELECT noted.* FROM owner CROSS JOIN unnest($5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[],
                $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
                $32::bytea[]) AS noted),
        added AS (
            INSERT INTO device (id, account_id, token_hash, summary, created_ms, expires_ms)
            SELECT $30::text, owner.id, $28::bytea, $25, owner.now_ms, owner.now_ms + $31 FROM owner WHERE $28::bytea IS NOT NULL),
        used AS (
            UPDATE device SET failures = 0, last_used_ms = owner.now_ms, expires_ms = owner.now_ms + $31
            FROM owner WHERE device.id = $30 AND device.account_id = owner.id AND $28::bytea IS NULL)
        INSERT INTO session (id, account_id, handle, cur_hash, idle_expires_ms, expires_ms, epoch, transport, network,
            device, amr, created_ms, device_id)
        SELECT $18, owner.id, $19, $20, " LEAST "(owner.now_ms + $21, owner.now_ms + $22), owner.now_ms + $22, " EPOCH ",
            $23, $24, $25, $26, owner.now_ms, $30 FROM owner
        RETURNING session.created_ms, session.idle_expires_ms, session.expires_ms"](
        clock, new.account.as_str(), new.account_epoch, i64::from(new.cap.max.max(1)), columns.id, columns.at_ms,
        columns.action, columns.outcome, columns.reason, columns.actor_kind, columns.actor_id, columns.target_kind,
        columns.target_id, columns.network, columns.device, columns.request_id, columns.detail,
        new.id.as_str(), new.handle.0.as_slice(), new.token.0.as_slice(), new.idle_ms, new.absolute_ms,
        new.transport.as_str(), new.origin.network.as_ref().map(|network| network.as_str()),
        new.origin.device.as_ref().map(|device| device.as_str()), new.amr.join(" "), deadline_ms,
        new_token(new), i64::from(MAX_PER_ACCOUNT), new.device.as_ref().map(|device| device.id().as_str()), LIFE_MS, columns.mac,
        past::at_ease(new.cap),
    ))?;
    if let Some((created_ms, _, _)) = times {
        tx.context.note_database_time(created_ms);
    }
    Ok(times.map(|(created_ms, idle_expires_ms, expires_ms)| Opened::Opened {
        created_ms,
        idle_expires_ms,
        expires_ms,
        evicted: Vec::new(),
    }))
}

/// What is stored of the token of a device that is remembered from now on.
fn new_token(new: &NewSession) -> Option<&[u8]> {
    match &new.device {
        Some(SessionDevice::New(device)) => Some(device.token.0.as_slice()),
        Some(SessionDevice::Known(_)) | None => None,
    }
}

/// The first session of an account that this transaction has made: there is nothing to make room for, and the caller
/// writes the events.
pub(super) async fn open_first(tx: &mut Tx<'_>, new: &NewSession) -> Stored<Opened> {
    match lock_for_login(tx, new).await? {
        Some(now_ms) => {
            device::admit(tx, new, now_ms, None).await?;
            insert(tx, new, now_ms, Vec::new()).await
        }
        None => Ok(Opened::AccountChanged),
    }
}

/// Locks the account's row, sets the time of the last login and returns it; `None` when the account may not log in.
///
/// The row is updated at once rather than shared-locked first: two logins that share a lock and then both want to write
/// would wait for each other for ever.
async fn lock_for_login(tx: &mut Tx<'_>, new: &NewSession) -> Stored<Option<i64>> {
    let clock = tx.clock();
    let locked: Option<(i64,)> = on_db!(tx, optional ["UPDATE account SET last_login_ms = " NOW "
        WHERE account.id = $2 AND account.epoch = $3 AND account.disabled_ms IS NULL AND account.deleted_ms IS NULL
        RETURNING last_login_ms"](clock, new.account.as_str(), new.account_epoch))?;
    if let Some((now_ms,)) = locked {
        tx.context.note_database_time(now_ms);
    }
    Ok(locked.map(|(now_ms,)| now_ms))
}

async fn insert(tx: &mut Tx<'_>, new: &NewSession, created_ms: i64, evicted: Vec<SessionId>) -> Stored<Opened> {
    let expires_ms = created_ms.saturating_add(new.absolute_ms);
    let idle_expires_ms = created_ms.saturating_add(new.idle_ms).min(expires_ms);
    on_db!(tx, execute ["INSERT INTO session (id, account_id, handle, cur_hash, idle_expires_ms, expires_ms, epoch,
        transport, network, device, amr, created_ms, device_id)
        VALUES ($1, $2, $3, $4, $5, $6, " EPOCH ", $7, $8, $9, $10, $11, $12)"](
        new.id.as_str(), new.account.as_str(), new.handle.0.as_slice(), new.token.0.as_slice(),
        idle_expires_ms, expires_ms, new.transport.as_str(),
        new.origin.network.as_ref().map(|network| network.as_str()),
        new.origin.device.as_ref().map(|device| device.as_str()),
        new.amr.join(" "), created_ms, new.device.as_ref().map(|device| device.id().as_str()),
    ))?;
    Ok(Opened::Opened { created_ms, idle_expires_ms, expires_ms, evicted })
}

/// Room under the cap.
struct Room {
    /// Sessions that have ended for it.
    evicted: Vec<SessionId>,
    /// How many of the account are over, these among them.
    over: i64,
}

/// Ends as many of the account's live sessions as the cap wants gone; `None` when the cap refuses instead.
async fn make_room(tx: &mut Tx<'_>, new: &NewSession, event: Option<&Event>) -> Stored<Option<Room>> {
    let clock = tx.clock();
    let (rows, live): (i64, i64) = on_db!(tx, one [CLOCK " SELECT count(*), count(CASE WHEN " LIVE_THEN " THEN 1 END) FROM session
        WHERE session.account_id = $2"](clock, new.account.as_str()))?;
    let over = rows.saturating_sub(live);
    let excess = live.saturating_add(1).saturating_sub(i64::from(new.cap.max.max(1)));
    if excess <= 0 {
        return Ok(Some(Room { evicted: Vec::new(), over }));
    }
    if new.cap.on_limit == OnLimit::Refuse {
        return Ok(None);
    }
    let oldest: Vec<(String,)> = on_db!(tx, all ["SELECT session.id FROM session
        WHERE session.account_id = $2 AND " LIVE "
        ORDER BY (session.rotated_ms IS NOT NULL), COALESCE(session.rotated_ms, session.created_ms), session.id
        LIMIT $3"](clock, new.account.as_str(), excess))?;
    // Chosen by age, locked by id: the order in which everybody locks sessions.
    let ids = json_list(oldest.iter().map(|(id,)| id.as_str()));
    let locked = on_db!(tx, all ["SELECT session.id FROM session
        WHERE session.id IN " IDS " AND " LIVE " ORDER BY session.id" LOCK](clock, ids.as_str()))?;
    let evicted = session_ids(locked)?;
    let Some(event) = event else {
        return Err(StoreError::corrupt("a session cannot make room without an event"));
    };
    let operation = Event { reason: None, ..event.clone() };
    session_end::end_with_events(tx, &evicted, EndReason::Evicted, &operation).await?;
    let over = over.saturating_add(i64::try_from(evicted.len()).unwrap_or(i64::MAX));
    Ok(Some(Room { evicted, over }))
}
