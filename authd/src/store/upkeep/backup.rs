//! A consistent copy of either database as a SQLite file: one format of backups, which SQLite itself opens.

use crate::{
    domain::upkeep::{Step, UpkeepError, Watcher},
    store::{
        db::Conn,
        open::{POSTGRES, SQLITE, create_private},
        upkeep::{
            fault, file_fault,
            row::{self, PAGE},
            schema::{self, Table, quoted},
        },
    },
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, SqliteConnection,
    postgres::PgConnectOptions,
    query_as, query_scalar,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{path::Path, sync::Arc};

/// Steps of SQLite's machine between two looks at whether anybody still waits.
const LOOK_EVERY: i32 = 20_000;

/// Copies a SQLite database into `file`, which does not exist yet.
pub(super) async fn of_file(
    options: &SqliteConnectOptions,
    file: &Path,
    watcher: Arc<dyn Watcher>,
) -> Result<(), UpkeepError> {
    create_private(file).map_err(|error| file_fault(file, &error))?;
    let mut conn = options.connect().await.map_err(fault)?;
    let total: i64 = query_scalar("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        .fetch_one(&mut conn)
        .await
        .map_err(fault)?;
    let (seen, growing) = (watcher.clone(), file.to_owned());
    let total = u64::try_from(total).unwrap_or(0);
    let look = move || {
        let done = std::fs::metadata(&growing).map_or(0, |file| file.len());
        seen.saw(Step { doing: "copy", table: None, done: done.min(total), total });
        !seen.has_left()
    };
    conn.lock_handle().await.map_err(fault)?.set_progress_handler(LOOK_EVERY, look);
    let Some(name) = file.to_str() else { return Err(UpkeepError::Invalid(NOT_UTF8.to_owned())) };
    let done = sqlx::query("VACUUM INTO $1").bind(name).execute(&mut conn).await;
    conn.lock_handle().await.map_err(fault)?.remove_progress_handler();
    if watcher.has_left() {
        return Err(UpkeepError::Abandoned);
    }
    done.map_err(fault)?;
    // The beats in it are of daemons on the other file.
    let mut copy = SqliteConnectOptions::new().filename(file).connect().await.map_err(fault)?;
    copy.execute("DELETE FROM instance").await.map_err(fault)?;
    copy.close().await.map_err(fault)
}

const NOT_UTF8: &str = "the path of the data directory is not UTF-8";

/// Copies what a PostgreSQL database holds at one moment into `file`, which does not exist yet.
pub(super) async fn of_server(
    options: &PgConnectOptions,
    file: &Path,
    watcher: Arc<dyn Watcher>,
) -> Result<(), UpkeepError> {
    create_private(file).map_err(|error| file_fault(file, &error))?;
    // Nobody reads a file that was not finished, so nothing has to outlast a crash.
    let scratch = SqliteConnectOptions::new()
        .filename(file)
        .foreign_keys(false)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off);
    let mut to = scratch.connect().await.map_err(fault)?;
    SQLITE.run_direct(None, &mut to, false).await.map_err(|error| UpkeepError::Failed(error.to_string()))?;
    let tables = schema::tables(&mut to).await.map_err(fault)?;
    let mut from = options.connect().await.map_err(fault)?;
    // One moment for all tables, however long it takes: a page is bounded, not the whole.
    from.execute("SET idle_in_transaction_session_timeout = '60s'; SET statement_timeout = '60s'")
        .await
        .map_err(fault)?;
    from.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(fault)?;
    refuse_newer(&mut from).await?;
    to.execute("BEGIN").await.map_err(fault)?;
    let guards = empty(&mut to, &tables).await.map_err(fault)?;
    copy_all(&mut from, &mut to, &tables, watcher.as_ref()).await?;
    for guard in guards {
        to.execute(AssertSqlSafe(guard)).await.map_err(fault)?;
    }
    to.execute("COMMIT").await.map_err(fault)?;
    to.close().await.map_err(fault)?;
    // It only read: nothing depends on how it ends.
    let _ = from.close().await;
    Ok(())
}

/// A column that this program does not know would be lost.
async fn refuse_newer(from: &mut PgConnection) -> Result<(), UpkeepError> {
    let found: Option<i64> =
        query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(from).await.map_err(fault)?;
    let known = POSTGRES.iter().map(|migration| migration.version).max();
    if found > known {
        return Err(UpkeepError::Conflict(
            "the schema of the database is newer than this program: make the backup with the newer authd".to_owned(),
        ));
    }
    Ok(())
}

/// Takes out what a new database begins with, and the triggers that guard it against that; gives them back.
async fn empty(to: &mut SqliteConnection, tables: &[Table]) -> Result<Vec<String>, sqlx::Error> {
    let triggers: Vec<(String, String)> =
        query_as("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetch_all(&mut *to).await?;
    for (name, _) in &triggers {
        to.execute(AssertSqlSafe(format!("DROP TRIGGER {}", quoted(name)))).await?;
    }
    for table in tables.iter().rev() {
        to.execute(AssertSqlSafe(format!("DELETE FROM {}", quoted(&table.name)))).await?;
    }
    Ok(triggers.into_iter().map(|(_, sql)| sql).collect())
}

async fn copy_all(
    from: &mut PgConnection,
    to: &mut SqliteConnection,
    tables: &[Table],
    watcher: &dyn Watcher,
) -> Result<(), UpkeepError> {
    for table in tables {
        let count = format!("SELECT count(*) FROM {}", quoted(&table.name));
        let total: i64 = query_scalar(AssertSqlSafe(count)).fetch_one(&mut *from).await.map_err(fault)?;
        let (mut after, mut done) = (None, 0);
        loop {
            if watcher.has_left() {
                return Err(UpkeepError::Abandoned);
            }
            let rows = row::page(&mut Conn::Postgres(&mut *from), table, after.as_ref()).await.map_err(fault)?;
            let count = rows.len();
            done += u64::try_from(count).unwrap_or(0);
            after = rows.last().cloned();
            row::put_sqlite(to, table, rows).await.map_err(fault)?;
            let total = u64::try_from(total).unwrap_or(0);
            watcher.saw(Step { doing: "copy", table: Some(table.name.clone()), done, total });
            if count < PAGE {
                break;
            }
        }
    }
    Ok(())
}
