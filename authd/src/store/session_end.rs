//! The end of sessions. Every way a session can end calls [`end`] and nothing else does.

use crate::{
    domain::{
        audit::{Action, Event, EventOutcome},
        session::{EndReason, Revoked, SessionFilter},
        store_error::StoreError,
    },
    store::{
        db::{Conn, Tx},
        device,
        dialect::{self, Dialect, on_built, on_db, on_postgres},
        error::Stored,
        event,
        network::Seek,
        row::{json_list, session_ids},
        session_list::push_filter,
        session_slice,
    },
};
use shared::id::{SessionId, UserId};
use sqlx::{Encode, QueryBuilder, Type};
use std::ops::RangeInclusive;

/// Sessions that are ended with one statement.
const CHUNK: usize = 1_000;
/// How long ago a session may have ended elsewhere without this instance's having heard of it, in milliseconds: many
/// times what the poll of revocations needs.
pub(super) const LATELY_MS: i64 = 60_000;

/// Ends sessions whose rows this transaction has locked in the order of their ids: marks the rows, erases their seals
/// and feeds the revocations. Writes no event. Returns the ids of the known devices that they were opened with.
pub(super) async fn end(tx: &mut Tx<'_>, sessions: &[SessionId], why: EndReason) -> Stored<Vec<String>> {
    let clock = tx.clock();
    let keep_ms = tx.context.revocation_keep_ms;
    let mut devices: Vec<String> = Vec::new();
    for chunk in sessions.chunks(CHUNK) {
        let ids = json_list(chunk.iter().map(SessionId::as_str));
        let of: Vec<(Option<String>,)> = if matches!(tx.conn, Conn::Postgres(_)) {
            on_postgres!(tx, fetch_all ["WITH ended AS (UPDATE session SET revoked_ms = " NOW ", end_reason = $3,
                    sealed = NULL, sealed_keying = NULL
                WHERE session.revoked_ms IS NULL AND session.id IN " IDS "
                RETURNING session.id, session.revoked_ms, session.device_id),
                fed AS (INSERT INTO revocation (session_id, at_ms, forget_ms)
                    SELECT ended.id, ended.revoked_ms, ended.revoked_ms + $4 FROM ended ORDER BY ended.id)
                SELECT ended.device_id FROM ended WHERE ended.device_id IS NOT NULL"](
                clock, ids.as_str(), why.as_str(), keep_ms,
            ))?
        } else {
            let of = on_db!(tx, all ["UPDATE session SET revoked_ms = " NOW ", end_reason = $3, sealed = NULL,
                sealed_keying = NULL WHERE session.revoked_ms IS NULL AND session.id IN " IDS "
                RETURNING session.device_id"](clock, ids.as_str(), why.as_str()))?;
            // Nobody else writes, so these are the rows that have just been marked.
            on_db!(
                tx,
                execute["INSERT INTO revocation (session_id, at_ms, forget_ms)
                SELECT id.value, $1, $1 + $3 FROM json_each($2) AS id"](clock, ids.as_str(), keep_ms)
            )?;
            of
        };
        devices.extend(of.into_iter().filter_map(|(device,)| device));
    }
    Ok(devices)
}

/// Ends sessions and writes one event each, made from the operation's, whose words are kept where there are some.
/// Returns as [`end`] does.
pub(super) async fn end_with_events(
    tx: &mut Tx<'_>,
    sessions: &[SessionId],
    why: EndReason,
    operation: &Event,
) -> Stored<Vec<String>> {
    let devices = end(tx, sessions, why).await?;
    let reason = operation.reason.clone().unwrap_or_else(|| why.as_str().to_owned());
    let event = operation.clone().doing(Action::SessionRevoked).because(&reason).with("end_reason", why.as_str());
    let sessions: Vec<&str> = sessions.iter().map(SessionId::as_str).collect();
    event::write_each(tx, &Event { outcome: EventOutcome::Ok, ..event }, "session", &sessions).await?;
    Ok(devices)
}

/// Locks the live sessions of an account in the order of their ids.
pub(super) async fn lock_live_of(tx: &mut Tx<'_>, account: &UserId) -> Stored<Vec<SessionId>> {
    let clock = tx.clock();
    let rows = on_db!(tx, all ["SELECT session.id FROM session WHERE session.account_id = $2 AND " LIVE
        " ORDER BY session.id" LOCK](clock, account.as_str()))?;
    session_ids(rows)
}

/// Ends the live sessions that match if there are as many as expected, in the order of their ids and in this one
/// transaction. The statements are many and bounded; the set is that of the moment at which it was found.
pub(super) async fn revoke(
    tx: &mut Tx<'_>,
    filter: &SessionFilter,
    expected: &RangeInclusive<u64>,
    (why, operation): (EndReason, &Event),
) -> Stored<Revoked> {
    if let Some(account) = &filter.account {
        lock_account(tx, account).await?;
    }
    let found = session_slice::find_live(tx, filter).await?;
    let matched = u64::try_from(found.len()).unwrap_or(u64::MAX);
    if !expected.contains(&matched) {
        tx.undo();
        return Ok(Revoked { matched, ..Revoked::default() });
    }
    let one_statement = tx.context.statement_timeout;
    let mut ended: Vec<SessionId> = Vec::with_capacity(found.len());
    let mut devices: Vec<String> = Vec::new();
    for chunk in found.chunks(CHUNK) {
        let step = end_chunk(tx, chunk, why, operation);
        let Ok(done) = tokio::time::timeout(one_statement, step).await else {
            return Err(StoreError::unavailable("the database did not answer in time"));
        };
        let (live, of) = done?;
        ended.extend(live);
        devices.extend(of);
    }
    if why.drops_device() {
        // After the last session row is locked: device rows come later in everybody's order.
        device::drop_these(tx, devices, filter.except.as_ref(), (why, operation)).await?;
    }
    Ok(Revoked { matched, ..revoked(tx, filter, ended).await? })
}

/// What to answer about an end that is done. Sessions that ended elsewhere are looked for by id or account only: no
/// other filter has an index for them, and none is a promise about a session that its caller knows.
pub(super) async fn revoked(tx: &mut Tx<'_>, filter: &SessionFilter, ended: Vec<SessionId>) -> Stored<Revoked> {
    let over = if filter.id.is_some() || filter.account.is_some() {
        let clock = tx.clock();
        session_ids(on_built!(tx, fetch_all ended_lately(filter, clock))?)?
    } else {
        ended.clone()
    };
    Ok(Revoked { matched: u64::try_from(ended.len()).unwrap_or(u64::MAX), ended, over })
}

fn ended_lately<DB>(filter: &SessionFilter, clock: i64) -> QueryBuilder<DB>
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = dialect::with_clock::<DB>(clock);
    query.push("SELECT session.id FROM session WHERE session.revoked_ms > (SELECT now_ms FROM clock) - ");
    query.push_bind(LATELY_MS);
    push_filter(&mut query, &SessionFilter { state: None, ..filter.clone() }, Seek::Index);
    query
}

/// Ends those of some sessions that live still, locked in the order of their ids; these, and the devices they were
/// opened with.
async fn end_chunk(
    tx: &mut Tx<'_>,
    sessions: &[SessionId],
    why: EndReason,
    operation: &Event,
) -> Stored<(Vec<SessionId>, Vec<String>)> {
    let live = match tx.conn {
        // Nobody else has changed them since they were found.
        Conn::Sqlite(_) => sessions.to_vec(),
        Conn::Postgres(_) => {
            let clock = tx.clock();
            let ids = json_list(sessions.iter().map(SessionId::as_str));
            session_ids(on_db!(tx, all ["SELECT session.id FROM session WHERE session.id IN " IDS " AND " LIVE
                " ORDER BY session.id" LOCK](clock, ids.as_str()))?)?
        }
    };
    let devices = if live.is_empty() { Vec::new() } else { end_with_events(tx, &live, why, operation).await? };
    Ok((live, devices))
}

/// Locks an account's row, which comes before its sessions in every transaction that locks both (R11).
pub(super) async fn lock_account(tx: &mut Tx<'_>, account: &UserId) -> Stored<Option<i64>> {
    let row: Option<(i64,)> = on_db!(tx, optional ["SELECT account.epoch FROM account
        WHERE account.id = $1 AND account.deleted_ms IS NULL" LOCK](account.as_str()))?;
    Ok(row.map(|(epoch,)| epoch))
}
