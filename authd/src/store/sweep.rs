//! Erasing what has outlived its use: revocations, idempotency rows, resets, devices, counts of names that nobody has.
//! Seals have a walk of their own: [`crate::store::session_seals`].

use crate::store::{db::Tx, dialect::on_db, error::Stored};

/// Erases at most `batch` of each kind and returns how many went. Rows that somebody holds are left for the next time,
/// so this never waits.
///
/// The time is read once a statement, in a query of its own: PostgreSQL uses no index for what it computes for every
/// row.
pub(super) async fn sweep(tx: &mut Tx<'_>, batch: u32) -> Stored<u64> {
    let clock = tx.clock();
    let batch = i64::from(batch);
    let revocations = on_db!(tx, execute ["DELETE FROM revocation WHERE revocation.seq IN (
        SELECT revocation.seq FROM revocation WHERE revocation.forget_ms < (SELECT " NOW ") LIMIT $2" SKIP_LOCKED ")"](
        clock, batch,
    ))?;
    let tags = on_db!(tx, execute ["DELETE FROM idempotency WHERE (idempotency.scope, idempotency.tag) IN (
        SELECT idempotency.scope, idempotency.tag FROM idempotency WHERE idempotency.expires_ms < (SELECT " NOW ")
        LIMIT $2" SKIP_LOCKED ")"](clock, batch))?;
    let resets = on_db!(tx, execute ["DELETE FROM reset WHERE reset.account_id IN (
        SELECT reset.account_id FROM reset WHERE reset.expires_ms < (SELECT " NOW ") LIMIT $2" SKIP_LOCKED ")"](
        clock, batch,
    ))?;
    let devices = on_db!(tx, execute ["DELETE FROM device WHERE device.id IN (
        SELECT device.id FROM device WHERE device.expires_ms < (SELECT " NOW ") LIMIT $2" SKIP_LOCKED ")"](
        clock, batch,
    ))?;
    let counts = on_db!(tx, execute ["DELETE FROM throttle WHERE throttle.tenant_id = 'default' AND throttle.bucket IN (
        SELECT throttle.bucket FROM throttle WHERE throttle.forget_ms < (SELECT " NOW ") LIMIT $2" SKIP_LOCKED ")"](
        clock, batch,
    ))?;
    Ok(revocations + tags + resets + devices + counts)
}
