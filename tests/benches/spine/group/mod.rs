//! The groups of rows; a filter of the command line names some of them.

pub(crate) mod limiter;
pub(crate) mod logins;
pub(crate) mod many;
pub(crate) mod memory;
pub(crate) mod reads;
pub(crate) mod refresh;
pub(crate) mod start;
pub(crate) mod storm;
pub(crate) mod verify;

use std::{sync::Arc, time::Duration};
use tests::{options::Database, postgres::Postgres};
use tokio::{runtime::Handle, sync::OnceCell};

/// How often each load is measured, by turns with its limit.
pub(crate) const ROUNDS: usize = 3;

/// What all groups share.
#[derive(Clone)]
pub(crate) struct Bench {
    /// Where the limits run that use a database: a runtime like the daemon's.
    pub(crate) bare: Handle,
    postgres: Arc<OnceCell<Postgres>>,
}

/// Which database a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// For titles.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

impl Bench {
    /// With the limits on this runtime.
    pub(crate) fn new(bare: Handle) -> Self {
        Self { bare, postgres: Arc::default() }
    }

    /// A new database whose commits are durable.
    pub(crate) async fn database(&self, kind: Kind) -> Database {
        match kind {
            Kind::Sqlite => Database::Sqlite,
            Kind::Postgres => {
                let server = self.postgres.get_or_init(Postgres::start_durable).await;
                Database::Postgres(server.create_database().await)
            }
        }
    }
}

/// A moment for what a load leaves behind in the daemon and the database.
pub(crate) async fn rest() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}
