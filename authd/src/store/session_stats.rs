//! An overview of all sessions: a look at every row for their kinds and networks, an index for their accounts.

use crate::{
    domain::{
        session::{Network, SessionState},
        session_stats::{AGES_MS, SessionStats, SessionTally},
        store_error::StoreError,
    },
    store::{
        db::{Db, Tx},
        dialect::{on_db, on_read},
        error::Stored,
        row::{count, transport, user_id},
    },
};

/// Accounts among which those with the most live sessions are sought, for each that is shown.
const CANDIDATES: i64 = 5;

/// Reads it in three calls, each bounded like every other.
pub(super) async fn read(db: &Db, top: u32) -> Stored<SessionStats> {
    let top = i64::from(top);
    let (at_ms, tallies) = on_read!(db, |tx| tallies(tx).await)?;
    let accounts = on_read!(db, |tx| accounts(tx, top).await)?;
    let networks = on_read!(db, |tx| networks(tx, top).await)?;
    Ok(SessionStats { at_ms, tallies, accounts, networks })
}

type Kind = (i64, String, i64, i64);

async fn tallies(tx: &mut Tx<'_>) -> Stored<(i64, Vec<SessionTally>)> {
    let clock = tx.clock();
    let [hour, day, week, month] = AGES_MS;
    let (now_ms,): (i64,) = on_db!(tx, one ["SELECT " NOW](clock))?;
    // One time for all rows; the state is 0 for ended, 1 for expired, 2 for live, the age an index into the bounds.
    let rows: Vec<Kind> = on_db!(tx, all ["SELECT CAST(kind.state AS BIGINT), kind.transport,
            CAST(kind.age AS BIGINT), count(*) FROM (
            SELECT CASE WHEN session.revoked_ms IS NOT NULL OR session.epoch < " EPOCH " THEN 0
                WHEN session.idle_expires_ms <= $1 OR session.expires_ms <= $1 THEN 1 ELSE 2 END AS state,
            session.transport,
            CASE WHEN session.created_ms > $2 THEN 0 WHEN session.created_ms > $3 THEN 1
                WHEN session.created_ms > $4 THEN 2 WHEN session.created_ms > $5 THEN 3 ELSE 4 END AS age
            FROM session) AS kind GROUP BY kind.state, kind.transport, kind.age"](
        now_ms, now_ms - hour, now_ms - day, now_ms - week, now_ms - month,
    ))?;
    let tallies = rows.into_iter().map(tally).collect::<Stored<Vec<_>>>()?;
    Ok((now_ms, tallies))
}

fn tally((state, carried, age, sessions): Kind) -> Stored<SessionTally> {
    let state = match state {
        0 => SessionState::Ended,
        1 => SessionState::Expired,
        2 => SessionState::Live,
        other => return Err(StoreError::corrupt(format_args!("state {other}"))),
    };
    let younger_than_ms = usize::try_from(age).ok().and_then(|age| AGES_MS.get(age)).copied();
    Ok(SessionTally { state, transport: transport(&carried)?, younger_than_ms, count: count(sessions) })
}

type Owner = (String, Option<String>, i64);

async fn accounts(tx: &mut Tx<'_>, top: i64) -> Stored<Vec<(shared::id::UserId, Option<String>, u64)>> {
    let clock = tx.clock();
    let rows: Vec<Owner> = on_db!(tx, all ["SELECT many.account_id,
            (SELECT identifier.display FROM identifier WHERE identifier.account_id = many.account_id
                AND identifier.kind = 'email' AND identifier.primary_ms IS NOT NULL) AS email, many.live
        FROM (SELECT most.account_id,
                (SELECT count(*) FROM session WHERE session.account_id = most.account_id AND " LIVE ") AS live
            FROM (SELECT session.account_id FROM session WHERE session.revoked_ms IS NULL GROUP BY session.account_id
                ORDER BY count(*) DESC, session.account_id LIMIT $2) AS most) AS many
        WHERE many.live > 0 ORDER BY many.live DESC, many.account_id LIMIT $3"](clock, top * CANDIDATES, top))?;
    rows.into_iter().map(|(id, email, live)| Ok((user_id(&id)?, email, count(live)))).collect()
}

async fn networks(tx: &mut Tx<'_>, top: i64) -> Stored<Vec<(Network, u64)>> {
    let clock = tx.clock();
    let rows: Vec<(String, i64)> = on_db!(tx, all ["SELECT session.network, count(*) FROM session
        WHERE session.network IS NOT NULL AND " LIVE " GROUP BY session.network
        ORDER BY count(*) DESC, session.network LIMIT $2"](clock, top))?;
    Ok(rows.into_iter().map(|(network, live)| (Network::stored(network), count(live))).collect())
}
