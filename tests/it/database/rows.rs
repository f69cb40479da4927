//! Every table with every column arrives: rows made from the schema itself go from SQLite to PostgreSQL, from there
//! into a backup, and are the same. A table that a later migration adds is in this test without a word.

use authd::{
    domain::{
        audit::{Action, Actor, Event, EventOutcome},
        breaker::BreakerSettings,
        circuit::Circuit,
        clock::{Clock, OsRandom, SystemClock, random_bytes},
        secret::Secret,
        upkeep::{MoveEvents, Step, Watcher},
    },
    store::{StoreOptions, open},
};
use shared::id::EventId;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection, query_as};
use std::{collections::BTreeMap, io::Read as _, path::Path, sync::Arc, time::Duration};
use tests::postgres::Postgres;

/// Nobody who waits.
struct Patient;

impl Watcher for Patient {
    fn saw(&self, _: Step) {}
    fn has_left(&self) -> bool {
        false
    }
}

fn options(url: &str) -> StoreOptions {
    let clock = Arc::new(SystemClock);
    let breaker = BreakerSettings { failures: 5, window_ms: 10_000, open_for_ms: 5_000, half_open_max_calls: 1 };
    StoreOptions {
        url: url.to_owned(),
        max_connections: 4,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(20),
        start_timeout: Duration::from_secs(20),
        revocation_keep_ms: 720_000,
        circuit: Arc::new(Circuit::new("database", breaker, clock.clone())),
        notary: Some(Arc::new(crate::store::notary())),
        clock,
        random: Arc::new(OsRandom),
    }
}

fn event() -> Event {
    let at_ms = SystemClock.now_ms();
    Event {
        id: EventId::new(at_ms, random_bytes(&OsRandom)),
        at_ms,
        action: Action::DatabaseMoved,
        outcome: EventOutcome::Ok,
        reason: None,
        actor: Actor::Job("test"),
        target: None,
        network: None,
        device: None,
        request_id: None,
        detail: Vec::new(),
    }
}

async fn columns(conn: &mut SqliteConnection, table: &str) -> Vec<(String, String)> {
    query_as("SELECT name, type FROM pragma_table_info($1)").bind(table).fetch_all(conn).await.unwrap()
}

async fn tables(conn: &mut SqliteConnection) -> Vec<String> {
    let names: Vec<(String,)> = query_as(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'
        AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND name <> 'instance' ORDER BY name",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    names.into_iter().map(|(name,)| name).collect()
}

/// One more row in every table, its values made from the names and types of the columns; what refers to another table
/// refers to the row that was made there.
async fn fill(conn: &mut SqliteConnection) {
    conn.execute("PRAGMA foreign_keys = OFF").await.unwrap();
    for table in tables(conn).await {
        let references: BTreeMap<String, (String, String)> = query_as::<_, (String, String, String)>(
            "SELECT \"from\", \"table\", \"to\" FROM pragma_foreign_key_list($1)",
        )
        .bind(&table)
        .fetch_all(&mut *conn)
        .await
        .unwrap()
        .into_iter()
        .map(|(from, to, column)| (from, (to, column)))
        .collect();
        let columns = columns(conn, &table).await;
        let value = |(name, kind): &(String, String)| {
            let (table, name) = references.get(name).map_or((table.as_str(), name.as_str()), |(t, n)| (t, n));
            match kind.as_str() {
                "INTEGER" => "4611686018427387905".to_owned(),
                "BLOB" => "x'00ff27'".to_owned(),
                _ => format!("'{table} {name} ''\"\\ ä 😀 \t\n'"),
            }
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let insert = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "));
        conn.execute(AssertSqlSafe(insert)).await.unwrap();
    }
    let broken: Vec<(String,)> =
        query_as("SELECT \"table\" FROM pragma_foreign_key_check").fetch_all(conn).await.unwrap();
    assert!(broken.is_empty(), "{broken:?}");
}

/// Every row of every table as text, in any order.
async fn dump(file: &Path) -> BTreeMap<String, Vec<String>> {
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let mut dump = BTreeMap::new();
    for table in tables(&mut conn).await {
        let quoted: Vec<String> = columns(&mut conn, &table)
            .await
            .into_iter()
            .filter(|(name, _)| (table.as_str(), name.as_str()) != ("revocation", "txid"))
            .map(|(name, _)| format!("quote({name})"))
            .collect();
        let select = format!("SELECT {} FROM {table}", quoted.join(" || ' ' || "));
        let mut rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(&mut conn).await.unwrap();
        // What the move itself has left on one side only.
        rows.retain(|row| !row.contains("database.move") && !row.contains("'move."));
        rows.sort();
        dump.insert(table, rows);
    }
    dump
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_every_table_arrives_on_the_other_database_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("authd.db");
    let stores = open(options(&format!("sqlite:{}", file.display()))).await.unwrap();
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    fill(&mut conn).await;
    conn.close().await.unwrap();
    let before = dump(&file).await;
    assert!(before.len() > 10 && before.values().all(|rows| !rows.is_empty()), "{before:?}");
    let url = Postgres::shared().await.create_database().await;
    let events = MoveEvents { begun: event(), arrived: event(), left: event() };
    let upkeep = stores.upkeep(dir.path());
    let moved = upkeep.move_to(&Secret::new(url.clone()), events, Arc::new(Patient)).await.unwrap();
    assert_eq!(moved.rows.len(), before.len());
    let there = open(options(&url)).await.unwrap();
    let mut copy = there.upkeep(dir.path()).copy(Arc::new(Patient)).await.unwrap();
    let mut bytes = Vec::new();
    copy.file.read_to_end(&mut bytes).unwrap();
    let back = dir.path().join("back");
    std::fs::write(&back, bytes).unwrap();
    let after = dump(&back).await;
    for (table, rows) in &before {
        assert_eq!(after.get(table), Some(rows), "{table}");
    }
    // Numbers that the server gives go on behind those that were carried.
    let mut server = PgConnection::connect(&url).await.unwrap();
    let (next,): (i64,) =
        query_as("INSERT INTO revocation (session_id, at_ms, forget_ms) VALUES ('s', 1, 1) RETURNING seq")
            .fetch_one(&mut server)
            .await
            .unwrap();
    assert_eq!(next, 4_611_686_018_427_387_906);
    // And the guards are back.
    assert!(server.execute("DELETE FROM event").await.is_err());
    assert!(server.execute("TRUNCATE event").await.is_err());
}
