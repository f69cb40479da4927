//! Bare transactions and reads on PostgreSQL: one connection for each caller, prepared statements, no pool.

use super::{Family, ROTATION, rotation};
use crate::load::{Caller, Crew, Outcome};
use sqlx::{Connection, Executor, PgConnection};
use tokio::runtime::Handle;

/// How a bare rotation is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transaction {
    /// `BEGIN`, the statement, `COMMIT`.
    Three,
    /// The statement alone.
    Single,
}

/// Rotates one row.
pub(crate) struct Rotator {
    conn: PgConnection,
    family: Family,
    statement: &'static str,
    transaction: Transaction,
}

impl Caller for Rotator {
    async fn call(&mut self) -> Outcome {
        self.rotate().await.expect("the bare transaction works");
        Outcome::Good
    }
}

impl Rotator {
    /// From now on rotates like this.
    pub(crate) fn send(&mut self, transaction: Transaction) {
        self.transaction = transaction;
    }

    async fn rotate(&mut self) -> Result<(), sqlx::Error> {
        let next = self.family.next();
        if self.transaction == Transaction::Three {
            self.conn.execute(sqlx::raw_sql("BEGIN")).await?;
        }
        rotation!(self.statement, self.family, next).fetch_one(&mut self.conn).await?;
        if self.transaction == Transaction::Three {
            self.conn.execute(sqlx::raw_sql("COMMIT")).await?;
        }
        self.family.current = next;
        Ok(())
    }
}

/// A table like `session` with its indexes and rows, so that what is measured does not spoil the tokens.
pub(crate) async fn copy_sessions(url: &str) {
    let mut conn = connect(url).await;
    for statement in
        ["CREATE TABLE bare (LIKE session INCLUDING ALL)", "INSERT INTO bare SELECT * FROM session", "ANALYZE bare"]
    {
        conn.execute(sqlx::raw_sql(statement)).await.expect("a table can be copied");
    }
}

/// Callers that rotate rows of the copy, each its own.
pub(crate) async fn rotators(runtime: &Handle, url: &str, count: usize) -> Crew<Rotator> {
    let statement: &'static str = format!("UPDATE bare {ROTATION}").leak();
    let mut conn = connect(url).await;
    let rows = sqlx::query_as("SELECT handle, cur_hash FROM bare ORDER BY id LIMIT $1").bind(count as i64);
    let families: Vec<(Vec<u8>, Vec<u8>)> = rows.fetch_all(&mut conn).await.expect("the copy is there");
    let mut callers = Vec::new();
    for row in families {
        callers.push(Rotator {
            conn: connect_on(runtime, url).await,
            family: Family::new(row),
            statement,
            transaction: Transaction::Three,
        });
    }
    Crew::on(runtime.clone(), callers)
}

/// Reads of one account.
pub(crate) struct Reader {
    conn: PgConnection,
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

/// Callers that read the profile or the sessions of these accounts.
pub(crate) async fn readers(runtime: &Handle, url: &str, statement: &'static str, accounts: &[String]) -> Crew<Reader> {
    let mut callers = Vec::new();
    for account in accounts {
        callers.push(Reader { conn: connect_on(runtime, url).await, statement, account: account.clone() });
    }
    Crew::on(runtime.clone(), callers)
}

/// Events that the daemon has not sealed yet.
pub(crate) async fn unsealed(url: &str) -> i64 {
    let query = sqlx::query_scalar("SELECT count(*) FROM event WHERE seq IS NULL");
    query.fetch_one(&mut connect(url).await).await.expect("the database answers")
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("PostgreSQL accepts connections")
}

/// A socket belongs to the runtime on which it was opened.
async fn connect_on(runtime: &Handle, url: &str) -> PgConnection {
    let url = url.to_owned();
    runtime.spawn(async move { connect(&url).await }).await.expect("the connection opens")
}
