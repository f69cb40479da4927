//! What a copy of the database consists of: every table and column of the schema, read from the schema itself, so that
//! what a later migration adds is carried without a word here.

use sqlx::{SqliteConnection, query_as};

/// Tables that stay where they are.
pub(super) const LEFT_OUT: &[(&str, &str)] =
    &[("instance", "heartbeats of the daemons that run on this very database")];
/// Columns that stay where they are.
pub(super) const LEFT_OUT_COLUMNS: &[(&str, &str, &str)] =
    &[("revocation", "txid", "each database numbers its own transactions")];

/// What a column holds; there are no other types in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `INTEGER`, `BIGINT`.
    Number,
    /// `TEXT`.
    Text,
    /// `BLOB`, `BYTEA`.
    Bytes,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A table that is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The places of its primary key among them, in the key's order.
    pub(super) key: Vec<usize>,
}

impl Table {
    /// Its columns for a statement.
    pub(super) fn names(&self) -> String {
        self.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }

    /// The columns of its primary key for a statement.
    pub(super) fn key_names(&self) -> String {
        let names = self.key.iter().filter_map(|place| self.columns.get(*place));
        names.map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }
}

/// A name of the schema for a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn schema_fault(what: String) -> sqlx::Error {
    sqlx::Error::Configuration(what.into())
}

/// The tables to carry, those first that others refer to.
pub(super) async fn tables(conn: &mut SqliteConnection) -> Result<Vec<Table>, sqlx::Error> {
    let names: Vec<(String,)> = query_as(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
        AND name NOT LIKE '\\_sqlx\\_%' ESCAPE '\\' ORDER BY name",
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut waiting = Vec::new();
    for (name,) in names.into_iter().filter(|(name,)| LEFT_OUT.iter().all(|(left, _)| left != name)) {
        let parents: Vec<(String,)> = query_as("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list($1)")
            .bind(&name)
            .fetch_all(&mut *conn)
            .await?;
        let parents: Vec<String> = parents.into_iter().map(|(parent,)| parent).filter(|p| *p != name).collect();
        waiting.push((table(conn, name).await?, parents));
    }
    let mut sorted: Vec<Table> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let before = waiting.len();
        let (ready, later): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|(_, parents)| parents.iter().all(|parent| sorted.iter().any(|table| table.name == *parent)));
        sorted.extend(ready.into_iter().map(|(table, _)| table));
        waiting = later;
        if waiting.len() == before {
            return Err(schema_fault("tables refer to each other in a circle".to_owned()));
        }
    }
    Ok(sorted)
}

async fn table(conn: &mut SqliteConnection, name: String) -> Result<Table, sqlx::Error> {
    let rows: Vec<(String, String, i64)> =
        query_as("SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid").bind(&name).fetch_all(conn).await?;
    let mut columns = Vec::with_capacity(rows.len());
    let mut key = Vec::new();
    for (column, declared, rank) in rows {
        if LEFT_OUT_COLUMNS.iter().any(|(of, left, _)| *of == name && *left == column) {
            continue;
        }
        let kind = match declared.as_str() {
            "INTEGER" | "INT" => Kind::Number,
            "TEXT" => Kind::Text,
            "BLOB" => Kind::Bytes,
            other => return Err(schema_fault(format!("{name}.{column} has the type {other}"))),
        };
        if rank > 0 {
            key.push((rank, columns.len()));
        }
        columns.push(Column { name: column, kind });
    }
    key.sort_unstable();
    if key.is_empty() {
        return Err(schema_fault(format!("{name} has no primary key")));
    }
    Ok(Table { name, columns, key: key.into_iter().map(|(_, place)| place).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::SQLITE;
    use sqlx::Connection;

    #[tokio::test]
    async fn every_table_is_carried_or_left_out_for_a_reason_and_parents_come_first() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        SQLITE.run_direct(None, &mut conn, false).await.unwrap();
        let carried = tables(&mut conn).await.unwrap();
        let all: Vec<(String,)> = query_as(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '_sqlx%'",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap();
        for (name,) in &all {
            let is_left_out = LEFT_OUT.iter().any(|(left, reason)| left == name && !reason.is_empty());
            assert!(carried.iter().any(|table| table.name == *name) != is_left_out, "{name}");
        }
        for (name, _) in LEFT_OUT {
            assert!(all.iter().any(|(table,)| table == name), "{name} is left out and does not exist");
        }
        let place = |name: &str| carried.iter().position(|table| table.name == name);
        assert!(place("tenant") < place("account") && place("account") < place("session"));
    }
}
