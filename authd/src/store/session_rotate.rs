//! Refresh rotation in SQL (R1–R5): the routine case as one conditional statement, everything else decided by
//! [`rotation::decide`] under the row's lock.

use crate::{
    domain::{
        audit::{Action, Actor, Event},
        outage::Outages,
        quota::Quota,
        rotation::{self, Decision, Family, Keying, Presented, Remark, ReplayKind, Sealed, Shadow, Successor},
        session::{EndReason, Recording, ReplayScope, Rotate, Rotated},
        token::Handle,
    },
    store::{
        db::Tx,
        dialect::on_db,
        error::Stored,
        event,
        row::{SessionRow, keying_text, session_id, user_id},
        session_end,
    },
};
use shared::id::SessionId;

/// Numbers up to this cannot overflow in SQL when they are added to a time in microseconds; larger ones take the
/// way through [`rotation::decide`], whose arithmetic saturates.
const SAFE: i64 = 1 << 60;

/// Whose rows are locked before the session's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locked {
    /// Nobody's.
    SessionOnly,
    /// The account's, then all its live sessions', in the order of their ids.
    AccountFirst,
}

/// How one attempt ended.
pub(super) enum Attempt {
    /// Done, or nothing to do.
    Done(Option<Box<Rotated>>),
    /// The account must be ended, but is not locked; the transaction is undone.
    NeedsAccount,
}

/// Rotates, retries or ends a family.
pub(super) async fn rotate(tx: &mut Tx<'_>, call: &Rotate, locked: Locked) -> Stored<Attempt> {
    let successor = stored(call);
    if locked == Locked::SessionOnly
        && let Some(row) = routine(tx, call, &successor).await?
    {
        return finish_routine(tx, call, row).await.map(done);
    }
    if locked == Locked::AccountFirst && !lock_account_of(tx, call.handle).await? {
        return Ok(Attempt::Done(None));
    }
    let Some(row) = locked_row(tx, call.handle).await? else { return Ok(Attempt::Done(None)) };
    let family = row.family()?;
    let decision = decide(tx, call, &family, row.now_ms).await?;
    if matches!(decision, Decision::Replay(_))
        && call.on_replay == ReplayScope::Account
        && locked == Locked::SessionOnly
    {
        tx.undo();
        return Ok(Attempt::NeedsAccount);
    }
    carry_out(tx, call, row, &family, decision, successor).await.map(done)
}

fn done(rotated: Rotated) -> Attempt {
    Attempt::Done(Some(Box::new(rotated)))
}

/// The successor with its seal, if a lost reply may be asked for again.
fn stored(call: &Rotate) -> Successor {
    let sealed = call.successor.sealed.clone().filter(|sealed| call.policy.grace_of(sealed.keying) > 0);
    Successor { hash: call.successor.hash, sealed }
}

/// `refresh.session` as numbers: emission and tolerance in microseconds, and what an exceeded one does.
fn quota_numbers(quota: Option<Quota>, shadow: Shadow) -> (i64, i64, i64) {
    match (quota, shadow) {
        (None, _) => (0, 0, 0),
        (Some(quota), Shadow::Counted) => (quota.emission_us, quota.tolerance_us(), 1),
        (Some(quota), Shadow::Enforced) => (quota.emission_us, quota.tolerance_us(), 2),
    }
}

/// R1 for a call from where the last one came from: one statement, no row when any condition fails. `refresh.session`
/// is [`Quota::ask`] written out; the time is read once, after the row is locked.
async fn routine(tx: &mut Tx<'_>, call: &Rotate, successor: &Successor) -> Stored<Option<SessionRow>> {
    let (emission_us, tolerance_us, mode) = quota_numbers(call.policy.quota, call.policy.shadow);
    if [emission_us, tolerance_us, call.policy.idle_ms, call.policy.access_ttl_ms].iter().any(|number| *number > SAFE) {
        return Ok(None);
    }
    let (sealed, keying) = sealed_columns(successor.sealed.as_ref());
    let clock = tx.clock();
    on_db!(tx, optional ["UPDATE session SET generation = generation + 1, prev_hash = cur_hash, cur_hash = $4,
            rotated_ms = t.now_ms, access_expires_ms = " LEAST "(t.now_ms + $5, expires_ms),
            sealed = $6, sealed_keying = $7, retries = 0, idle_expires_ms = " LEAST "(t.now_ms + $8, expires_ms),
            rate_tat_us = CASE WHEN $9 > 0 AND " GREATEST "(" LEAST "(rate_tat_us, t.now_ms * 1000 + $11), t.now_ms * 1000)
                + $10 <= t.now_ms * 1000 + $11
                THEN " GREATEST "(" LEAST "(rate_tat_us, t.now_ms * 1000 + $11), t.now_ms * 1000) + $10
                ELSE rate_tat_us END
        FROM (SELECT held.id, " NOW " AS now_ms
            FROM (SELECT session.id FROM session WHERE session.handle = $2 AND session.cur_hash = $3" LOCK ") AS held) AS t
        WHERE session.id = t.id AND session.cur_hash = $3 AND session.revoked_ms IS NULL
            AND t.now_ms < session.idle_expires_ms AND t.now_ms < session.expires_ms AND session.epoch >= " EPOCH "
            AND session.transport = $12 AND session.network IS NOT DISTINCT FROM $13
            AND session.device IS NOT DISTINCT FROM $14
            AND ($9 < 2 OR " GREATEST "(" LEAST "(rate_tat_us, t.now_ms * 1000 + $11), t.now_ms * 1000) + $10
                <= t.now_ms * 1000 + $11)
        RETURNING " SESSION ", session.rotated_ms AS now_ms"](
        clock, call.handle.0.as_slice(), call.presented.0.as_slice(), successor.hash.0.as_slice(),
        call.policy.access_ttl_ms, sealed, keying, call.policy.idle_ms, mode, emission_us, tolerance_us,
        call.transport.as_str(), network(call), device(call),
    ))
}

fn sealed_columns(sealed: Option<&Sealed>) -> (Option<&[u8]>, Option<&'static str>) {
    sealed.map(|sealed| (sealed.bytes.as_slice(), keying_text(sealed.keying))).unzip()
}

fn network(call: &Rotate) -> Option<&str> {
    call.origin.network.as_ref().map(|network| network.as_str())
}

fn device(call: &Rotate) -> Option<&str> {
    call.origin.device.as_ref().map(|device| device.as_str())
}

async fn finish_routine(tx: &mut Tx<'_>, call: &Rotate, row: SessionRow) -> Stored<Rotated> {
    remember_key(tx, call, &row).await?;
    if call.recording == Recording::All {
        event::write(tx, &by_holder(call, &row).doing(Action::SessionRefreshed)).await?;
    }
    let decision = Decision::Rotate { rate_tat_us: row.rate_tat_us };
    answer(row, decision, Vec::new())
}

/// Remembers that this token was spent with this key (R2k).
async fn remember_key(tx: &mut Tx<'_>, call: &Rotate, row: &SessionRow) -> Stored<()> {
    let Some(tag) = call.keyed_tag.filter(|_| call.policy.grace_of(Keying::Keyed) > 0) else { return Ok(()) };
    let now_ms = row.now_ms;
    on_db!(
        tx,
        execute["INSERT INTO idempotency (scope, tag, account_id, created_ms, expires_ms)
        VALUES ('refresh', $1, $2, $3, $4)
        ON CONFLICT (tenant_id, scope, tag) DO UPDATE SET created_ms = excluded.created_ms,
            expires_ms = excluded.expires_ms"](
            tag.as_slice(),
            row.account_id.as_str(),
            now_ms,
            now_ms.saturating_add(call.policy.grace_of(Keying::Keyed)),
        )
    )?;
    Ok(())
}

/// The family's row, locked; the time is read after the lock.
async fn locked_row(tx: &mut Tx<'_>, handle: Handle) -> Stored<Option<SessionRow>> {
    let clock = tx.clock();
    on_db!(tx, optional ["SELECT session.*, " NOW " AS now_ms FROM (SELECT " SESSION " FROM session
        WHERE session.handle = $2" LOCK ") AS session"](clock, handle.0.as_slice()))
}

/// Locks the account of a family, then all its live sessions; `false` when there is no such family.
async fn lock_account_of(tx: &mut Tx<'_>, handle: Handle) -> Stored<bool> {
    let owner: Option<(String,)> = on_db!(
        tx,
        optional["SELECT session.account_id FROM session
        WHERE session.handle = $1"](handle.0.as_slice())
    )?;
    let Some((account,)) = owner else { return Ok(false) };
    let account = user_id(&account)?;
    session_end::lock_account(tx, &account).await?;
    session_end::lock_live_of(tx, &account).await?;
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
    row: SessionRow,
    family: &Family,
    decision: Decision,
    successor: Successor,
) -> Stored<Rotated> {
    let mut ended = Vec::new();
    match &decision {
        Decision::Rotate { rate_tat_us } => {
            let next = family.rotated(successor, call.origin.clone(), *rate_tat_us, &call.policy, row.now_ms);
            rotated(tx, call, &row, &next).await?;
        }
        Decision::Retry { strays, remark, .. } => {
            on_db!(
                tx,
                execute["UPDATE session SET retries = retries + 1, strays = $2, stray_generation = $3
                WHERE session.id = $1"](row.id.as_str(), strays.count, strays.generation)
            )?;
            event::write(tx, &retried(call, &row, *remark)).await?;
        }
        Decision::Replay(kind) => ended = replayed(tx, call, &row, *kind).await?,
        Decision::Conflict
        | Decision::Limited { .. }
        | Decision::Expired
        | Decision::Ended
        | Decision::WrongTransport => return answer(row, decision, ended),
    }
    let row = reread(tx, &row).await?;
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
    remember_key(tx, call, row).await?;
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

async fn reread(tx: &mut Tx<'_>, row: &SessionRow) -> Stored<SessionRow> {
    on_db!(tx, one ["SELECT " SESSION ", $2 AS now_ms FROM session WHERE session.id = $1"](row.id.as_str(), row.now_ms))
}

/// Whoever replays a token need not be the account's owner.
fn about(call: &Rotate, row: &SessionRow) -> Event {
    call.event.clone().about("session", &row.id).with("user", &row.account_id)
}

fn by_holder(call: &Rotate, row: &SessionRow) -> Event {
    call.event.clone().about("session", &row.id).by(Actor::User(row.account_id.clone()))
}

fn answer(row: SessionRow, decision: Decision, ended: Vec<SessionId>) -> Stored<Rotated> {
    let sealed = match decision {
        Decision::Retry { .. } => row.family()?.sealed,
        _ => None,
    };
    let access_expires_ms = match decision {
        Decision::Rotate { .. } => row.access_expires_ms.unwrap_or(row.now_ms),
        Decision::Retry { access_expires_ms, .. } => access_expires_ms,
        _ => row.now_ms,
    };
    Ok(Rotated { session: row.session()?, sealed, access_expires_ms, ended, decision })
}
