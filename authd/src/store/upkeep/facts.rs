//! How the database is: where, how large, of which version.

use crate::{
    domain::upkeep::{Facts, TableSize},
    store::{
        db::{Backend, Conn, Db, Tx},
        dialect::{on_db, on_read},
        error::{Stored, fault},
        open::{POSTGRES, SQLITE},
        row::count,
        upkeep::{schema::quoted, target},
    },
};
use sqlx::{AssertSqlSafe, query_scalar};
use std::path::Path;

pub(super) async fn of(db: &Db) -> Stored<Facts> {
    let (schema, bytes) = on_read!(db, |tx| {
        let (schema,): (i64,) = on_db!(tx, one["SELECT COALESCE(max(version), 0) FROM _sqlx_migrations"]())?;
        Ok((schema, size(tx).await?))
    })?;
    let tables = on_read!(db, |tx| tables(tx).await)?;
    let (place, connections, max_connections, wal_bytes) = match &db.backend {
        Backend::Sqlite { readers: None, .. } => ("sqlite::memory:".to_owned(), 1, 1, None),
        Backend::Sqlite { readers: Some(readers), .. } => {
            let options = readers.connect_options();
            let file = options.get_filename();
            let most = readers.options().get_max_connections();
            (format!("sqlite:{}", file.display()), readers.size() + 1, most + 1, Some(wal(file)))
        }
        Backend::Postgres(server) => {
            let (open, most) = server.connections();
            (target::place(&server.options()), open, most, None)
        }
    };
    let program = match db.backend {
        Backend::Sqlite { .. } => &SQLITE,
        Backend::Postgres(_) => &POSTGRES,
    };
    let program_schema = program.iter().map(|migration| migration.version).max().unwrap_or(0);
    Ok(Facts { place, schema, program_schema, bytes, wal_bytes, tables, connections, max_connections })
}

fn wal(file: &Path) -> u64 {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    std::fs::metadata(name).map_or(0, |wal| wal.len())
}

async fn size(tx: &mut Tx<'_>) -> Stored<u64> {
    let (bytes,): (i64,) = match tx.conn {
        Conn::Sqlite(_) => on_db!(tx, one["SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"]())?,
        Conn::Postgres(_) => on_db!(tx, one["SELECT pg_database_size(current_database())"]())?,
    };
    Ok(count(bytes))
}

/// Nothing is counted: SQLite tells its last row id, PostgreSQL what its statistics know.
async fn tables(tx: &mut Tx<'_>) -> Stored<Vec<TableSize>> {
    let rows: Vec<(String, Option<i64>, Option<i64>)> = match tx.conn {
        Conn::Sqlite(_) => on_db!(
            tx,
            all["SELECT name, NULL, NULL FROM sqlite_schema WHERE type = 'table'
                AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_sqlx\\_%' ESCAPE '\\' ORDER BY name"](
            )
        )?,
        Conn::Postgres(_) => on_db!(
            tx,
            all["SELECT relname::text, CASE WHEN reltuples < 0 THEN NULL ELSE reltuples::bigint END,
                pg_total_relation_size(pg_class.oid) FROM pg_class
                WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
                AND relname NOT LIKE '\\_sqlx\\_%' ORDER BY relname"]()
        )?,
    };
    let mut tables = Vec::with_capacity(rows.len());
    for (name, rows, bytes) in rows {
        let rows = match &mut tx.conn {
            Conn::Sqlite(conn) => {
                let last = format!("SELECT max(rowid) FROM {}", quoted(&name));
                let last: Option<i64> =
                    query_scalar(AssertSqlSafe(last)).fetch_one(&mut **conn).await.map_err(fault)?;
                Some(last.unwrap_or(0))
            }
            Conn::Postgres(_) => rows,
        };
        tables.push(TableSize { name, rows: rows.map(count), bytes: bytes.map(count) });
    }
    Ok(tables)
}
