//! Lists of accounts: filters in SQL, keyset pages, newest first, with live sessions counted.

use crate::{
    domain::{
        account::{AccountFilter, AccountRow, Disabled},
        page::{Page, PageRequest},
    },
    store::{
        db::Tx,
        dialect::{self, Dialect, containing, on_built},
        error::Stored,
        page::{self, CHEAP_COUNT, Table},
        row::{CountedRow, count},
    },
};
use sqlx::{Encode, QueryBuilder, Type};

/// One page.
pub(super) async fn list(tx: &mut Tx<'_>, filter: &AccountFilter, request: &PageRequest) -> Stored<Page<AccountRow>> {
    let after = page::after(request)?;
    let limit = page::limit(request);
    let clock = tx.clock();
    let rows: Vec<CountedRow> = on_built!(tx, fetch_all {
        let mut query = dialect::with_clock(clock);
        query.push("SELECT ").push(dialect::ACCOUNT);
        query.push(", (SELECT count(*) FROM session WHERE session.account_id = account.id AND ").push(dialect::LIVE);
        query.push(") AS sessions FROM account WHERE account.deleted_ms IS NULL");
        push_filter(&mut query, filter);
        page::push_page(&mut query, Table::Account, after.as_ref(), limit);
        query
    })?;
    let (matching,): (i64,) = on_built!(tx, fetch_one {
        let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 AS one FROM account WHERE account.deleted_ms IS NULL");
        push_filter(&mut query, filter);
        query.push(" LIMIT ").push_bind(CHEAP_COUNT + 1).push(") AS counted");
        query
    })?;
    let items = rows
        .into_iter()
        .map(|row| Ok(AccountRow { sessions: count(row.sessions), account: row.account.account()? }))
        .collect::<Stored<Vec<_>>>()?;
    Ok(page::cut(items, limit, matching, |last| (last.account.created_ms, last.account.id.to_string())))
}

fn push_filter<DB>(query: &mut QueryBuilder<DB>, filter: &AccountFilter)
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    if let Some(prefix) = &filter.id_prefix {
        query.push(" AND account.id >= ").push_bind(prefix.clone());
        // Ids are ASCII below the tilde and sort by their bytes.
        query.push(" AND account.id < ").push_bind(format!("{prefix}~"));
    }
    if let Some(name) = &filter.name {
        query.push(
            " AND EXISTS (SELECT 1 FROM identifier WHERE identifier.account_id = account.id
            AND identifier.canonical LIKE ",
        );
        query.push_bind(containing(name)).push(" ESCAPE '\\')");
    }
    match filter.disabled {
        None => {}
        Some(Disabled::Yes) => {
            query.push(" AND account.disabled_ms IS NOT NULL");
        }
        Some(Disabled::No) => {
            query.push(" AND account.disabled_ms IS NULL");
        }
    }
}
