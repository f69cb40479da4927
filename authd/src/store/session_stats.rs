//! An overview of all sessions, read in slices that each stay within the bounds of a read.
//!
//! The slices are not of one moment: what ends while they are read may count as it was before or after.

use crate::{
    domain::{
        session::{Network, SessionState},
        session_stats::{AGES_MS, Busiest, SessionStats, SessionTally},
        store_error::StoreError,
    },
    store::{
        db::{Db, Tx},
        dialect::{on_db, on_read},
        error::Stored,
        row::{count, transport, user_id},
        session_slice::{self, END, SLICE},
    },
};
use shared::id::UserId;

/// Accounts of a slice whose live sessions are counted, for each that is shown: those with the most sessions that nobody
/// has ended.
const CANDIDATES: i64 = 5;

/// State, transport, age, network, how many: a row of the tallies without a network, one of the networks without a
/// transport. States are 0 for ended, 1 for expired, 2 for live; the age is an index into the bounds.
type Kind = (i64, Option<String>, i64, Option<String>, i64);

/// An account's id and its live sessions.
type Owner = (String, i64);

/// Reads it.
pub(super) async fn read(db: &Db, top: u32) -> Stored<SessionStats> {
    let (at_ms,): (i64,) = on_read!(db, |tx| {
        let clock = tx.clock();
        on_db!(tx, one ["SELECT " NOW](clock))
    })?;
    let mut stats = SessionStats { at_ms, ..SessionStats::default() };
    let mut networks = Busiest::default();
    let mut next = Some(String::new());
    while let Some(from) = next {
        let (kinds, end) = on_read!(db, |tx| kinds(tx, &from, at_ms).await)?;
        kinds.into_iter().try_for_each(|kind| take(&mut stats, &mut networks, kind))?;
        next = end;
    }
    stats.networks = networks.first(usize::try_from(top).unwrap_or(usize::MAX));
    stats.accounts = accounts(db, top).await?;
    Ok(stats)
}

/// The kinds in the slice of sessions behind `from`, and where it ends.
async fn kinds(tx: &mut Tx<'_>, from: &str, now_ms: i64) -> Stored<(Vec<Kind>, Option<String>)> {
    let end = session_slice::end(tx, from).await?;
    let [hour, day, week, month] = AGES_MS;
    let rows = on_db!(tx, all ["WITH kind AS MATERIALIZED (
            SELECT CASE WHEN session.revoked_ms IS NOT NULL OR session.epoch < " EPOCH " THEN 0
                WHEN session.idle_expires_ms <= $1 OR session.expires_ms <= $1 THEN 1 ELSE 2 END AS state,
            session.transport, session.network,
            CASE WHEN session.created_ms > $2 THEN 0 WHEN session.created_ms > $3 THEN 1
                WHEN session.created_ms > $4 THEN 2 WHEN session.created_ms > $5 THEN 3 ELSE 4 END AS age
            FROM session WHERE session.id > $6 AND session.id <= $7)
        SELECT CAST(kind.state AS BIGINT), kind.transport, CAST(kind.age AS BIGINT), CAST(NULL AS TEXT), count(*)
            FROM kind GROUP BY kind.state, kind.transport, kind.age
        UNION ALL SELECT CAST(2 AS BIGINT), CAST(NULL AS TEXT), CAST(0 AS BIGINT), kind.network, count(*)
            FROM kind WHERE kind.state = 2 AND kind.network IS NOT NULL GROUP BY kind.network"](
        now_ms, now_ms - hour, now_ms - day, now_ms - week, now_ms - month, from, end.as_deref().unwrap_or(END),
    ))?;
    Ok((rows, end))
}

fn take(stats: &mut SessionStats, networks: &mut Busiest, (state, carried, age, network, many): Kind) -> Stored<()> {
    if let Some(network) = network {
        networks.add(Network::stored(network), count(many));
        return Ok(());
    }
    let state = match state {
        0 => SessionState::Ended,
        1 => SessionState::Expired,
        2 => SessionState::Live,
        other => return Err(StoreError::corrupt(format_args!("state {other}"))),
    };
    let younger_than_ms = usize::try_from(age).ok().and_then(|age| AGES_MS.get(age)).copied();
    let transport = transport(carried.as_deref().unwrap_or_default())?;
    stats.add(SessionTally { state, transport, younger_than_ms, count: count(many) });
    Ok(())
}

async fn accounts(db: &Db, top: u32) -> Stored<Vec<(UserId, Option<String>, u64)>> {
    let mut most: Vec<Owner> = Vec::new();
    let mut next = Some(String::new());
    while let Some(from) = next {
        let (owners, end) = on_read!(db, |tx| owners(tx, &from, i64::from(top)).await)?;
        most.extend(owners);
        most.sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.cmp(other)));
        most.truncate(usize::try_from(top).unwrap_or(usize::MAX));
        next = end;
    }
    on_read!(db, |tx| {
        let mut accounts = Vec::with_capacity(most.len());
        for (id, live) in most {
            let email: Option<(String,)> = on_db!(
                tx,
                optional["SELECT identifier.display FROM identifier
                WHERE identifier.account_id = $1 AND identifier.kind = 'email'
                AND identifier.primary_ms IS NOT NULL"](id.as_str())
            )?;
            accounts.push((user_id(&id)?, email.map(|(email,)| email), count(live)));
        }
        Ok(accounts)
    })
}

/// Those with the most live sessions in a slice of accounts, and where it ends.
async fn owners(tx: &mut Tx<'_>, from: &str, top: i64) -> Stored<(Vec<Owner>, Option<String>)> {
    let end: Option<(String,)> = on_db!(
        tx,
        optional["SELECT session.account_id FROM session WHERE session.account_id > $1
            ORDER BY session.account_id LIMIT 1 OFFSET $2"](from, SLICE - 1)
    )?;
    let end = end.map(|(id,)| id);
    let clock = tx.clock();
    let rows = on_db!(tx, all ["SELECT many.account_id, many.live
        FROM (SELECT most.account_id,
                (SELECT count(*) FROM session WHERE session.account_id = most.account_id AND " LIVE ") AS live
            FROM (SELECT session.account_id FROM session WHERE session.account_id > $2 AND session.account_id <= $3
                AND session.revoked_ms IS NULL GROUP BY session.account_id
                ORDER BY count(*) DESC, session.account_id LIMIT $4) AS most) AS many
        WHERE many.live > 0 ORDER BY many.live DESC, many.account_id LIMIT $5"](
        clock, from, end.as_deref().unwrap_or(END), top * CANDIDATES, top,
    ))?;
    Ok((rows, end))
}
