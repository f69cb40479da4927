//! A refresh in the store (R1–R5): routine, or else decided by [`rotation::decide`] under the row's lock.

use crate::{
    domain::{
        audit::{Action, Actor, Event},
        outage::Outages,
        rotation::{self, Decision, Family, Presented, Remark, ReplayKind, Sealed},
        session::{EndReason, Recording, ReplayScope, Rotate, Rotated},
        store_error::StoreError,
        token::Handle,
    },
    store::{
        db::{Budget, Db, Tx},
        dialect::{on_db, on_one, on_tx},
        error::Stored,
        event,
        row::{FamilyRow, SessionRow, session_id, user_id},
        session_end,
        session_routine::{self, Asked, device, network, remember_key, sealed_columns, stored_successor},
    },
};
use shared::id::SessionId;
use std::sync::Arc;

/// The routine case of all these calls as one change (see [`crate::store::session_routine`]): their answers in order.
/// A row that does not read back fails its own call alone: outside of the change.
pub(super) async fn routine(db: &Db, budget: Budget, calls: Vec<Asked>) -> Stored<Vec<Stored<Option<Rotated>>>> {
    let rows = on_one!(db, budget, |tx| session_routine::rotate(tx, &calls).await)?;
    Ok(rows.into_iter().map(|row| row.map(answer_routine).transpose()).collect())
}

/// One call by itself, first as routine.
pub(super) async fn alone(db: Db, call: Arc<Rotate>) -> Stored<Option<Rotated>> {
    let until = db.context.until(Budget::Statement);
    let asked = Asked { call, until };
    let answer = routine(&db, Budget::Until(until), vec![asked.clone()]).await?.pop().transpose()?.flatten();
    if answer.is_some() { Ok(answer) } else { under_lock(&db, asked).await }
}

/// Every case: under the lock of the session, and of the account where that is to end; not after the caller's time.
pub(super) async fn under_lock(db: &Db, asked: Asked) -> Stored<Option<Rotated>> {
    if let Attempt::Done(rotated) = attempt(db, asked.clone(), Locked::SessionOnly).await? {
        return Ok(rotated.map(|rotated| *rotated));
    }
    match attempt(db, asked, Locked::AccountFirst).await? {
        Attempt::Done(rotated) => Ok(rotated.map(|rotated| *rotated)),
        Attempt::NeedsAccount => Err(StoreError::unavailable("the account could not be locked")),
    }
}

async fn attempt(db: &Db, asked: Asked, locked: Locked) -> Stored<Attempt> {
    on_tx!(db, within Budget::Until(asked.until), |tx| rotate(tx, &asked.call, locked).await)
}

/// Whose rows are locked before the session's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locked {
    /// Nobody's.
    SessionOnly,
    /// The account's, then all its live sessions', in the order of their ids.
    AccountFirst,
}

/// How one attempt ended.
enum Attempt {
    /// Done, or nothing to do.
    Done(Option<Box<Rotated>>),
    /// The account must be ended, but is not locked; the transaction is undone.
    NeedsAccount,
}

/// Rotates, retries or ends a family.
async fn rotate(tx: &mut Tx<'_>, call: &Rotate, locked: Locked) -> Stored<Attempt> {
    if locked == Locked::AccountFirst && !lock_account_of(tx, call.handle).await? {
        return Ok(Attempt::Done(None));
    }
    let Some(row) = locked_row(tx, call.handle).await? else { return Ok(Attempt::Done(None)) };
    tx.context.note_database_time(row.session.now_ms);
    let family = row.session.family()?;
    let decision = decide(tx, call, &family, row.session.now_ms).await?;
    if matches!(decision, Decision::Replay(_))
        && call.on_replay == ReplayScope::Account
        && locked == Locked::SessionOnly
    {
        tx.undo();
        return Ok(Attempt::NeedsAccount);
    }
    carry_out(tx, call, row, &family, decision).await.map(done)
}

fn done(rotated: Rotated) -> Attempt {
    Attempt::Done(Some(Box::new(rotated)))
}

/// The family's row, locked; the time is read after the lock.
async fn locked_row(tx: &mut Tx<'_>, handle: Handle) -> Stored<Option<FamilyRow>> {
    let clock = tx.clock();
    on_db!(tx, optional ["SELECT session.*, " NOW " AS now_ms FROM (SELECT " SESSION ", " OWNER " FROM session
        WHERE session.handle = $2" LOCK ") AS session"](clock, handle.0.as_slice()))
}

/// Locks the account of a family, then the family and all live sessions of the account; `false` when there is no such
/// family.
async fn lock_account_of(tx: &mut Tx<'_>, handle: Handle) -> Stored<bool> {
    let owner: Option<(String, String)> = on_db!(
        tx,
        optional["SELECT session.id, session.account_id FROM session
        WHERE session.handle = $1"](handle.0.as_slice())
    )?;
    let Some((session, account)) = owner else { return Ok(false) };
    session_end::lock_account(tx, &user_id(&account)?).await?;
    let clock = tx.clock();
    // The family itself in its place of the order, although it may have ended meanwhile: it is locked again below.
    let _: Vec<(String,)> = on_db!(tx, all ["SELECT session.id FROM session
        WHERE session.id = $3 OR (session.account_id = $2 AND " LIVE ") ORDER BY session.id" LOCK](
        clock, account.as_str(), session.as_str(),
    ))?;
    Ok(true)
}

async fn decide(tx: &mut Tx<'_>, call: &Rotate, family: &Family, now_ms: i64) -> Stored<Decision> {
    let spent_with_this_key = match call.keyed_tag {
        Some(tag) if call.presented != family.current => was_spent(tx, &tag, now_ms).await?,
        _ => false,
    };
    let opens = |sealed: &Sealed| call.unseal.opens(sealed);
    let presented = Presented {
        hash: call.presented,
        keying: call.keying,
        transport: call.transport,
        origin: &call.origin,
        opens: &opens,
        spent_with_this_key,
    };
    let outages: &Outages = &call.outages;
    Ok(rotation::decide(family, &presented, &call.policy, outages, now_ms))
}

async fn was_spent(tx: &mut Tx<'_>, tag: &[u8; 32], now_ms: i64) -> Stored<bool> {
    let row: Option<(i64,)> = on_db!(
        tx,
        optional["SELECT idempotency.created_ms FROM idempotency
        WHERE idempotency.tenant_id = 'default' AND idempotency.scope = 'refresh' AND idempotency.tag = $1
        AND idempotency.expires_ms > $2"](tag.as_slice(), now_ms)
    )?;
    Ok(row.is_some())
}

async fn carry_out(
    tx: &mut Tx<'_>,
    call: &Rotate,
    found: FamilyRow,
    family: &Family,
    decision: Decision,
) -> Stored<Rotated> {
    let row = &found.session;
    let mut ended = Vec::new();
    match &decision {
        Decision::Rotate { rate_tat_us } => {
            let successor = stored_successor(call);
            let next = family.rotated(successor, call.origin.clone(), *rate_tat_us, &call.policy, row.now_ms);
            rotated(tx, call, row, &next).await?;
        }
        Decision::Retry { strays, remark, .. } => {
            on_db!(
                tx,
                execute["UPDATE session SET retries = retries + 1, strays = $2, stray_generation = $3
                WHERE session.id = $1"](row.id.as_str(), strays.count, strays.generation)
            )?;
            event::write(tx, &retried(call, row, *remark)).await?;
        }
        Decision::Replay(kind) => ended = replayed(tx, call, row, *kind).await?,
        Decision::Conflict
        | Decision::Limited { .. }
        | Decision::Expired
        | Decision::Ended
        | Decision::WrongTransport => return answer(found, decision, ended),
    }
    let row = reread(tx, row).await?;
    answer(row, decision, ended)
}

/// Writes the row after a rotation, the key it was spent with, and the event where one is due.
async fn rotated(tx: &mut Tx<'_>, call: &Rotate, row: &SessionRow, next: &Family) -> Stored<()> {
    let (sealed, keying) = sealed_columns(next.sealed.as_ref());
    on_db!(
        tx,
        execute["UPDATE session SET generation = $2, prev_hash = cur_hash, cur_hash = $3, rotated_ms = $4,
        access_expires_ms = $5, sealed = $6, sealed_keying = $7, retries = 0, idle_expires_ms = $8, rate_tat_us = $9,
        network = $10, device = $11 WHERE session.id = $1"](
            row.id.as_str(),
            next.generation,
            next.current.0.as_slice(),
            next.rotated_ms,
            next.access_expires_ms,
            sealed,
            keying,
            next.idle_expires_ms,
            next.rate_tat_us,
            network(call),
            device(call),
        )
    )?;
    remember_key(tx, call, &row.account_id, row.now_ms).await?;
    let before = row.origin();
    if call.recording == Recording::Changes && before == call.origin {
        return Ok(());
    }
    let mut event = by_holder(call, row).doing(Action::SessionRefreshed);
    if before.network != call.origin.network {
        event = event.with("network_before", before.network.as_ref().map_or("", |network| network.as_str()));
    }
    if before.device != call.origin.device {
        event = event.with("device_before", before.device.as_ref().map_or("", |device| device.as_str()));
    }
    event::write(tx, &event).await
}

fn retried(call: &Rotate, row: &SessionRow, remark: Option<Remark>) -> Event {
    let event = by_holder(call, row).doing(Action::SessionRetried).with("generation", row.generation);
    match remark {
        None => event,
        Some(Remark::Elsewhere) => event.with("remark", "elsewhere"),
        Some(Remark::ClockWentBack) => event.with("remark", "clock_went_back"),
    }
}

/// Ends the session, or all of the account's: R3. The account is locked when it is the account that ends.
async fn replayed(tx: &mut Tx<'_>, call: &Rotate, row: &SessionRow, kind: ReplayKind) -> Stored<Vec<SessionId>> {
    let session = session_id(&row.id)?;
    session_end::end(tx, std::slice::from_ref(&session), EndReason::Replay).await?;
    let event =
        about(call, row).doing(Action::SessionReplayed).denied(kind.as_str()).with("generation", row.generation);
    event::write(tx, &event).await?;
    let mut ended = vec![session];
    if call.on_replay == ReplayScope::Account {
        let others = session_end::lock_live_of(tx, &user_id(&row.account_id)?).await?;
        let operation = Event { reason: None, ..call.event.clone() };
        session_end::end_with_events(tx, &others, EndReason::Replay, &operation).await?;
        ended.extend(others);
    }
    Ok(ended)
}

async fn reread(tx: &mut Tx<'_>, row: &SessionRow) -> Stored<FamilyRow> {
    on_db!(tx, one ["SELECT " SESSION ", " OWNER ", $2 AS now_ms FROM session WHERE session.id = $1"](row.id.as_str(), row.now_ms))
}

/// Whoever replays a token need not be the account's owner.
fn about(call: &Rotate, row: &SessionRow) -> Event {
    call.event.clone().about("session", &row.id).with("user", &row.account_id)
}

fn by_holder(call: &Rotate, row: &SessionRow) -> Event {
    call.event.clone().about("session", &row.id).by(Actor::User(row.account_id.clone()))
}

/// The answer to a routine rotation.
fn answer_routine(found: FamilyRow) -> Stored<Rotated> {
    let decision = Decision::Rotate { rate_tat_us: found.session.rate_tat_us };
    answer(found, decision, Vec::new())
}

fn answer(found: FamilyRow, decision: Decision, ended: Vec<SessionId>) -> Stored<Rotated> {
    let row = &found.session;
    let sealed = match decision {
        Decision::Retry { .. } => row.family()?.sealed,
        _ => None,
    };
    let access_expires_ms = match decision {
        Decision::Rotate { .. } => row.access_expires_ms.unwrap_or(row.now_ms),
        Decision::Retry { access_expires_ms, .. } => access_expires_ms,
        _ => row.now_ms,
    };
    let session = row.session()?;
    Ok(Rotated { session, account: found.account()?, sealed, access_expires_ms, ended, decision })
}
