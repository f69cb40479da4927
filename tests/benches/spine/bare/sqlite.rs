//! Bare transactions and reads on SQLite: one writer that commits what waits in groups, and readers beside it.

use super::{Family, ROTATION, rotation};
use crate::load::{Caller, Crew, Outcome};
use sqlx::{
    ConnectOptions, Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::path::Path;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

/// Changes that share a commit at most, as in the daemon.
const GROUP: usize = 64;

struct Change {
    family: Family,
    done: oneshot::Sender<Family>,
}

/// Waits for one change after the other.
pub(crate) struct Rotator {
    family: Option<Family>,
    writer: mpsc::Sender<Change>,
}

impl Caller for Rotator {
    async fn call(&mut self) -> Outcome {
        let (done, committed) = oneshot::channel();
        let family = self.family.take().expect("the writer gives it back");
        self.writer.send(Change { family, done }).await.expect("the writer runs");
        self.family = Some(committed.await.expect("the writer runs"));
        Outcome::Good
    }
}

/// A database like that of the daemon with all its rows, in a file of its own.
pub(crate) async fn copy(database: &Path, to: &Path) {
    let mut conn = read(database).await;
    let copied = sqlx::query("VACUUM INTO $1").bind(to.to_str().expect("a path of ASCII")).execute(&mut conn).await;
    copied.expect("a database can be copied");
}

/// Callers that rotate rows of the copy, each its own, through one writer.
pub(crate) async fn rotators(runtime: &Handle, copy: &Path, count: usize) -> Crew<Rotator> {
    let options = SqliteConnectOptions::new()
        .filename(copy)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut conn = options.connect().await.expect("the copy opens");
    let rows = sqlx::query_as("SELECT handle, cur_hash FROM session ORDER BY id LIMIT $1").bind(count as i64);
    let families: Vec<(Vec<u8>, Vec<u8>)> = rows.fetch_all(&mut conn).await.expect("the copy has sessions");
    let (writer, inbox) = mpsc::channel(1_024);
    runtime.spawn(write(conn, inbox));
    let rotator = |row| Rotator { family: Some(Family::new(row)), writer: writer.clone() };
    Crew::on(runtime.clone(), families.into_iter().map(rotator).collect())
}

async fn write(mut conn: SqliteConnection, mut inbox: mpsc::Receiver<Change>) {
    let statement: &'static str = format!("UPDATE session {ROTATION}").leak();
    let mut group = Vec::with_capacity(GROUP);
    while inbox.recv_many(&mut group, GROUP).await > 0 {
        commit(&mut conn, statement, &mut group).await.expect("the bare transaction works");
        for change in group.drain(..) {
            let _ = change.done.send(change.family);
        }
    }
    conn.close().await.expect("the copy closes");
}

async fn commit(conn: &mut SqliteConnection, statement: &'static str, group: &mut [Change]) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await?;
    for Change { family, .. } in group {
        sqlx::query("SAVEPOINT change").execute(&mut *conn).await?;
        let next = family.next();
        rotation!(statement, family, next).fetch_one(&mut *conn).await?;
        family.current = next;
        sqlx::query("RELEASE change").execute(&mut *conn).await?;
    }
    sqlx::query("COMMIT").execute(&mut *conn).await.map(|_| ())
}

/// Reads of one account.
pub(crate) struct Reader {
    conn: SqliteConnection,
    statement: &'static str,
    account: String,
}

impl Caller for Reader {
    async fn call(&mut self) -> Outcome {
        let rows = sqlx::query(self.statement).bind(self.account.as_str()).fetch_all(&mut self.conn).await;
        assert!(!rows.expect("the bare read works").is_empty(), "the account has rows");
        Outcome::Good
    }
}

/// Callers that read the profile or the sessions of these accounts from the daemon's own file.
pub(crate) async fn readers(
    runtime: &Handle,
    database: &Path,
    statement: &'static str,
    accounts: &[String],
) -> Crew<Reader> {
    let mut callers = Vec::new();
    for account in accounts {
        callers.push(Reader { conn: read(database).await, statement, account: account.clone() });
    }
    Crew::on(runtime.clone(), callers)
}

/// Events that the daemon has not sealed yet.
pub(crate) async fn unsealed(database: &Path) -> i64 {
    let query = sqlx::query_scalar("SELECT count(*) FROM event WHERE seq IS NULL");
    query.fetch_one(&mut read(database).await).await.expect("the database answers")
}

/// The library's version.
pub(crate) async fn version() -> String {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.expect("a database in memory");
    sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut conn).await.expect("the database answers")
}

async fn read(database: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(database).read_only(true).disable_statement_logging();
    options.connect().await.expect("the daemon's database can be read")
}
