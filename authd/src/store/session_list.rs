//! Lists of sessions: filters in SQL, keyset pages, newest first.

use crate::{
    domain::{
        page::{Page, PageRequest},
        session::{Session, SessionFilter, SessionState},
    },
    store::{
        db::Tx,
        dialect::{self, Dialect, containing, on_built},
        error::Stored,
        page::{self, CHEAP_COUNT},
        row::{SessionRow, count},
    },
};
use sqlx::{Encode, QueryBuilder, Type};

/// One page.
pub(super) async fn list(tx: &mut Tx<'_>, filter: &SessionFilter, request: &PageRequest) -> Stored<Page<Session>> {
    let after = page::after(request)?;
    let limit = page::limit(request);
    let clock = tx.clock();
    let rows: Vec<SessionRow> = on_built!(tx, fetch_all {
        let mut query = selected(filter, clock);
        page::push_page(&mut query, page::Table::Session, after.as_ref(), limit);
        query
    })?;
    let (matching,): (i64,) = on_built!(tx, fetch_one counted(filter, clock))?;
    let items = rows.iter().map(SessionRow::session).collect::<Stored<Vec<_>>>()?;
    Ok(page::cut(items, limit, matching, |last| (last.created_ms, last.id.to_string())))
}

/// How many live sessions match, all of them counted.
pub(super) async fn count_live(tx: &mut Tx<'_>, filter: &SessionFilter) -> Stored<u64> {
    let clock = tx.clock();
    let (live,): (i64,) = on_built!(tx, fetch_one {
        let mut query = dialect::with_clock(clock);
        query.push("SELECT count(*) FROM session WHERE ").push(dialect::LIVE);
        push_filter(&mut query, filter);
        query
    })?;
    Ok(count(live))
}

fn selected<DB>(filter: &SessionFilter, clock: i64) -> QueryBuilder<DB>
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = dialect::with_clock(clock);
    query.push("SELECT ").push(dialect::SESSION).push(", (SELECT now_ms FROM clock) AS now_ms FROM session WHERE TRUE");
    push_filter(&mut query, filter);
    query
}

/// Counts what matches, but no further than [`CHEAP_COUNT`] + 1.
fn counted<DB>(filter: &SessionFilter, clock: i64) -> QueryBuilder<DB>
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = dialect::with_clock(clock);
    query.push("SELECT count(*) FROM (SELECT 1 AS one FROM session WHERE TRUE");
    push_filter(&mut query, filter);
    query.push(" LIMIT ").push_bind(CHEAP_COUNT + 1).push(") AS counted");
    query
}

/// Adds `AND …` for everything the filter asks, to a query of [`dialect::with_clock`] over `session`.
pub(super) fn push_filter<DB>(query: &mut QueryBuilder<DB>, filter: &SessionFilter)
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let texts = [
        (" AND session.id = ", filter.id.as_ref().map(|id| id.as_str())),
        (" AND session.account_id = ", filter.account.as_ref().map(|id| id.as_str())),
        (" AND session.id <> ", filter.except.as_ref().map(|id| id.as_str())),
        (" AND session.network = ", filter.network.as_deref()),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            query.push(condition).push_bind(value.to_owned());
        }
    }
    if let Some(device) = &filter.device {
        query.push(" AND lower(session.device) LIKE ").push_bind(containing(&device.to_lowercase()));
        query.push(" ESCAPE '\\'");
    }
    if filter.unused {
        query.push(" AND session.generation = 0");
    }
    if let Some(since_ms) = filter.since_ms {
        query.push(" AND session.created_ms >= ").push_bind(since_ms);
    }
    if let Some(until_ms) = filter.until_ms {
        query.push(" AND session.created_ms < ").push_bind(until_ms);
    }
    match filter.state {
        None => {}
        Some(SessionState::Live) => {
            query.push(" AND ").push(dialect::LIVE);
        }
        Some(SessionState::Ended) => {
            query.push(" AND (session.revoked_ms IS NOT NULL OR session.epoch < ").push(dialect::EPOCH).push(")");
        }
        Some(SessionState::Expired) => {
            query.push(" AND session.revoked_ms IS NULL AND session.epoch >= ").push(dialect::EPOCH);
            query.push(
                " AND (session.idle_expires_ms <= (SELECT now_ms FROM clock)
                OR session.expires_ms <= (SELECT now_ms FROM clock))",
            );
        }
    }
}
