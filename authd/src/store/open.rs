//! Opening the database: which one, waiting for it, bringing its schema up to date.

use crate::{
    domain::{
        breaker::BreakerSettings,
        chain::Notary,
        circuit::Circuit,
        clock::{Clock, OsRandom, Random, SystemClock},
        outage::Outages,
    },
    store::{
        Stores,
        db::{Backend, Context, Db},
        dialect::word,
        patience::{Failure, NeverCame, until_there},
        postgres::Server,
        sqlite_writer::{Kept, Writer},
    },
};
use sqlx::{
    ConnectOptions, Connection, PgPool, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fmt,
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicI64},
    time::Duration,
};
use tokio::time::Instant;

pub(super) static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
pub(super) static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");

/// Connections that read SQLite beside its writer.
const READERS: u32 = 4;
/// How long a look at a file may wait for its disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// A connection that was idle longer, or since before storage last failed, is asked whether it still works before it
/// is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How far the database has come (R13).
const SEEN: &str =
    concat!("SELECT chain_head.seq, ", word!(postgres EPOCH), " FROM chain_head WHERE chain_head.name = 'audit'");

/// Where the data is and how long to wait for it.
#[derive(Clone)]
pub struct StoreOptions {
    /// `sqlite:PATH`, `sqlite::memory:` or `postgres://…`.
    pub url: String,
    /// Connections to PostgreSQL; SQLite has one writer and four readers.
    pub max_connections: u32,
    /// How long a call waits for a connection.
    pub acquire_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// How long to wait at start for a database that is not there yet.
    pub start_timeout: Duration,
    /// How long an ended session is remembered for verifiers, in milliseconds: the longest access token plus twice the
    /// allowed difference of clocks.
    pub revocation_keep_ms: i64,
    /// Refuses calls while the database is away.
    pub circuit: Arc<Circuit>,
    /// Makes the MACs of events, where its key is known already; see [`Stores::entrust`].
    pub notary: Option<Arc<dyn Notary>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.write_str("StoreOptions(…)")
    }
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL names no database that authd knows.
    #[error("the database URL is not usable: {0}")]
    BadUrl(String),
    /// The database did not answer before `start_timeout`.
    #[error("the database did not come up in time: {0}")]
    NeverCame(String),
    /// The schema was made by a newer version of the program.
    #[error("the schema of the database (migration {version}) is newer than this program; run the newer authd")]
    NewerSchema {
        /// The first migration that this program does not have.
        version: i64,
    },
    /// The schema could not be brought up to date.
    #[error("the schema of the database cannot be brought up to date: {0}")]
    Migration(String),
}

impl From<NeverCame> for OpenError {
    fn from(NeverCame(cause): NeverCame) -> Self {
        Self::NeverCame(cause)
    }
}

impl From<sqlx::Error> for Failure<OpenError> {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Configuration(cause) => Self::Final(OpenError::BadUrl(cause.to_string())),
            other => Self::Transient(other.to_string()),
        }
    }
}

impl From<MigrateError> for Failure<OpenError> {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(version) => Self::Final(OpenError::NewerSchema { version }),
            MigrateError::Execute(cause) => cause.into(),
            other => Self::Final(OpenError::Migration(other.to_string())),
        }
    }
}

enum Place {
    Memory,
    File(PathBuf),
    Server(Box<PgConnectOptions>),
}

/// Opens the database and brings its schema up to date, waiting for it until `start_timeout`.
///
/// # Errors
/// [`OpenError`].
pub async fn open(options: StoreOptions) -> Result<Stores, OpenError> {
    let place = place(&options.url)?;
    let context = context(&options);
    let end = Instant::now() + options.start_timeout;
    let backend = until_there(end, || attempt(&place, &options, &context)).await?;
    Ok(Stores::on(Db::new(backend, context)))
}

fn context(options: &StoreOptions) -> Arc<Context> {
    Arc::new(Context {
        clock: options.clock.clone(),
        random: options.random.clone(),
        revocation_keep_ms: options.revocation_keep_ms,
        acquire_timeout: options.acquire_timeout,
        statement_timeout: options.statement_timeout,
        outages: Mutex::new(Outages::default()),
        lead_ms: Mutex::new(None),
        circuit: options.circuit.clone(),
        failed_ms: AtomicI64::new(i64::MIN),
        tally: Arc::default(),
        notary: options.notary.clone().map(OnceLock::from).unwrap_or_default(),
        guard: Arc::default(),
        writes: std::sync::RwLock::default(),
        held_until_ms: AtomicI64::new(i64::MIN),
    })
}

fn place(url: &str) -> Result<Place, OpenError> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::BadUrl(error.to_string()))?;
        return Ok(Place::Server(Box::new(options.application_name("authd").disable_statement_logging())));
    }
    let Some(path) = url.strip_prefix("sqlite:") else {
        return Err(OpenError::BadUrl("it begins with neither sqlite: nor postgres:".into()));
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    match path {
        "" => Err(OpenError::BadUrl("sqlite: needs the path of a file".into())),
        ":memory:" => Ok(Place::Memory),
        path if path.contains('?') => Err(OpenError::BadUrl("sqlite: takes a path and no parameters".into())),
        path => Ok(Place::File(PathBuf::from(path))),
    }
}

async fn attempt(place: &Place, options: &StoreOptions, context: &Arc<Context>) -> Result<Backend, Failure<OpenError>> {
    match place {
        Place::Server(server) => open_postgres(server, options, context).await.map(Server::new).map(Backend::Postgres),
        Place::Memory => {
            let sqlite = sqlite_options(options).in_memory(true);
            let mut conn = sqlite.connect().await?;
            migrate_sqlite(&mut conn).await?;
            let writer = Writer::start(conn, sqlite, Kept::InMemory, context.clone());
            Ok(Backend::Sqlite { writer, readers: None })
        }
        Place::File(path) => {
            create_private(path).map_err(|error| Failure::Transient(format!("{}: {error}", path.display())))?;
            let sqlite = sqlite_options(options)
                .filename(path)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full);
            let mut conn = sqlite.connect().await?;
            migrate_sqlite(&mut conn).await?;
            let readers = open_readers(sqlite.clone(), options).await?;
            let writer = Writer::start(conn, sqlite, Kept::InFile, context.clone());
            Ok(Backend::Sqlite { writer, readers: Some(readers) })
        }
    }
}

/// How to look at a file that nobody uses: nothing is written, neither into it nor beside it.
pub(super) fn look_at(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(file).read_only(true).immutable(true).disable_statement_logging()
}

/// A database that is only looked at, without the schema being touched.
pub(super) async fn read_only(file: &Path) -> Result<Db, sqlx::Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let breaker = BreakerSettings { failures: u32::MAX, window_ms: 1, open_for_ms: 1, half_open_max_calls: 1 };
    let options = StoreOptions {
        url: String::new(),
        max_connections: 1,
        acquire_timeout: PATIENCE,
        statement_timeout: PATIENCE,
        start_timeout: PATIENCE,
        revocation_keep_ms: 0,
        circuit: Arc::new(Circuit::new("file", breaker, clock.clone())),
        notary: None,
        clock,
        random: Arc::new(OsRandom),
    };
    let sqlite = look_at(file);
    let (conn, context) = (sqlite.connect().await?, context(&options));
    let readers = open_readers(sqlite.clone(), &options).await?;
    let writer = Writer::start(conn, sqlite, Kept::InFile, context.clone());
    Ok(Db::new(Backend::Sqlite { writer, readers: Some(readers) }, context))
}

fn sqlite_options(options: &StoreOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new().foreign_keys(true).busy_timeout(options.statement_timeout).disable_statement_logging()
}

async fn open_readers(sqlite: SqliteConnectOptions, options: &StoreOptions) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .connect_with(sqlite.read_only(true))
        .await
}

/// Makes the file readable by its owner alone; SQLite gives the files beside it the same mode.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Two daemons that start at once migrate one after the other: the schema changes inside one write transaction.
async fn migrate_sqlite(conn: &mut SqliteConnection) -> Result<(), Failure<OpenError>> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    SQLITE.run_direct(None, &mut *tx, false).await?;
    tx.commit().await?;
    Ok(())
}

async fn open_postgres(
    server: &PgConnectOptions,
    options: &StoreOptions,
    context: &Arc<Context>,
) -> Result<PgPool, Failure<OpenError>> {
    // Another instance may be migrating: its lock is waited for without the bounds of ordinary statements.
    let mut conn = server.connect().await?;
    POSTGRES.run_direct(None, &mut conn, false).await?;
    conn.close().await?;
    let statement_ms = options.statement_timeout.as_millis().to_string();
    let idle_ms = (options.statement_timeout + options.acquire_timeout).as_millis().saturating_mul(2).to_string();
    let bounded = server.clone().options([
        ("statement_timeout", statement_ms.as_str()),
        ("lock_timeout", statement_ms.as_str()),
        ("idle_in_transaction_session_timeout", idle_ms.as_str()),
    ]);
    let (context, guard) = (context.clone(), context.guard.clone());
    let pool = PgPoolOptions::new()
        .max_connections(options.max_connections.max(1))
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(move |conn, meta| {
            let healthy_ms = context
                .clock
                .monotonic_ms()
                .saturating_sub(context.failed_ms.load(std::sync::atomic::Ordering::Relaxed));
            let trusted = TRUSTED_IDLE.min(Duration::from_millis(u64::try_from(healthy_ms).unwrap_or(0)));
            Box::pin(async move {
                if meta.idle_for >= trusted {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |conn, _| {
            let guard = guard.clone();
            Box::pin(async move {
                let before = guard.seen();
                let seen: Option<(i64, i64)> = sqlx::query_as(SEEN).fetch_optional(conn).await?;
                if let Some((seq, epoch)) = seen {
                    guard.look(before, seq, epoch);
                }
                Ok(())
            })
        })
        .connect_with(bounded)
        .await?;
    Ok(pool)
}

/// A database for tests whose callers wait for a connection, and for a statement, as long as said.
#[cfg(test)]
pub(super) async fn for_test(url: &str, [acquire_timeout, statement_timeout]: [Duration; 2]) -> Db {
    use crate::domain::{
        breaker::BreakerSettings,
        clock::{OsRandom, SystemClock},
    };
    let breaker = BreakerSettings { failures: 5, window_ms: 10_000, open_for_ms: 5_000, half_open_max_calls: 1 };
    let options = StoreOptions {
        url: url.to_owned(),
        max_connections: 1,
        acquire_timeout,
        statement_timeout,
        start_timeout: Duration::from_secs(2),
        revocation_keep_ms: 1,
        circuit: Arc::new(Circuit::new("database", breaker, Arc::new(SystemClock))),
        notary: None,
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom),
    };
    let (place, context) = (place(url).unwrap(), context(&options));
    let Ok(backend) = attempt(&place, &options, &context).await else { panic!("it opens") };
    Db::new(backend, context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{db::Conn, dialect::on_tx};

    async fn pragma(db: &Db, name: &'static str) -> String {
        let value: Result<String, crate::domain::store_error::StoreError> = async {
            on_tx!(db, |tx| {
                let Conn::Sqlite(conn) = &mut tx.conn else { panic!("SQLite") };
                let text = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
                Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&mut **conn).await.unwrap())
            })
        }
        .await;
        value.unwrap()
    }

    #[tokio::test]
    async fn a_file_is_written_so_that_a_commit_outlasts_a_loss_of_power() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("authd.db").display());
        let db = for_test(&url, [Duration::from_secs(1), Duration::from_secs(2)]).await;
        for (name, wanted) in [("synchronous", "2"), ("journal_mode", "wal"), ("foreign_keys", "1")] {
            assert_eq!(pragma(&db, name).await, wanted, "{name}");
        }
    }
}
