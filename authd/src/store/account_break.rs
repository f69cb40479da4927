//! Changes to an account that end its sessions (R11): the account's row first, then its sessions by id.

use crate::{
    domain::{
        account::{Break, Broken, PasswordHash},
        audit::Event,
        hash_cost::HashCost,
        session::{EndReason, Revoked, SessionFilter},
    },
    store::{
        account_create::set_password,
        db::Tx,
        device,
        dialect::on_db,
        error::Stored,
        event, hard,
        row::user_id,
        session_end::{end_with_events, lock_account, lock_live_of, revoked},
    },
};
use shared::id::{SessionId, UserId};

/// Carries the change out, or says why not and writes nothing.
pub(super) async fn break_sessions(tx: &mut Tx<'_>, id: &UserId, change: &Break, event: &Event) -> Stored<Broken> {
    if lock_account(tx, id).await?.is_none() {
        return Ok(Broken::Missing);
    }
    if let Some(session) = change.acting()
        && !lock_live_of(tx, id).await?.contains(session)
    {
        return Ok(Broken::SessionOver);
    }
    let (why, keep) = match change {
        Break::ChangePassword { expected, new, keep } => {
            if !replace_password(tx, id, expected, new).await? {
                return Ok(Broken::Changed);
            }
            (EndReason::PasswordChanged, Some(keep))
        }
        Break::Disable => {
            let clock = tx.clock();
            on_db!(tx, execute ["UPDATE account SET disabled_ms = COALESCE(disabled_ms, " NOW ")
                WHERE account.id = $2"](clock, id.as_str()))?;
            (EndReason::Disabled, None)
        }
        Break::LogoutAll => (EndReason::OperatorRevoked, None),
        Break::Delete => {
            erase(tx, id).await?;
            (EndReason::Deleted, None)
        }
        Break::DeleteOwn { expected, .. } => {
            if !has_password(tx, id, expected).await? {
                return Ok(Broken::Changed);
            }
            erase(tx, id).await?;
            (EndReason::Deleted, None)
        }
    };
    event::write(tx, event).await?;
    end_all(tx, id, keep, why, event).await.map(Broken::Done)
}

/// Moves the epoch, drops open resets, ends the live sessions but `keep`, drops the devices but the one of `keep`.
async fn end_all(
    tx: &mut Tx<'_>,
    id: &UserId,
    keep: Option<&SessionId>,
    why: EndReason,
    operation: &Event,
) -> Stored<Revoked> {
    on_db!(tx, execute["UPDATE account SET epoch = epoch + 1 WHERE account.id = $1"](id.as_str()))?;
    on_db!(tx, execute["DELETE FROM reset WHERE reset.account_id = $1"](id.as_str()))?;
    let mut sessions = lock_live_of(tx, id).await?;
    sessions.retain(|session| Some(session) != keep);
    let operation = Event { reason: None, ..operation.clone() };
    end_with_events(tx, &sessions, why, &operation).await?;
    device::drop_all(tx, id, keep, (why, &operation)).await?;
    revoked(tx, &SessionFilter { account: Some(id.clone()), ..SessionFilter::default() }, sessions).await
}

/// Sets the password if it is still the expected one.
pub(super) async fn replace_password(
    tx: &mut Tx<'_>,
    id: &UserId,
    expected: &PasswordHash,
    new: &PasswordHash,
) -> Stored<bool> {
    let changed = on_db!(
        tx,
        execute["UPDATE credential SET data = $3, cost = $4 WHERE credential.account_id = $1
        AND credential.kind = 'password' AND credential.data = $2"](
            id.as_str(),
            expected.0.as_str(),
            new.0.as_str(),
            HashCost::of(new).as_str(),
        )
    )?;
    Ok(changed == 1)
}

/// Whether the password is still the expected one; the account is locked, so it stays so.
async fn has_password(tx: &mut Tx<'_>, id: &UserId, expected: &PasswordHash) -> Stored<bool> {
    let found: Option<(String,)> = on_db!(
        tx,
        optional["SELECT credential.id FROM credential WHERE credential.account_id = $1
        AND credential.kind = 'password' AND credential.data = $2"](id.as_str(), expected.0.as_str())
    )?;
    Ok(found.is_some())
}

/// Leaves nothing of a deleted account but its id, so that the log stays readable and the id is not used again.
async fn erase(tx: &mut Tx<'_>, id: &UserId) -> Stored<()> {
    let clock = tx.clock();
    on_db!(tx, execute ["UPDATE account SET deleted_ms = " NOW ", disabled_ms = COALESCE(disabled_ms, " NOW ")
        WHERE account.id = $2"](clock, id.as_str()))?;
    on_db!(tx, execute["DELETE FROM identifier WHERE identifier.account_id = $1"](id.as_str()))?;
    on_db!(tx, execute["DELETE FROM credential WHERE credential.account_id = $1"](id.as_str()))?;
    on_db!(tx, execute["DELETE FROM idempotency WHERE idempotency.account_id = $1"](id.as_str()))?;
    hard::forget(tx, id).await
}

/// Whose reset this is, if it is good now.
pub(super) async fn reset_owner(tx: &mut Tx<'_>, token: &[u8; 32]) -> Stored<Option<UserId>> {
    let clock = tx.clock();
    let row: Option<(String,)> = on_db!(tx, optional ["SELECT reset.account_id FROM reset
        WHERE reset.token_hash = $2 AND reset.expires_ms > " NOW](clock, token.as_slice()))?;
    row.map(|(id,)| user_id(&id)).transpose()
}

/// Consumes a reset: sets the password and ends everything the account had.
pub(super) async fn redeem_reset(
    tx: &mut Tx<'_>,
    token: &[u8; 32],
    new: &PasswordHash,
    event: &Event,
) -> Stored<Option<(UserId, Revoked)>> {
    let Some(id) = reset_owner(tx, token).await? else { return Ok(None) };
    if lock_account(tx, &id).await?.is_none() {
        return Ok(None);
    }
    // Looked up again under the lock: of two calls with one token, one finds it gone.
    let clock = tx.clock();
    let spent: Option<(i64,)> = on_db!(tx, optional ["DELETE FROM reset WHERE reset.token_hash = $2
        AND reset.expires_ms > " NOW " RETURNING " NOW](clock, token.as_slice()))?;
    let Some((now_ms,)) = spent else { return Ok(None) };
    set_password(tx, id.as_str(), new, now_ms).await?;
    let event = event.clone().about("user", id.as_str());
    event::write(tx, &event).await?;
    hard::open(tx, &id).await?;
    let revoked = end_all(tx, &id, None, EndReason::PasswordReset, &event).await?;
    Ok(Some((id, revoked)))
}
