//! A hand in the database: what its owner, or a superuser, can do to the audit log once the triggers are out of the
//! way.

use super::mutation::operator;
use shared::{
    chain::{Entry, export::Line},
    hex,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use std::path::Path;
use tests::{clock::SeededRandom, inprocess::InProcess};

const TABLES: [&str; 5] = ["event", "checkpoint", "tombstone", "audit_key", "chain_head"];

/// The columns of a table that can be changed, and what is in them.
const EVENT: &[(&str, Kind)] = &[
    ("id", Kind::Text),
    ("tenant_id", Kind::Tenant),
    ("seq", Kind::Number),
    ("hash", Kind::Bytes),
    ("at_ms", Kind::Number),
    ("action", Kind::Text),
    ("outcome", Kind::Text),
    ("reason", Kind::Text),
    ("actor_kind", Kind::Text),
    ("actor_id", Kind::Text),
    ("actor_uid", Kind::Number),
    ("actor_login_uid", Kind::Number),
    ("actor_pid", Kind::Number),
    ("target_kind", Kind::Text),
    ("target_id", Kind::Text),
    ("network", Kind::Text),
    ("device", Kind::Text),
    ("request_id", Kind::Text),
    ("detail", Kind::Text),
    ("mac", Kind::Bytes),
];
const CHECKPOINT: &[(&str, Kind)] = &[
    ("number", Kind::Key),
    ("tenant_id", Kind::Tenant),
    ("seq", Kind::Number),
    ("hash", Kind::Bytes),
    ("at_ms", Kind::Number),
    ("anchored_seq", Kind::Number),
    ("key_id", Kind::Text),
    ("signature", Kind::Bytes),
];
const TOMBSTONE: &[(&str, Kind)] = &[
    ("number", Kind::Number),
    ("tenant_id", Kind::Tenant),
    ("from_seq", Kind::Number),
    ("up_to_seq", Kind::Number),
    ("hash", Kind::Bytes),
    ("purged", Kind::Number),
    ("checkpoint", Kind::Number),
    ("cut_off_ms", Kind::Number),
    ("at_ms", Kind::Number),
    ("key_id", Kind::Text),
    ("signature", Kind::Bytes),
];
const KEY: &[(&str, Kind)] = &[
    ("id", Kind::Text),
    ("tenant_id", Kind::Tenant),
    ("public", Kind::Bytes),
    ("created_ms", Kind::Number),
    ("mac", Kind::Bytes),
];
const HEAD: &[(&str, Kind)] =
    &[("name", Kind::Text), ("tenant_id", Kind::Tenant), ("seq", Kind::Number), ("hash", Kind::Bytes)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    /// A number that no two rows share.
    Key,
    Bytes,
    Tenant,
}

/// A connection with every right.
pub(super) enum Tamper {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Tamper {
    pub(super) async fn sqlite(path: &Path) -> Self {
        let mut tamper = Self::Sqlite(SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap());
        for trigger in tamper.column("SELECT name FROM sqlite_schema WHERE type = 'trigger'").await {
            tamper.run(&format!("DROP TRIGGER {trigger}")).await;
        }
        tamper.unguard().await;
        tamper
    }

    pub(super) async fn postgres(url: &str) -> Self {
        let mut tamper = Self::Postgres(PgConnection::connect(url).await.unwrap());
        for table in TABLES {
            tamper.run(&format!("ALTER TABLE {table} DISABLE TRIGGER ALL")).await;
        }
        tamper.unguard().await;
        tamper
    }

    async fn unguard(&mut self) {
        self.run("DROP INDEX event_seq").await;
        self.run("INSERT INTO tenant (id, created_ms) VALUES ('other', 0)").await;
    }

    /// Rows that changed.
    pub(super) async fn run(&mut self, sql: &str) -> u64 {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        let done = match self {
            Self::Sqlite(conn) => conn.execute(query).await.map(|done| done.rows_affected()),
            Self::Postgres(conn) => {
                let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
                conn.execute(query).await.map(|done| done.rows_affected())
            }
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first column, as text.
    async fn column(&mut self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(conn) => sqlx::query_scalar(sql).fetch_all(conn).await.unwrap(),
            Self::Postgres(conn) => sqlx::query_scalar(sql).fetch_all(conn).await.unwrap(),
        }
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        match self {
            Self::Sqlite(_) => format!("X'{}'", hex::encode(bytes)),
            Self::Postgres(_) => format!("'\\x{}'::bytea", hex::encode(bytes)),
        }
    }

    /// Remembers the log as it is.
    pub(super) async fn save(&mut self) {
        for table in TABLES {
            self.run(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}")).await;
        }
    }

    /// Puts it back.
    pub(super) async fn restore(&mut self) {
        for table in TABLES {
            self.run(&format!("DELETE FROM {table}")).await;
            self.run(&format!("INSERT INTO {table} SELECT * FROM saved_{table}")).await;
        }
    }

    /// The database says that it has not come as far.
    pub(super) async fn set_back(&mut self) {
        self.run("UPDATE chain_head SET seq = seq - 1").await;
    }

    /// An event that no sealer gave this place.
    pub(super) async fn put_event_at(&mut self, seq: i64) {
        let bytes = self.bytes(&[7; 32]);
        self.run(&format!(
            "INSERT INTO event (id, seq, hash, at_ms, action, outcome, actor_kind, detail, mac)
            VALUES ('evt_x', {seq}, {bytes}, 1, 'login.succeeded', 'ok', 'anonymous', '[]', {bytes})"
        ))
        .await;
    }

    /// A checkpoint of the far future that nobody signed.
    pub(super) async fn put_checkpoint(&mut self, number: i64) {
        let bytes = self.bytes(&[7; 32]);
        self.run(&format!(
            "INSERT INTO checkpoint (number, seq, hash, at_ms, anchored_seq, key_id, signature)
            VALUES ({number}, {}, {bytes}, {}, 0, 'aud_x', {bytes})",
            i64::MAX,
            i64::MAX
        ))
        .await;
    }

    /// A tombstone that nobody signed, over everything up to `seq`.
    pub(super) async fn put_tombstone(&mut self, seq: i64) {
        let bytes = self.bytes(&[7; 32]);
        self.run(&format!(
            "INSERT INTO tombstone (number, from_seq, up_to_seq, hash, purged, checkpoint, cut_off_ms, at_ms, key_id,
            signature) VALUES (1, 1, {seq}, {bytes}, {seq}, 1, 1, 1, 'aud_x', {bytes})"
        ))
        .await;
    }

    pub(super) async fn forget_jobs(&mut self) {
        self.run("DELETE FROM job_run").await;
    }

    async fn seqs(&mut self) -> Vec<i64> {
        let seqs = self.column("SELECT CAST(seq AS TEXT) FROM event WHERE seq IS NOT NULL ORDER BY seq").await;
        seqs.iter().map(|seq| seq.parse().unwrap()).collect()
    }
}

/// Changes one thing; says what.
pub(super) async fn mutate(tamper: &mut Tamper, app: &InProcess, random: &SeededRandom) -> String {
    let seqs = tamper.seqs().await;
    let seq = seqs[random.below(seqs.len())];
    let row = format!("seq = {seq}");
    match random.below(16) {
        0..=5 => edit(tamper, random, ("event", EVENT), &row).await,
        6 => edit_one_of(tamper, random, ("checkpoint", CHECKPOINT), "number").await,
        7 => edit_one_of(tamper, random, ("tombstone", TOMBSTONE), "number").await,
        8 => edit_one_of(tamper, random, ("audit_key", KEY), "id").await,
        9 => edit_one_of(tamper, random, ("chain_head", HEAD), "name").await,
        10 => delete(tamper, random, &row).await,
        11 => insert(tamper, random, seq).await,
        12 => swap(tamper, random, seq, &seqs).await,
        13 => truncate(tamper, random, &seqs).await,
        14 => chain_again(tamper, app, seq).await,
        _ => insert_beside(tamper, random).await,
    }
}

async fn edit(tamper: &mut Tamper, random: &SeededRandom, of: (&str, &[(&str, Kind)]), row: &str) -> String {
    let (table, columns) = of;
    let (column, kind) = columns[random.below(columns.len())];
    let value = match kind {
        Kind::Text => format!("COALESCE({column}, '') || '{}'", ["x", " ", "0"][random.below(3)]),
        Kind::Number => format!("COALESCE({column}, 0) + {}", [1, -1, 1_000_000][random.below(3)]),
        Kind::Key => format!("{column} + 1000000"),
        Kind::Bytes => tamper.bytes(&[vec![7; 32], vec![0; 32], Vec::new(), vec![1; 64]][random.below(4)]),
        Kind::Tenant => "'other'".to_owned(),
    };
    let sql = format!("UPDATE {table} SET {column} = {value} WHERE {row}");
    assert_eq!(tamper.run(&sql).await, 1, "{sql}");
    sql
}

async fn edit_one_of(tamper: &mut Tamper, random: &SeededRandom, of: (&str, &[(&str, Kind)]), key: &str) -> String {
    let keys = tamper.column(&format!("SELECT CAST({key} AS TEXT) FROM {} ORDER BY {key}", of.0)).await;
    let row = format!("CAST({key} AS TEXT) = '{}'", keys[random.below(keys.len())]);
    edit(tamper, random, of, &row).await
}

async fn delete(tamper: &mut Tamper, random: &SeededRandom, row: &str) -> String {
    let last = "number = (SELECT max(number) FROM checkpoint)";
    let first = "number = (SELECT min(number) FROM checkpoint)";
    let sql = [
        format!("DELETE FROM event WHERE {row}"),
        "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)".to_owned(),
        "DELETE FROM event WHERE seq = (SELECT min(seq) FROM event)".to_owned(),
        format!("UPDATE event SET seq = NULL, hash = NULL WHERE {row}"),
        format!("UPDATE event SET hash = NULL WHERE {row}"),
        format!("DELETE FROM checkpoint WHERE {last}"),
        format!("DELETE FROM checkpoint WHERE {first}"),
        "DELETE FROM tombstone".to_owned(),
        "DELETE FROM audit_key".to_owned(),
        "DELETE FROM chain_head".to_owned(),
    ][random.below(10)]
    .clone();
    assert_eq!(tamper.run(&sql).await, 1, "{sql}");
    sql
}

/// A copy of an event under another id: before the beginning, at a place that is taken, at the end, or without one.
async fn insert(tamper: &mut Tamper, random: &SeededRandom, seq: i64) -> String {
    let place = ["0", "-7", "1", "seq", "(SELECT max(seq) + 1 FROM event)", "NULL"][random.below(6)];
    let columns: Vec<&str> = EVENT.iter().map(|(column, _)| *column).filter(|column| *column != "id").collect();
    let values: Vec<&str> = columns.iter().map(|column| if *column == "seq" { place } else { *column }).collect();
    let sql = format!(
        "INSERT INTO event (id, {}) SELECT id || 'x', {} FROM event WHERE seq = {seq}",
        columns.join(", "),
        values.join(", ")
    );
    assert_eq!(tamper.run(&sql).await, 1, "{sql}");
    sql
}

async fn insert_beside(tamper: &mut Tamper, random: &SeededRandom) -> String {
    let bytes = tamper.bytes(&[5; 32]);
    let sql = [
        "INSERT INTO checkpoint (number, seq, hash, at_ms, anchored_seq, key_id, signature)
            SELECT number + 1, seq + 1, hash, at_ms, anchored_seq, key_id, signature FROM checkpoint
            WHERE number = (SELECT max(number) FROM checkpoint)"
            .to_owned(),
        "INSERT INTO tombstone (number, from_seq, up_to_seq, hash, purged, checkpoint, cut_off_ms, at_ms, key_id, signature)
            SELECT number + 1, up_to_seq + 1, up_to_seq + 2, hash, 2, checkpoint, cut_off_ms, at_ms, key_id, signature
            FROM tombstone"
            .to_owned(),
        format!("INSERT INTO audit_key (id, public, created_ms, mac) VALUES ('aud_x', {bytes}, 1, {bytes})"),
    ][random.below(3)]
    .clone();
    assert_eq!(tamper.run(&sql).await, 1, "{sql}");
    sql
}

/// Two events change places, with their hashes or without.
async fn swap(tamper: &mut Tamper, random: &SeededRandom, one: i64, seqs: &[i64]) -> String {
    let other = seqs.iter().copied().find(|seq| *seq > one).unwrap_or(seqs[0]);
    let with_hash = random.below(2) == 0;
    let hash = |seq: i64| {
        if with_hash { format!(", hash = (SELECT hash FROM saved_event WHERE seq = {seq})") } else { String::new() }
    };
    tamper.run(&format!("UPDATE event SET seq = -1 WHERE seq = {one}")).await;
    tamper.run(&format!("UPDATE event SET seq = {one}{} WHERE seq = {other}", hash(one))).await;
    tamper.run(&format!("UPDATE event SET seq = {other}{} WHERE seq = -1", hash(other))).await;
    format!("events {one} and {other} change places, with_hash={with_hash}")
}

/// The end is cut off, and everything that speaks of it.
async fn truncate(tamper: &mut Tamper, random: &SeededRandom, seqs: &[i64]) -> String {
    let seq = seqs[random.below(seqs.len() - 1)];
    tamper.run(&format!("DELETE FROM event WHERE seq > {seq}")).await;
    tamper.run(&format!("DELETE FROM checkpoint WHERE seq > {seq}")).await;
    let hash = format!("(SELECT hash FROM event WHERE seq = {seq})");
    tamper.run(&format!("UPDATE chain_head SET seq = {seq}, hash = {hash}")).await;
    format!("everything after event {seq} is gone")
}

/// An event goes, and the chain is made anew without it: hashes need no key.
async fn chain_again(tamper: &mut Tamper, app: &InProcess, gone: i64) -> String {
    let mut entries = stored(app).await;
    let before = entries.iter().position(|entry| entry.seq == Some(gone)).unwrap();
    entries.remove(before);
    tamper.run(&format!("DELETE FROM event WHERE seq = {gone}")).await;
    let previous = match before.checked_sub(1) {
        Some(at) => entries[at].hash.clone().unwrap(),
        None => hex::decode(&tamper.column(&hash_of_tombstone(tamper)).await[0]).unwrap(),
    };
    let (mut hash, mut seq) = (previous, gone);
    for entry in &entries[before..] {
        hash = entry.fields().link(&hash, seq, &entry.mac).to_vec();
        let bytes = tamper.bytes(&hash);
        tamper.run(&format!("UPDATE event SET seq = {seq}, hash = {bytes} WHERE id = '{}'", entry.id)).await;
        seq += 1;
    }
    let bytes = tamper.bytes(&hash);
    tamper.run(&format!("UPDATE chain_head SET seq = {}, hash = {bytes}", seq - 1)).await;
    format!("event {gone} is gone, and the chain was made anew")
}

fn hash_of_tombstone(tamper: &Tamper) -> String {
    match tamper {
        Tamper::Sqlite(_) => "SELECT lower(hex(hash)) FROM tombstone".to_owned(),
        Tamper::Postgres(_) => "SELECT encode(hash, 'hex') FROM tombstone".to_owned(),
    }
}

async fn stored(app: &InProcess) -> Vec<Entry> {
    let mut export = app.daemon.auth.begin_export(&operator(), None).await.unwrap();
    let mut entries = Vec::new();
    loop {
        let lines = export.next(&app.daemon.auth).await.unwrap();
        if lines.is_empty() {
            return entries;
        }
        entries.extend(lines.into_iter().filter_map(|line| match line {
            Line::Event(event) => Some(Entry::from(*event)),
            _ => None,
        }));
    }
}
