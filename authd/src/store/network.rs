//! Sets of networks as conditions in SQL.

use crate::{
    domain::network_set::{NetworkSet, Spelling},
    store::dialect::Dialect,
};
use sqlx::{Encode, QueryBuilder, Type};

/// How a database may find the rows of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seek {
    /// Through the index on networks.
    Index,
    /// By looking at rows it finds otherwise: an expression has no index.
    Rows,
}

impl Seek {
    fn column(self) -> &'static str {
        match self {
            Self::Index => "session.network",
            Self::Rows => "(session.network || '')",
        }
    }
}

/// Adds ` AND …` for sessions last seen in one of these networks.
pub(super) fn push<DB>(query: &mut QueryBuilder<DB>, set: NetworkSet, seek: Seek)
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    let column = seek.column();
    let mut before = " AND (";
    for spelling in set.spellings() {
        query.push(before);
        before = " OR ";
        match spelling {
            Spelling::Exactly(text) => {
                query.push(column).push(" = ").push_bind(text);
            }
            Spelling::Beginning(beginning) => push_range(query, column, beginning),
            Spelling::Shaped { beginning, like, unlike } => {
                query.push("(").push(column).push(" LIKE ").push_bind(like);
                for pattern in unlike {
                    query.push(" AND ").push(column).push(" NOT LIKE ").push_bind(pattern);
                }
                if !beginning.is_empty() {
                    query.push(" AND ");
                    push_range(query, column, beginning);
                }
                query.push(")");
            }
        }
    }
    query.push(")");
}

/// Texts that begin with `beginning`, which ends with a character of ASCII: networks are compared by their bytes.
fn push_range<DB>(query: &mut QueryBuilder<DB>, column: &'static str, beginning: String)
where
    DB: Dialect,
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut end = beginning.clone();
    if let Some(last) = end.pop().and_then(|last| char::from_u32(u32::from(last) + 1)) {
        end.push(last);
    }
    query.push("(").push(column).push(" >= ").push_bind(beginning);
    query.push(" AND ").push(column).push(" < ").push_bind(end).push(")");
}
