//! Erasing sessions that are over: of all accounts those of long ago, of one account all but the newest.
//!
//! Nothing is told of it: the audit log has their ends, what must still be refused stands in `revocation`, and a token of
//! a session that is gone is one of no known session (R4).

use crate::store::{db::Tx, dialect::on_db, error::Stored, session_end};
use shared::id::UserId;

/// Erases at most `batch` sessions that expired for good before this time; how many. None of them lives, whatever else
/// its row says. Rows that somebody holds are left for the next time.
pub(super) async fn forget(tx: &mut Tx<'_>, before_ms: i64, batch: u32) -> Stored<u64> {
    on_db!(tx, execute ["DELETE FROM session WHERE session.id IN (
        SELECT session.id FROM session WHERE session.expires_ms + 0 < $1
        ORDER BY session.expires_ms + 0 LIMIT $2" SKIP_LOCKED ")"](before_ms, i64::from(batch)))
}

/// Erases the oldest `surplus` sessions of an account that were over at this time, or are over now if that is earlier;
/// of them what ended a moment ago stays, because another instance may still have to hear of it from its row
/// ([`session_end::revoked`]). Waits for nobody, so that the order of locks does not matter. Whether a session lives is
/// asked again where its row is locked: a refresh may have been committed since the statement began.
pub(super) async fn trim(tx: &mut Tx<'_>, account: &UserId, over_by_ms: i64, surplus: i64) -> Stored<()> {
    if surplus <= 0 {
        return Ok(());
    }
    let clock = tx.clock();
    on_db!(tx, execute ["WITH clock AS (SELECT " LEAST "(" NOW ", $5) AS now_ms) DELETE FROM session WHERE session.id IN (
        SELECT session.id FROM session WHERE session.id IN (
            SELECT session.id FROM session WHERE session.account_id = $2 AND NOT " LIVE_THEN "
            ORDER BY session.created_ms, session.id LIMIT $3)
        AND NOT " LIVE_THEN "
        AND (session.revoked_ms IS NULL OR session.revoked_ms < (SELECT now_ms FROM clock) - $4)" SKIP_LOCKED ")"](
        clock, account.as_str(), surplus, session_end::LATELY_MS, over_by_ms,
    ))?;
    Ok(())
}
