//! How a daemon under test is configured: cheap hashing, limits out of the way, and what the test adds.

use crate::postgres::Postgres;
use std::path::Path;

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

[limit."login.spray"]
count = 0

[limit."login.spray_net"]
count = 0

[limit."login.global"]
percent = 100

[limit."register.global"]
rate = "off"

[limit."admin.uid"]
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
    /// Files of TOML that are read after the base, one after the other; the last value wins.
    pub config: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Where its log goes.
    pub log: LogTo,
    /// How many files it may open, and to how many it may raise that itself; `None`: as the test.
    pub open_files: Option<(u32, u32)>,
}

/// Where a daemon's log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTo {
    /// Into the test's memory, line by line.
    Memory,
    /// Into the file `log` in its data directory: costs the test's process nothing.
    File,
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
        Self { database, config: Vec::new(), env: Vec::new(), log: LogTo::Memory, open_files: None }
    }

    /// Adds configuration.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push(toml.to_owned());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Bounds its open files.
    #[must_use]
    pub fn open_files(mut self, soft: u32, hard: u32) -> Self {
        self.open_files = Some((soft, hard));
        self
    }

    /// Sends the log elsewhere.
    #[must_use]
    pub fn log_to(mut self, log: LogTo) -> Self {
        self.log = log;
        self
    }

    /// Writes `authd.toml` and `conf.d/*.toml` into `etc`.
    pub(crate) fn write(&self, etc: &Path) -> std::io::Result<()> {
        let conf_d = etc.join("conf.d");
        std::fs::create_dir_all(&conf_d)?;
        std::fs::write(etc.join("authd.toml"), BASE)?;
        for (number, toml) in self.config.iter().enumerate() {
            std::fs::write(conf_d.join(format!("{number:03}.toml")), toml)?;
        }
        Ok(())
    }
}
