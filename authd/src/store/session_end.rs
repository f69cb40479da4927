//! The end of sessions. Every way a session can end calls [`end`] and nothing else does.

use crate::{
    domain::{
        audit::Event,
        session::{EndReason, Revoked, SessionFilter},
        store_error::StoreError,
    },
    store::{
        db::Tx,
        device,
        dialect::{self, Dialect, on_built, on_db},
        error::Stored,
        event,
        row::{json_list, session_ids},
        session_list::push_filter,
    },
};
use shared::id::{SessionId, UserId};
use sqlx::{Encode, QueryBuilder, Type};

/// Sessions that are ended with one statement.
const CHUNK: i64 = 500;
/// How long ago a session may have ended elsewhere without this instance's having heard of it, in milliseconds: many
/// times what the poll of revocations needs.
const LATELY_MS: i64 = 60_000;

/// Ends sessions whose rows this transaction has locked in the order of their ids: marks the rows, erases their seals
/// and feeds the revocations. Writes no event.
pub(super) async fn end(tx: &mut Tx<'_>, sessions: &[SessionId], why: EndReason) -> Stored<()> {
    let clock = tx.clock();
    let keep_ms = tx.context.revocation_keep_ms;
    for chunk in sessions.chunks(usize::try_from(CHUNK).unwrap_or(1)) {
        let ids = json_list(chunk.iter().map(SessionId::as_str));
        on_db!(tx, execute ["UPDATE session SET revoked_ms = " NOW ", end_reason = $3, sealed = NULL,
            sealed_keying = NULL WHERE session.revoked_ms IS NULL AND session.id IN " IDS](
            clock, ids.as_str(), why.as_str(),
        ))?;
        on_db!(tx, execute ["INSERT INTO revocation (session_id, at_ms, forget_ms)
            SELECT session.id, session.revoked_ms, session.revoked_ms + $1 FROM session WHERE session.id IN " IDS](
            keep_ms, ids.as_str(),
        ))?;
    }
    Ok(())
}

/// Ends sessions and writes one event each, made from the operation's.
pub(super) async fn end_with_events(
    tx: &mut Tx<'_>,
    sessions: &[SessionId],
    why: EndReason,
    operation: &Event,
) -> Stored<()> {
    end(tx, sessions, why).await?;
    let events = event::of_ended(tx, sessions, why, operation);
    event::write_all(tx, &events).await
}

/// Locks the live sessions of an account in the order of their ids.
pub(super) async fn lock_live_of(tx: &mut Tx<'_>, account: &UserId) -> Stored<Vec<SessionId>> {
    let clock = tx.clock();
    let rows = on_db!(tx, all ["SELECT session.id FROM session WHERE session.account_id = $2 AND " LIVE
        " ORDER BY session.id" LOCK](clock, account.as_str()))?;
    session_ids(rows)
}

/// Ends every live session that matches, a chunk at a time in the order of ids, in this one transaction.
pub(super) async fn revoke(
    tx: &mut Tx<'_>,
    filter: &SessionFilter,
    why: EndReason,
    operation: &Event,
) -> Stored<Revoked> {
    if let Some(account) = &filter.account {
        lock_account(tx, account).await?;
    }
    let mut ended: Vec<SessionId> = Vec::new();
    let one_statement = tx.context.statement_timeout;
    loop {
        let step = chunk(tx, filter, ended.last(), why, operation);
        let Ok(done) = tokio::time::timeout(one_statement, step).await else {
            return Err(StoreError::unavailable("the database did not answer in time"));
        };
        let chunk = done?;
        let last = i64::try_from(chunk.len()).unwrap_or(i64::MAX) < CHUNK;
        ended.extend(chunk);
        if last {
            break;
        }
    }
    if why.drops_device() {
        // After the last session row is locked: device rows come later in everybody's order.
        device::drop_of(tx, &ended, filter.except.as_ref(), (why, operation)).await?;
    }
    revoked(tx, filter, ended).await
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
    push_filter(&mut query, &SessionFilter { state: None, ..filter.clone() });
    query
}

async fn chunk(
    tx: &mut Tx<'_>,
    filter: &SessionFilter,
    after: Option<&SessionId>,
    why: EndReason,
    operation: &Event,
) -> Stored<Vec<SessionId>> {
    let clock = tx.clock();
    let rows: Vec<(String,)> = on_built!(tx, fetch_all live_after(filter, after, clock))?;
    let sessions = session_ids(rows)?;
    if !sessions.is_empty() {
        end_with_events(tx, &sessions, why, operation).await?;
    }
    Ok(sessions)
}

fn live_after<DB>(filter: &SessionFilter, after: Option<&SessionId>, clock: i64) -> QueryBuilder<DB>
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = dialect::with_clock::<DB>(clock);
    query.push("SELECT session.id FROM session WHERE ").push(dialect::LIVE);
    push_filter(&mut query, filter);
    if let Some(after) = after {
        query.push(" AND session.id > ").push_bind(after.as_str().to_owned());
    }
    query.push(" ORDER BY session.id LIMIT ").push_bind(CHUNK).push(DB::LOCK);
    query
}

/// Locks an account's row, which comes before its sessions in every transaction that locks both (R11).
pub(super) async fn lock_account(tx: &mut Tx<'_>, account: &UserId) -> Stored<Option<i64>> {
    let row: Option<(i64,)> = on_db!(tx, optional ["SELECT account.epoch FROM account
        WHERE account.id = $1 AND account.deleted_ms IS NULL" LOCK](account.as_str()))?;
    Ok(row.map(|(epoch,)| epoch))
}
