//! The feed of ended sessions: may repeat, never skips.

use crate::{
    domain::session::Revocation,
    store::{
        db::{Conn, Tx},
        dialect::on_db,
        error::Stored,
        row::session_id,
    },
};

type Entry = (i64, Option<String>, Option<i64>);

/// What ended since `cursor`, and where to go on.
///
/// SQLite commits in the order of `seq`. On PostgreSQL a row's `seq` is taken before its transaction commits, so the
/// cursor is the oldest transaction that was still open when this statement looked: everything older has been seen,
/// everything else is read again. A cursor ahead of the database means that an older copy was restored under it.
pub(super) async fn since(tx: &mut Tx<'_>, cursor: i64) -> Stored<(Vec<Revocation>, i64)> {
    let rows: Vec<Entry> = match tx.conn {
        Conn::Sqlite(_) => on_db!(
            tx,
            all["SELECT head.next, revocation.session_id, revocation.forget_ms
                FROM (SELECT COALESCE(max(revocation.seq), 0) AS next FROM revocation) AS head
                LEFT JOIN revocation ON revocation.seq > CASE WHEN head.next < $1 AND head.next > 0 THEN 0 ELSE $1 END
                ORDER BY revocation.seq"](cursor)
        )?,
        Conn::Postgres(_) => on_db!(
            tx,
            all["SELECT head.next, revocation.session_id, revocation.forget_ms
                FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS next) AS head
                LEFT JOIN revocation ON revocation.txid >= CASE WHEN head.next < $1 THEN 0 ELSE $1 END
                ORDER BY revocation.seq"](cursor)
        )?,
    };
    let next = rows.first().map_or(cursor, |(next, ..)| *next);
    let revocations = rows
        .into_iter()
        .filter_map(|(_, session, forget_ms)| session.zip(forget_ms))
        .map(|(session, forget_ms)| Ok(Revocation { session: session_id(&session)?, forget_ms }))
        .collect::<Stored<_>>()?;
    Ok((revocations, next))
}
