//! Sessions in slices: what no index answers is looked at so many rows at a time, in the order of ids, so that each
//! statement stays within its bound however many sessions there are.

use crate::{
    domain::{network_set::NetworkSet, session::SessionFilter},
    store::{
        db::{Db, Tx},
        dialect::{self, Dialect, on_built, on_db, on_read},
        error::Stored,
        network::{self, Seek},
        page::CHEAP_COUNT,
        row::{count, session_ids},
        session_list::push_filter,
    },
};
use shared::id::SessionId;
use sqlx::{Encode, QueryBuilder, Type};
use std::sync::Arc;

/// Rows of a slice.
pub(super) const SLICE: i64 = 50_000;
/// Behind every id.
pub(super) const END: &str = "~";

/// The sessions that one statement looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Range {
    /// Those that an index gives, all at once.
    Indexed,
    /// Those behind one id and up to another, or all that are left.
    Slice { from: String, end: Option<String> },
}

impl Range {
    async fn first(tx: &mut Tx<'_>, filter: &SessionFilter) -> Stored<Self> {
        let is_indexed = filter.id.is_some()
            || filter.account.is_some()
            || match filter.network {
                Some(set) => is_small(tx, set).await?,
                None => false,
            };
        if is_indexed { Ok(Self::Indexed) } else { Self::behind(tx, String::new()).await }
    }

    async fn behind(tx: &mut Tx<'_>, from: String) -> Stored<Self> {
        let end = end(tx, &from).await?;
        Ok(Self::Slice { from, end })
    }

    async fn following(self, tx: &mut Tx<'_>) -> Stored<Option<Self>> {
        match self {
            Self::Slice { end: Some(end), .. } => Self::behind(tx, end).await.map(Some),
            Self::Slice { end: None, .. } | Self::Indexed => Ok(None),
        }
    }

    /// `SELECT what FROM session WHERE …` for the live sessions in it that match.
    fn select<DB>(&self, what: &'static str, filter: &SessionFilter, clock: i64) -> QueryBuilder<DB>
    where
        DB: Dialect,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let mut query = dialect::with_clock::<DB>(clock);
        query.push("SELECT ").push(what).push(" FROM session WHERE ").push(dialect::LIVE);
        match self {
            Self::Indexed => push_filter(&mut query, filter, Seek::Index),
            Self::Slice { from, end } => {
                push_filter(&mut query, filter, Seek::Rows);
                query.push(" AND session.id > ").push_bind(from.clone());
                query.push(" AND session.id <= ").push_bind(end.clone().unwrap_or_else(|| END.to_owned()));
            }
        }
        query
    }
}

/// Whether the sessions of a set of networks are so few that an index may give them all.
pub(super) async fn is_small(tx: &mut Tx<'_>, set: NetworkSet) -> Stored<bool> {
    if set.single().is_some() {
        return Ok(true);
    }
    let (found,): (i64,) = on_built!(tx, fetch_one {
        let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 AS one FROM session WHERE TRUE");
        network::push(&mut query, set, Seek::Index);
        query.push(" LIMIT ").push_bind(CHEAP_COUNT + 1).push(") AS counted");
        query
    })?;
    Ok(found <= CHEAP_COUNT)
}

/// The last id of the slice that begins behind `from`; `None` when it takes in all that are left.
pub(super) async fn end(tx: &mut Tx<'_>, from: &str) -> Stored<Option<String>> {
    let end: Option<(String,)> = on_db!(
        tx,
        optional["SELECT session.id FROM session WHERE session.id > $1 ORDER BY session.id LIMIT 1 OFFSET $2"](
            from,
            SLICE - 1
        )
    )?;
    Ok(end.map(|(id,)| id))
}

/// How many live sessions match, all of them counted: one slice a call.
pub(super) async fn count_live(db: &Db, filter: SessionFilter) -> Stored<u64> {
    let filter = Arc::new(filter);
    let asked = filter.clone();
    let mut next = Some(on_read!(db, |tx| Range::first(tx, &asked).await)?);
    let mut sum = 0_u64;
    while let Some(range) = next {
        let asked = filter.clone();
        let (live, following) = on_read!(db, |tx| {
            let clock = tx.clock();
            let (live,): (i64,) = on_built!(tx, fetch_one range.select("count(*)", &asked, clock))?;
            Ok((live, range.following(tx).await?))
        })?;
        sum = sum.saturating_add(count(live));
        next = following;
    }
    Ok(sum)
}

/// The live sessions that match, by id; holds nothing.
pub(super) async fn find_live(tx: &mut Tx<'_>, filter: &SessionFilter) -> Stored<Vec<SessionId>> {
    let clock = tx.clock();
    let mut found: Vec<SessionId> = Vec::new();
    let mut next = Some(Range::first(tx, filter).await?);
    while let Some(range) = next {
        let rows: Vec<(String,)> = on_built!(tx, fetch_all {
            let mut query = range.select("session.id", filter, clock);
            query.push(" ORDER BY session.id");
            query
        })?;
        found.extend(session_ids(rows)?);
        next = range.following(tx).await?;
    }
    Ok(found)
}
