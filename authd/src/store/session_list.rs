//! Lists of sessions: filters in SQL, keyset pages, newest first, and a bound on the rows that one call looks at.
//!
//! An index gives the rows of a *base* in the order of the list: all sessions, those of an account or of a network.
//! What else a filter asks is looked at row by row, and no further than [`WINDOW`] rows in one call: a page may end
//! there and say where the next one goes on. A set of many networks is a base of its own while it has few sessions;
//! beyond, it is looked for among all of them.

use crate::{
    domain::{
        page::{Cursor, Page, PageRequest},
        session::{Session, SessionFilter, SessionState},
    },
    store::{
        db::Tx,
        dialect::{self, Dialect, containing, on_built},
        error::Stored,
        network::{self, Seek},
        page::{self, CHEAP_COUNT},
        row::{SessionRow, count},
        session_slice,
    },
};
use sqlx::{Encode, QueryBuilder, Type};

/// Rows that a call looks at beyond what an index answers by itself.
const WINDOW: i64 = CHEAP_COUNT;

/// One page.
pub(super) async fn list(tx: &mut Tx<'_>, filter: &SessionFilter, request: &PageRequest) -> Stored<Page<Session>> {
    let after = page::after(request)?;
    let limit = page::limit(request);
    let clock = tx.clock();
    let plan = Plan::of(tx, filter).await?;
    let floor = if plan.has_rest() { plan.floor(tx, after.as_ref()).await? } else { None };
    let rows: Vec<SessionRow> = on_built!(tx, fetch_all {
        let mut query = selected(clock);
        plan.push_base(&mut query);
        plan.push_rest(&mut query);
        if let Some(floor) = &floor {
            query.push(" AND (session.created_ms, session.id) >= (").push_bind(floor.at_ms);
            query.push(", ").push_bind(floor.id.clone()).push(")");
        }
        page::push_page(&mut query, page::Table::Session, after.as_ref(), limit);
        query
    })?;
    let total = plan.total(tx).await?;
    let items = rows.iter().map(SessionRow::session).collect::<Stored<Vec<_>>>()?;
    let mut page = page::cut(items, limit, 0, |last| (last.created_ms, last.id.to_string()));
    page.total = total;
    page.next = page.next.or_else(|| floor.map(|floor| floor.to_string()));
    Ok(page)
}

/// How a filter is answered.
struct Plan<'f> {
    filter: &'f SessionFilter,
    clock: i64,
    /// How the networks are found.
    networks: Seek,
}

impl<'f> Plan<'f> {
    async fn of(tx: &mut Tx<'_>, filter: &'f SessionFilter) -> Stored<Self> {
        let mut plan = Plan { filter, clock: tx.clock(), networks: Seek::Index };
        if let Some(set) = filter.network.filter(|_| filter.account.is_none())
            && !session_slice::is_small(tx, set).await?
        {
            plan.networks = Seek::Rows;
        }
        Ok(plan)
    }

    fn has_network_base(&self) -> bool {
        self.filter.network.is_some() && self.networks == Seek::Index
    }

    fn has_rest(&self) -> bool {
        let filter = self.filter;
        filter.device.is_some()
            || filter.unused
            || filter.except.is_some()
            || (filter.network.is_some() && !self.has_network_base())
            || filter.state.is_some()
    }

    /// Conditions that an index answers.
    fn push_base<DB>(&self, query: &mut QueryBuilder<DB>)
    where
        DB: Dialect,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let filter = self.filter;
        push_ids(query, filter);
        push_times(query, filter);
        if let Some(set) = filter.network.filter(|_| self.has_network_base()) {
            network::push(query, set, Seek::Index);
        }
    }

    /// Conditions that have to be looked at row by row.
    fn push_rest<DB>(&self, query: &mut QueryBuilder<DB>)
    where
        DB: Dialect,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
    {
        if let Some(set) = self.filter.network.filter(|_| !self.has_network_base()) {
            network::push(query, set, Seek::Rows);
        }
        push_looks(query, self.filter);
    }

    /// Where the window ends: the last row of the base that this call looks at, if there are more.
    async fn floor(&self, tx: &mut Tx<'_>, after: Option<&Cursor>) -> Stored<Option<Cursor>> {
        let floor: Option<(i64, String)> = on_built!(tx, fetch_optional {
            let mut query = QueryBuilder::new("SELECT session.created_ms, session.id FROM session WHERE TRUE");
            self.push_base(&mut query);
            if let Some(after) = after {
                query.push(" AND (session.created_ms, session.id) < (").push_bind(after.at_ms);
                query.push(", ").push_bind(after.id.clone()).push(")");
            }
            query.push(" ORDER BY session.created_ms DESC, session.id DESC LIMIT 1 OFFSET ").push_bind(WINDOW);
            query
        })?;
        Ok(floor.map(|(at_ms, id)| Cursor { at_ms, id }))
    }

    /// How many match in all, where the base is small enough to look at all of it.
    async fn total(&self, tx: &mut Tx<'_>) -> Stored<Option<u64>> {
        let (seen, matching): (i64, i64) = on_built!(tx, fetch_one {
            let mut query = dialect::with_clock(self.clock);
            query.push("SELECT count(*), CAST(COALESCE(sum(hit), 0) AS BIGINT) FROM (SELECT CASE WHEN TRUE");
            self.push_rest(&mut query);
            query.push(" THEN 1 ELSE 0 END AS hit FROM session WHERE TRUE");
            self.push_base(&mut query);
            query.push(" LIMIT ").push_bind(WINDOW + 1).push(") AS counted");
            query
        })?;
        Ok((seen <= WINDOW).then(|| count(matching)))
    }
}

fn selected<DB>(clock: i64) -> QueryBuilder<DB>
where
    DB: Dialect,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = dialect::with_clock(clock);
    query.push("SELECT ").push(dialect::SESSION).push(", (SELECT now_ms FROM clock) AS now_ms FROM session WHERE TRUE");
    query
}

/// Adds `AND …` for everything the filter asks, to a query of [`dialect::with_clock`] over `session`.
pub(super) fn push_filter<DB>(query: &mut QueryBuilder<DB>, filter: &SessionFilter, seek: Seek)
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    push_ids(query, filter);
    push_times(query, filter);
    if let Some(set) = filter.network {
        network::push(query, set, seek);
    }
    push_looks(query, filter);
}

fn push_ids<DB>(query: &mut QueryBuilder<DB>, filter: &SessionFilter)
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    let ids = [
        (" AND session.id = ", filter.id.as_ref().map(|id| id.as_str())),
        (" AND session.account_id = ", filter.account.as_ref().map(|id| id.as_str())),
    ];
    for (condition, id) in ids {
        if let Some(id) = id {
            query.push(condition).push_bind(id.to_owned());
        }
    }
}

fn push_times<DB>(query: &mut QueryBuilder<DB>, filter: &SessionFilter)
where
    DB: Dialect,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    if let Some(since_ms) = filter.since_ms {
        query.push(" AND session.created_ms >= ").push_bind(since_ms);
    }
    if let Some(until_ms) = filter.until_ms {
        query.push(" AND session.created_ms < ").push_bind(until_ms);
    }
}

/// What no index knows.
fn push_looks<DB>(query: &mut QueryBuilder<DB>, filter: &SessionFilter)
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    if let Some(except) = &filter.except {
        query.push(" AND session.id <> ").push_bind(except.as_str().to_owned());
    }
    if let Some(device) = &filter.device {
        query.push(" AND lower(session.device) LIKE ").push_bind(containing(&device.to_lowercase()));
        query.push(" ESCAPE '\\'");
    }
    if filter.unused {
        query.push(" AND session.generation = 0");
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
