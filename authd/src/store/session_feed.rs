//! The feed of ended sessions: may repeat, never skips.

use crate::{
    domain::revocation::{FeedCursor, FeedRound, Revocation},
    store::{
        db::{Conn, Tx},
        dialect::on_db,
        error::Stored,
        row::session_id,
    },
};

/// Ends in one page, so that a million of them fit into the bounds of reads.
const PAGE: i64 = 10_000;

type Entry = (i64, i64, String, i64);

/// What ended since `cursor`, and where to go on.
///
/// SQLite commits in the order of `seq`. On PostgreSQL a row's `seq` is taken before its transaction commits, so a
/// round ends at the oldest transaction that was still open when its first page was read: everything older was there for
/// all of its pages, everything else is read again. A cursor ahead of the database means that an older copy was restored
/// under it.
pub(super) async fn since(tx: &mut Tx<'_>, cursor: FeedCursor) -> Stored<(Vec<Revocation>, FeedCursor)> {
    let round = match cursor.round {
        Some(round) => round,
        None => begin(tx, cursor.read).await?,
    };
    let (group, place) = round.after;
    // A group is a transaction on PostgreSQL; SQLite has one group and no index for it.
    let rows: Vec<Entry> = match tx.conn {
        Conn::Sqlite(_) => on_db!(
            tx,
            all["SELECT revocation.txid, revocation.seq, revocation.session_id, revocation.forget_ms FROM revocation
                WHERE revocation.seq > $1 ORDER BY revocation.seq LIMIT $2"](place, PAGE)
        )?,
        Conn::Postgres(_) => on_db!(
            tx,
            all["SELECT revocation.txid, revocation.seq, revocation.session_id, revocation.forget_ms FROM revocation
                WHERE (revocation.txid, revocation.seq) > ($1, $2) ORDER BY revocation.txid, revocation.seq LIMIT $3"](
                group, place, PAGE
            )
        )?,
    };
    let is_full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= PAGE;
    let next = match rows.last() {
        Some((txid, seq, ..)) if is_full => {
            FeedCursor { read: cursor.read, round: Some(FeedRound { until: round.until, after: (*txid, *seq) }) }
        }
        // What SQLite committed since the first page is in the last one.
        Some((_, seq, ..)) if matches!(tx.conn, Conn::Sqlite(_)) => FeedCursor::up_to(*seq),
        _ => FeedCursor::up_to(round.until),
    };
    let read = |(_, _, session, forget_ms): Entry| Ok(Revocation { session: session_id(&session)?, forget_ms });
    Ok((rows.into_iter().map(read).collect::<Stored<_>>()?, next))
}

async fn begin(tx: &mut Tx<'_>, read: i64) -> Stored<FeedRound> {
    let (until,): (i64,) = match tx.conn {
        Conn::Sqlite(_) => on_db!(tx, one["SELECT COALESCE(max(revocation.seq), 0) FROM revocation"]())?,
        Conn::Postgres(_) => on_db!(tx, one["SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"]())?,
    };
    let after = match tx.conn {
        Conn::Sqlite(_) if until < read => (0, 0),
        Conn::Sqlite(_) => (0, read),
        Conn::Postgres(_) if until < read => (-1, i64::MAX),
        Conn::Postgres(_) => (read.saturating_sub(1), i64::MAX),
    };
    Ok(FeedRound { until, after })
}
