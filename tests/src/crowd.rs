//! Many accounts and sessions at once, written into the database of a daemon by SQL: as many as no client could open.

use crate::{daemon::Daemon, options::Database};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, sqlite::SqliteConnectOptions};
use std::time::Duration;

/// Accounts among which the sessions are spread.
pub const ACCOUNTS: u64 = 1_000;
/// /24 networks among which they are spread: 200 in each of so many /16 of 10.0.0.0/8.
pub const WIDE: u64 = 20;
/// Sessions are opened one each so many milliseconds, the last one a minute ago.
pub const STEP_MS: u64 = 100;

/// Which sessions.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// How many; their numbers begin with 1, the oldest.
    pub sessions: u64,
    /// Of them, the oldest so many were seen with the device `Relic`.
    pub relics: u64,
    /// Of them, each so manieth has ended; 0: none.
    pub ended_each: u64,
}

/// The id of the session with this number.
#[must_use]
pub fn session_id(number: u64) -> String {
    format!("ses_0{number:025}")
}

/// The id of the account with this number, up to [`ACCOUNTS`].
#[must_use]
pub fn user_id(number: u64) -> String {
    format!("usr_0{number:025}")
}

/// The words in which the databases differ.
struct Words {
    now_ms: &'static str,
    pad: &'static str,
    handle: &'static str,
    hash: &'static str,
}

const SQLITE: Words = Words {
    now_ms: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    pad: "printf('%025d', {})",
    handle: "randomblob(16)",
    hash: "randomblob(32)",
};
const POSTGRES: Words = Words {
    now_ms: "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    pad: "lpad(({})::text, 25, '0')",
    handle: "decode(md5(i::text), 'hex')",
    hash: "sha256(i::text::bytea)",
};

impl Words {
    fn id(&self, prefix: &str, number: &str) -> String {
        format!("'{prefix}_0' || {}", self.pad.replace("{}", number))
    }

    fn statements(&self, crowd: Crowd) -> [String; 3] {
        let Crowd { sessions, relics, ended_each } = crowd;
        let (now, handle, hash) = (self.now_ms, self.handle, self.hash);
        let numbers =
            |count: u64| format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
        let (account, session) = (self.id("usr", "i"), self.id("ses", "i"));
        let owner = self.id("usr", &format!("i % {ACCOUNTS} + 1"));
        let day_ms: u64 = 24 * 3_600_000;
        let (idle_ms, absolute_ms) = (14 * day_ms, 90 * day_ms);
        let accounts =
            format!("INSERT INTO account (id, created_ms) {} SELECT {account}, {now} FROM n", numbers(ACCOUNTS));
        let names = format!(
            "INSERT INTO identifier (kind, canonical, display, account_id, created_ms, primary_ms) {}
            SELECT 'email', 'crowd' || i || '@example.org', 'crowd' || i || '@example.org', {account}, {now}, {now} FROM n",
            numbers(ACCOUNTS)
        );
        let ended = if ended_each == 0 { "FALSE".to_owned() } else { format!("i % {ended_each} = 0") };
        let rows = format!(
            "INSERT INTO session (id, account_id, handle, cur_hash, idle_expires_ms, expires_ms, epoch, transport, network,
                device, amr, created_ms, revoked_ms, end_reason) {}
            SELECT {session}, {owner}, {handle}, {hash}, {now} + {idle_ms}, {now} + {absolute_ms}, 0, 'body',
                '10.' || (i % {WIDE}) || '.' || (i / {WIDE} % 200) || '.0/24',
                CASE WHEN i <= {relics} THEN 'Relic' WHEN i % 3 = 0 THEN 'Safari on iOS' ELSE 'Firefox on Linux' END, 'pwd',
                {now} - 60000 - ({sessions} - i) * {STEP_MS}, CASE WHEN {ended} THEN {now} END,
                CASE WHEN {ended} THEN 'logout' END FROM n",
            numbers(sessions)
        );
        [accounts, names, rows]
    }
}

/// Sessions of one account that are over, written as if it had had them.
#[derive(Debug, Clone)]
pub struct Bygone {
    /// Whose.
    pub account: String,
    /// How many; their numbers begin with 1, the oldest, and each was opened a millisecond after the one before.
    pub sessions: u64,
    /// When the newest was opened, in Unix milliseconds.
    pub newest_ms: i64,
    /// When all were ended, in Unix milliseconds; `None`: they have expired by inactivity.
    pub ended_ms: Option<i64>,
}

impl Words {
    fn bygone(&self, bygone: &Bygone) -> String {
        let Bygone { account, sessions, newest_ms, ended_ms } = bygone;
        let (session, handle, hash) = (self.id("ses", "i"), self.handle, self.hash);
        let opened = format!("{newest_ms} - {sessions} + i");
        let absolute_ms: i64 = 90 * 24 * 3_600_000;
        let (ended, why) = match ended_ms {
            Some(ended_ms) => (ended_ms.to_string(), "'logout'"),
            None => ("NULL".to_owned(), "NULL"),
        };
        format!(
            "INSERT INTO session (id, account_id, handle, cur_hash, idle_expires_ms, expires_ms, epoch, transport, amr,
                created_ms, revoked_ms, end_reason)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {sessions})
            SELECT {session}, '{account}', {handle}, {hash}, {opened}, {opened} + {absolute_ms}, 0, 'body', 'pwd',
                {opened}, {ended}, {why} FROM n"
        )
    }
}

/// Writes these into the database at this URL.
///
/// # Panics
/// When the database refuses.
pub async fn add_bygone_at(url: &str, bygone: &Bygone) {
    let words = if url.starts_with("sqlite:") { SQLITE } else { POSTGRES };
    write_at(url, &[words.bygone(bygone)]).await;
}

/// Writes the sessions and [`ACCOUNTS`] accounts `crowdN@example.org` that own them, and lets the database look at its
/// new size as it would in time.
///
/// # Panics
/// When the database refuses.
pub async fn gather(daemon: &Daemon, crowd: Crowd) {
    match daemon.database() {
        Database::Sqlite => {
            gather_at(&format!("sqlite:{}", daemon.data_dir().join("authd.db").display()), crowd).await;
        }
        Database::Postgres(url) => gather_at(url, crowd).await,
    }
}

/// [`gather`] into the database at this URL.
///
/// # Panics
/// When the database refuses.
pub async fn gather_at(url: &str, crowd: Crowd) {
    let words = if url.starts_with("sqlite:") { SQLITE } else { POSTGRES };
    write_at(url, &words.statements(crowd)).await;
}

async fn write_at(url: &str, statements: &[String]) {
    if let Some(file) = url.strip_prefix("sqlite:") {
        let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(30));
        let mut conn = options.disable_statement_logging().connect().await.expect("the database opens");
        for statement in statements {
            conn.execute(AssertSqlSafe(statement.as_str())).await.expect("rows are written");
        }
        conn.close().await.expect("a connection that closes");
        return;
    }
    let mut conn = PgConnection::connect(url).await.expect("the database opens");
    for statement in statements {
        conn.execute(AssertSqlSafe(statement.as_str())).await.expect("rows are written");
    }
    conn.execute("VACUUM ANALYZE session").await.expect("statistics");
}
