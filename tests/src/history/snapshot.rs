//! What a daemon's database holds, read in one transaction from outside.

use crate::{daemon::Daemon, options::Database};
use sqlx::{
    Connection, Executor, FromRow, PgConnection, SqliteConnection,
    postgres::PgRow,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

const EVENTS: &str = "SELECT seq, hash, id, at_ms, action, outcome, reason, actor_kind, actor_id, actor_uid,
    actor_login_uid, actor_pid, target_kind, target_id, network, device, request_id, detail, tenant_id, mac FROM event";
const SESSIONS: &str = "SELECT session.id, account_id, generation, revoked_ms, retries,
    (SELECT count(*) FROM revocation WHERE revocation.session_id = session.id) AS fed FROM session";
const ACCOUNTS: &str = "SELECT account.id, epoch, disabled_ms,
    (SELECT count(*) FROM credential WHERE credential.account_id = account.id) AS passwords,
    (SELECT count(*) FROM identifier WHERE identifier.account_id = account.id) AS names FROM account";
const HEAD: &str = "SELECT seq, hash FROM chain_head WHERE name = 'audit'";

/// An event as it is stored.
#[derive(Debug, Clone, FromRow)]
pub(super) struct EventRow {
    pub(super) seq: Option<i64>,
    pub(super) hash: Option<Vec<u8>>,
    pub(super) id: String,
    pub(super) at_ms: i64,
    pub(super) action: String,
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
    pub(super) actor_kind: String,
    pub(super) actor_id: Option<String>,
    pub(super) actor_uid: Option<i64>,
    pub(super) actor_login_uid: Option<i64>,
    pub(super) actor_pid: Option<i64>,
    pub(super) target_kind: Option<String>,
    pub(super) target_id: Option<String>,
    pub(super) network: Option<String>,
    pub(super) device: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) detail: String,
    pub(super) tenant_id: String,
    pub(super) mac: Vec<u8>,
}

/// A session as it is stored.
#[derive(Debug, Clone, FromRow)]
pub(super) struct SessionRow {
    pub(super) id: String,
    pub(super) account_id: String,
    pub(super) generation: i64,
    pub(super) revoked_ms: Option<i64>,
    pub(super) retries: i64,
    /// How many revocations other instances hear of.
    pub(super) fed: i64,
}

/// An account as it is stored.
#[derive(Debug, Clone, FromRow)]
pub(super) struct AccountRow {
    pub(super) id: String,
    pub(super) epoch: i64,
    pub(super) disabled_ms: Option<i64>,
    pub(super) passwords: i64,
    pub(super) names: i64,
}

/// The end of the chain.
#[derive(Debug, Clone, FromRow)]
pub(super) struct HeadRow {
    pub(super) seq: i64,
    pub(super) hash: Vec<u8>,
}

/// All of it at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) events: Vec<EventRow>,
    pub(super) sessions: Vec<SessionRow>,
    pub(super) accounts: Vec<AccountRow>,
    pub(super) head: HeadRow,
}

/// A connection of the test's own.
pub(super) enum Reader {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Reader {
    pub(super) async fn open(daemon: &Daemon) -> Self {
        match daemon.database() {
            Database::Sqlite => {
                let options = SqliteConnectOptions::new().filename(daemon.data_dir().join("authd.db"));
                let connection = SqliteConnection::connect_with(&options.read_only(true)).await;
                Self::Sqlite(connection.expect("its database is there"))
            }
            Database::Postgres(url) => Self::Postgres(PgConnection::connect(url).await.expect("its database is there")),
        }
    }

    async fn execute(&mut self, sqlite: &'static str, postgres: &'static str) {
        match self {
            Self::Sqlite(connection) => connection.execute(sqlite).await.map(drop),
            Self::Postgres(connection) => connection.execute(postgres).await.map(drop),
        }
        .expect("a transaction that reads");
    }

    async fn all<T>(&mut self, query: &'static str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        match self {
            Self::Sqlite(connection) => sqlx::query_as(query).fetch_all(connection).await,
            Self::Postgres(connection) => sqlx::query_as(query).fetch_all(connection).await,
        }
        .expect("a query that the schema answers")
    }

    /// How many events there are, and how many of them have no place yet.
    pub(super) async fn events(&mut self) -> (i64, i64) {
        let counted = self.all("SELECT count(*), count(*) - count(seq) FROM event").await;
        counted.into_iter().next().unwrap_or_default()
    }

    pub(super) async fn snapshot(&mut self) -> Snapshot {
        self.execute("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
        let snapshot = Snapshot {
            events: self.all(EVENTS).await,
            sessions: self.all(SESSIONS).await,
            accounts: self.all(ACCOUNTS).await,
            head: self.all(HEAD).await.into_iter().next().expect("the chain has a head"),
        };
        self.execute("COMMIT", "COMMIT").await;
        snapshot
    }
}
