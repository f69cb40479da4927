//! Rows on their way from one database to another: read in pages along the primary key, written in bulk, and summed up
//! so that both sides can be compared.

use crate::store::{
    db::Conn,
    upkeep::schema::{Kind, Table, quoted},
};
use sha2::{Digest, Sha256};
use sqlx::{
    ColumnIndex, Database, Decode, Encode, PgConnection, Postgres, QueryBuilder, Sqlite, SqliteConnection, Type,
};

/// Rows that are read at once.
pub(super) const PAGE: usize = 1_000;
/// Values that one statement of SQLite may carry.
const SQLITE_VALUES: usize = 16_000;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// A row, its values in the order of its table's columns.
pub(super) type Row = Vec<Value>;

/// The next rows behind `after`, in the order of the primary key.
pub(super) async fn page(conn: &mut Conn<'_>, table: &Table, after: Option<&Row>) -> Result<Vec<Row>, sqlx::Error> {
    match conn {
        Conn::Sqlite(conn) => {
            let mut query: QueryBuilder<Sqlite> = page_query(table, after);
            let rows = query.build().fetch_all(&mut **conn).await?;
            rows.iter().map(|row| read(row, table)).collect()
        }
        Conn::Postgres(conn) => {
            let mut query: QueryBuilder<Postgres> = page_query(table, after);
            let rows = query.build().fetch_all(&mut **conn).await?;
            rows.iter().map(|row| read(row, table)).collect()
        }
    }
}

fn page_query<DB>(table: &Table, after: Option<&Row>) -> QueryBuilder<DB>
where
    DB: Database,
    Option<i64>: for<'q> Encode<'q, DB> + Type<DB>,
    Option<String>: for<'q> Encode<'q, DB> + Type<DB>,
    Option<Vec<u8>>: for<'q> Encode<'q, DB> + Type<DB>,
{
    let key = table.key_names();
    let mut query = QueryBuilder::new(format!("SELECT {} FROM {}", table.names(), quoted(&table.name)));
    if let Some(after) = after {
        query.push(format!(" WHERE ({key}) > ("));
        let mut values = query.separated(", ");
        for value in table.key.iter().filter_map(|place| after.get(*place)) {
            match value {
                Value::Number(number) => values.push_bind(*number),
                Value::Text(text) => values.push_bind(text.clone()),
                Value::Bytes(bytes) => values.push_bind(bytes.clone()),
            };
        }
        query.push(")");
    }
    query.push(format!(" ORDER BY {key} LIMIT {PAGE}"));
    query
}

fn read<R>(row: &R, table: &Table) -> Result<Row, sqlx::Error>
where
    R: sqlx::Row,
    usize: ColumnIndex<R>,
    Option<i64>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    Option<Vec<u8>>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
{
    let value = |(place, kind)| {
        Ok(match kind {
            Kind::Number => Value::Number(row.try_get(place)?),
            Kind::Text => Value::Text(row.try_get(place)?),
            Kind::Bytes => Value::Bytes(row.try_get(place)?),
        })
    };
    table.columns.iter().map(|column| column.kind).enumerate().map(value).collect()
}

/// Writes rows into a SQLite file.
pub(super) async fn put_sqlite(conn: &mut SqliteConnection, table: &Table, rows: Vec<Row>) -> Result<(), sqlx::Error> {
    let most = (SQLITE_VALUES / table.columns.len().max(1)).max(1);
    for part in rows.chunks(most) {
        let head = format!("INSERT INTO {} ({}) ", quoted(&table.name), table.names());
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(head);
        query.push_values(part, |mut values, row| {
            for value in row {
                match value {
                    Value::Number(number) => values.push_bind(*number),
                    Value::Text(text) => values.push_bind(text.clone()),
                    Value::Bytes(bytes) => values.push_bind(bytes.clone()),
                };
            }
        });
        query.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Writes rows into PostgreSQL: one array a column.
pub(super) async fn put_postgres(conn: &mut PgConnection, table: &Table, rows: Vec<Row>) -> Result<(), sqlx::Error> {
    let head = format!("INSERT INTO {} ({}) ", quoted(&table.name), table.names());
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(head);
    query.push("OVERRIDING SYSTEM VALUE SELECT * FROM unnest(");
    let mut rows: Vec<std::vec::IntoIter<Value>> = rows.into_iter().map(Vec::into_iter).collect();
    let mut arrays = query.separated(", ");
    for column in &table.columns {
        let values = rows.iter_mut().filter_map(Iterator::next);
        match column.kind {
            Kind::Number => arrays.push_bind(values.filter_map(number).collect::<Vec<Option<i64>>>()),
            Kind::Text => arrays.push_bind(values.filter_map(text).collect::<Vec<Option<String>>>()),
            Kind::Bytes => arrays.push_bind(values.filter_map(bytes).collect::<Vec<Option<Vec<u8>>>>()),
        };
    }
    query.push(")");
    query.build().execute(conn).await.map(drop)
}

fn number(value: Value) -> Option<Option<i64>> {
    if let Value::Number(number) = value { Some(number) } else { None }
}

fn text(value: Value) -> Option<Option<String>> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

fn bytes(value: Value) -> Option<Option<Vec<u8>>> {
    if let Value::Bytes(bytes) = value { Some(bytes) } else { None }
}

/// Number and sum of rows in any order: the hashes of the rows, added lane by lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) rows: u64,
    lanes: [u64; 4],
}

impl Sum {
    /// Takes a row in.
    pub(super) fn add(&mut self, row: &Row) {
        let mut hash = Sha256::new();
        for value in row {
            let mut put = |tag: u8, bytes: &[u8]| {
                hash.update([tag]);
                hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(bytes);
            };
            match value {
                Value::Number(None) | Value::Text(None) | Value::Bytes(None) => put(0, &[]),
                Value::Number(Some(number)) => put(1, &number.to_be_bytes()),
                Value::Text(Some(text)) => put(2, text.as_bytes()),
                Value::Bytes(Some(bytes)) => put(3, bytes),
            }
        }
        let hash: [u8; 32] = hash.finalize().into();
        self.rows += 1;
        for (lane, part) in self.lanes.iter_mut().zip(hash.chunks_exact(8)) {
            let part = part.try_into().map_or(0, u64::from_be_bytes);
            *lane = lane.wrapping_add(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[Row]) -> Sum {
        let mut sum = Sum::default();
        rows.iter().for_each(|row| sum.add(row));
        sum
    }

    fn row(text: &str, number: Option<i64>) -> Row {
        vec![Value::Text(Some(text.to_owned())), Value::Number(number)]
    }

    #[test]
    fn a_sum_knows_every_value_and_no_order() {
        let (a, b) = (row("a", Some(1)), row("b", None));
        assert_eq!(sum(&[a.clone(), b.clone()]), sum(&[b.clone(), a.clone()]));
        for other in [row("a", Some(2)), row("a", None), row("", Some(1)), row("ab", Some(1))] {
            assert_ne!(sum(&[a.clone(), b.clone()]), sum(&[other, b.clone()]));
        }
        assert_ne!(sum(&[a.clone(), a.clone()]), sum(std::slice::from_ref(&a)));
        assert_ne!(sum(&[vec![Value::Bytes(Some(vec![97]))]]), sum(&[vec![Value::Text(Some("a".to_owned()))]]));
    }
}
