//! How a daemon under test is configured: cheap hashing, limits out of the way, and what the test adds.

use crate::postgres::Postgres;

/// What every daemon under test starts from. Limits that would stop a test at its twentieth login are off; a test about
/// limits sets them itself. `authctl limit list` shows every policy.
const BASE: &str = r#"
[server]
mode = "test"
max_connections_per_network = 4000

[password]
memory_kib = 64
iterations = 1
failure_floor = "0s"

[log]
format = "json"

[limit."login.ip"]
rate = "off"

[limit."login.net"]
rate = "off"

[limit."register.ip"]
rate = "off"

[limit."refresh.ip"]
rate = "off"

[limit."refresh.session"]
rate = "off"
"#;

/// Which database a daemon works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// SQLite in its data directory.
    Sqlite,
    /// PostgreSQL at this URL.
    Postgres(String),
}

/// How to start a daemon.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its database.
    pub database: Database,
    /// TOML that is read after the base; its values win.
    pub config: String,
    /// Environment variables.
    pub env: Vec<(String, String)>,
}

impl Options {
    /// On a database of its own in SQLite.
    #[must_use]
    pub fn sqlite() -> Self {
        Self::on(Database::Sqlite)
    }

    /// On a database of its own on the PostgreSQL server that all tests share.
    pub async fn postgres() -> Self {
        Self::on(Database::Postgres(Postgres::shared().await.create_database().await))
    }

    /// On this database.
    #[must_use]
    pub fn on(database: Database) -> Self {
        Self { database, config: String::new(), env: Vec::new() }
    }

    /// Adds configuration.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The first of the two configuration files.
    #[must_use]
    pub(crate) fn base() -> &'static str {
        BASE
    }
}
