//! Both migrations make the same tables, and the database itself guards the audit log.

use super::World;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use std::collections::BTreeSet;

type Columns = BTreeSet<(String, String)>;

async fn sqlite(world: &World) -> SqliteConnection {
    SqliteConnection::connect(&world.url).await.unwrap()
}

async fn postgres(world: &World) -> PgConnection {
    PgConnection::connect(&world.url).await.unwrap()
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let (small, large) = (World::sqlite_file().await, World::postgres().await);
    let sqlite: Vec<(String, String)> = sqlx::query_as(
        "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\'",
    )
    .fetch_all(&mut sqlite(&small).await)
    .await
    .unwrap();
    let postgres: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'",
    )
    .fetch_all(&mut postgres(&large).await)
    .await
    .unwrap();
    let (sqlite, postgres): (Columns, Columns) = (sqlite.into_iter().collect(), postgres.into_iter().collect());
    assert!(sqlite.len() > 100);
    assert_eq!(sqlite, postgres);
    let tables: BTreeSet<&str> = sqlite.iter().map(|(table, _)| table.as_str()).collect();
    for table in tables.into_iter().filter(|table| *table != "tenant") {
        assert!(sqlite.contains(&(table.to_owned(), "tenant_id".to_owned())), "{table}");
    }
}

#[tokio::test]
async fn both_directories_hold_the_same_migrations() {
    let names = |kind: &str| -> BTreeSet<_> {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(kind);
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

/// What a refresh from where the last one came from, or an end, never changes.
const STEADY: [&str; 6] = ["id", "handle", "account_id", "created_ms", "(expires_ms + 0)", "network"];

#[tokio::test]
async fn no_index_has_what_a_refresh_or_an_end_of_a_session_changes() {
    let (small, large) = (World::sqlite_file().await, World::postgres().await);
    let sqlite: Vec<(String, String)> = sqlx::query_as(
        "SELECT i.name, COALESCE(c.name, substr(s.sql, instr(s.sql, '(')))
            FROM pragma_index_list('session') i, pragma_index_info(i.name) c
            LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = i.name
        UNION ALL SELECT i.name, 'a condition' FROM pragma_index_list('session') i WHERE i.partial = 1",
    )
    .fetch_all(&mut sqlite(&small).await)
    .await
    .unwrap();
    let postgres: Vec<(String, String)> = sqlx::query_as(
        "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid, k.n, true) FROM pg_index i
            CROSS JOIN generate_series(1, i.indnatts) AS k (n)
            WHERE i.indrelid = 'session'::regclass
        UNION ALL SELECT i.indexrelid::regclass::text, 'a condition' FROM pg_index i
            WHERE i.indrelid = 'session'::regclass AND i.indpred IS NOT NULL",
    )
    .fetch_all(&mut postgres(&large).await)
    .await
    .unwrap();
    for columns in [sqlite, postgres] {
        assert!(columns.len() > 8, "{columns:?}");
        for (index, column) in columns {
            assert!(STEADY.contains(&column.as_str()), "{index}: {column}");
        }
    }
}

const FORBIDDEN: [&str; 5] = [
    "UPDATE event SET reason = 'x'",
    "UPDATE event SET seq = 7, hash = hash, reason = 'x'",
    "UPDATE event SET seq = NULL, hash = NULL",
    "UPDATE event SET seq = 9",
    "DELETE FROM event",
];

#[tokio::test]
async fn a_sealed_event_can_be_neither_changed_nor_deleted() {
    use authd::domain::audit::Action;
    for world in [World::sqlite_file().await, World::postgres().await] {
        world.stores.audit.append(vec![world.event(Action::AuditRead)]).await.unwrap();
        assert_eq!(world.stores.audit.seal(10).await.unwrap().count, 1);
        let before = world.stores.audit.after(0, 10).await.unwrap();
        for statement in FORBIDDEN {
            let refused = if world.dir.is_some() {
                sqlite(&world).await.execute(statement).await.map(|_| ())
            } else {
                postgres(&world).await.execute(statement).await.map(|_| ())
            };
            let message = refused.expect_err(statement).to_string();
            assert!(message.contains("an event is"), "{statement}: {message}");
        }
        assert_eq!(world.stores.audit.after(0, 10).await.unwrap(), before);
    }
    let large = World::postgres().await;
    assert!(postgres(&large).await.execute("TRUNCATE event").await.is_err());
}

/// Rows that prove something, and what nobody may do with them; `1` is true in both databases.
const PROOFS: [&str; 10] = [
    "UPDATE checkpoint SET at_ms = 2",
    "DELETE FROM checkpoint",
    "UPDATE tombstone SET at_ms = 2",
    "DELETE FROM tombstone",
    "UPDATE audit_key SET created_ms = 2",
    "DELETE FROM audit_key",
    "UPDATE checkpoint SET number = number + 1",
    "UPDATE tombstone SET up_to_seq = 99",
    "UPDATE audit_key SET mac = public",
    "DELETE FROM event",
];

#[tokio::test]
async fn what_proves_the_log_can_be_neither_changed_nor_deleted() {
    use authd::domain::audit::Action;
    const ROWS: [&str; 3] = [
        "INSERT INTO checkpoint (number, seq, hash, at_ms, anchored_seq, key_id, signature)
            SELECT 7, 1, hash, 1, 0, 'k', hash FROM chain_head",
        "INSERT INTO tombstone (number, from_seq, up_to_seq, hash, purged, checkpoint, cut_off_ms, at_ms, key_id, signature)
            SELECT 1, 0, 0, hash, 0, 6, 1, 1, 'k', hash FROM chain_head",
        "INSERT INTO audit_key (id, public, created_ms, mac) SELECT 'k', hash, 1, hash FROM chain_head",
    ];
    for world in [World::sqlite_file().await, World::postgres().await] {
        world.stores.audit.append(vec![world.event(Action::AuditRead)]).await.unwrap();
        assert_eq!(world.stores.audit.seal(10).await.unwrap().count, 1);
        let is_sqlite = world.dir.is_some();
        for statement in ROWS.iter().chain(&PROOFS) {
            let done = if is_sqlite {
                sqlite(&world).await.execute(*statement).await.map(|_| ())
            } else {
                postgres(&world).await.execute(*statement).await.map(|_| ())
            };
            assert_eq!(done.is_ok(), ROWS.contains(statement), "{statement}: {done:?}");
        }
    }
    let large = World::postgres().await;
    for table in ["checkpoint", "tombstone", "audit_key"] {
        let statement = sqlx::AssertSqlSafe(format!("TRUNCATE {table}"));
        assert!(postgres(&large).await.execute(sqlx::query(statement)).await.is_err(), "{table}");
    }
}

#[tokio::test]
async fn an_unsealed_event_can_only_be_sealed() {
    use authd::domain::audit::Action;
    for world in [World::sqlite_file().await, World::postgres().await] {
        world.stores.audit.append(vec![world.event(Action::AuditRead)]).await.unwrap();
        for statement in ["UPDATE event SET reason = 'x'", "UPDATE event SET seq = 1", "DELETE FROM event"] {
            let refused = if world.dir.is_some() {
                sqlite(&world).await.execute(statement).await.map(|_| ())
            } else {
                postgres(&world).await.execute(statement).await.map(|_| ())
            };
            assert!(refused.is_err(), "{statement}");
        }
    }
}
