//! Keyset pages in SQL: `(created_ms, id)` below the cursor, newest first, one row more than asked to see whether more
//! follow.

use crate::{
    domain::{
        page::{Cursor, MAX_PAGE, Page, PageRequest},
        store_error::StoreError,
    },
    store::{dialect::Dialect, error::Stored, row::count},
};
use sqlx::{Encode, QueryBuilder, Type};

/// Up to this many rows are counted for [`Page::total`].
pub(super) const CHEAP_COUNT: i64 = 10_000;

/// The cursor of a request. Callers refuse a bad one before it gets here.
pub(super) fn after(request: &PageRequest) -> Stored<Option<Cursor>> {
    request.after.as_deref().map(|text| text.parse().map_err(StoreError::corrupt)).transpose()
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Sessions by creation.
    Session,
    /// Accounts by creation.
    Account,
    /// Events by time.
    Event,
}

/// How many rows a page has.
pub(super) fn limit(request: &PageRequest) -> i64 {
    i64::from(request.limit.clamp(1, MAX_PAGE))
}

/// Adds the cursor, the order and the bound to a query over that table.
pub(super) fn push_page<DB>(query: &mut QueryBuilder<DB>, table: Table, after: Option<&Cursor>, limit: i64)
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let (condition, order) = match table {
        Table::Account => {
            (" AND (account.created_ms, account.id) < (", " ORDER BY account.created_ms DESC, account.id DESC")
        }
        Table::Event => (" AND (event.at_ms, event.id) < (", " ORDER BY event.at_ms DESC, event.id DESC"),
        Table::Session => {
            (" AND (session.created_ms, session.id) < (", " ORDER BY session.created_ms DESC, session.id DESC")
        }
    };
    if let Some(after) = after {
        query.push(condition).push_bind(after.at_ms).push(", ").push_bind(after.id.clone()).push(")");
    }
    query.push(order).push(" LIMIT ").push_bind(limit + 1);
}

/// The page out of one row more than it holds; `matching` is a count up to [`CHEAP_COUNT`] + 1.
pub(super) fn cut<T>(mut items: Vec<T>, limit: i64, matching: i64, key: impl FnOnce(&T) -> (i64, String)) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(key).map(|(at_ms, id)| Cursor { at_ms, id }.to_string());
    Page { items, next, total: (matching <= CHEAP_COUNT).then(|| count(matching)) }
}
