//! Transactions on PostgreSQL: each in a task of its own, bounded in time, on a connection that is thrown away unless
//! it is known to be clean.

use crate::{
    domain::store_error::StoreError,
    store::{
        db::{BoxFuture, Budget, Commits, Conn, Context, Fate, Tx},
        error::{Stored, fault, unknown},
    },
};
use sqlx::{Executor, PgPool, Postgres, pool::PoolConnection, postgres::PgConnectOptions};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::RwLock;

/// A pooled connection that goes back only by [`Held::release`]. Dropped in any other way — a fault, a time-out, a
/// caller that left — it is closed, because a statement or a transaction may still be open on it.
struct Held(Option<PoolConnection<Postgres>>);

impl Held {
    fn release(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            drop(conn.detach());
        }
    }
}

async fn acquire(pool: &PgPool) -> Stored<Held> {
    pool.acquire().await.map(|conn| Held(Some(conn))).map_err(fault)
}

/// Begins a transaction; connections that died in the pool are replaced, nothing has happened on them.
async fn begin(pool: &PgPool) -> Stored<Held> {
    let mut attempts_left = pool.options().get_max_connections();
    loop {
        let mut held = acquire(pool).await?;
        match held.run("BEGIN").await {
            Ok(()) => return Ok(held),
            Err(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) if attempts_left > 0 => attempts_left -= 1,
            Err(error) => return Err(fault(error)),
        }
    }
}

impl Held {
    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        let Some(conn) = &mut self.0 else { return Err(sqlx::Error::PoolClosed) };
        conn.execute(sqlx::raw_sql(statement)).await.map(|_| ())
    }
}

/// The server behind a pool; cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    pool: PgPool,
    /// Held shared by every change under way.
    changes: Arc<RwLock<()>>,
}

impl Server {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, changes: Arc::default() }
    }

    /// How its connections are made.
    pub(super) fn options(&self) -> Arc<PgConnectOptions> {
        self.pool.connect_options()
    }

    /// How many connections are open, and how many there may be.
    pub(super) fn connections(&self) -> (u32, u32) {
        (self.pool.size(), self.pool.options().get_max_connections())
    }

    /// One statement that commits by itself; in a task that nobody but the runtime ends.
    pub(super) async fn at_once<T, F>(&self, context: &Context, budget: Budget, body: F) -> Stored<T>
    where
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>>,
    {
        let under_way = self.changes.read().await;
        let statement = statements(&self.pool, context, Commits::ByItself, body);
        let result = tokio::time::timeout(budget.of(context), statement).await;
        drop(under_way);
        result.unwrap_or_else(|_| Err(unknown("the database did not answer in time")))
    }

    /// One transaction in a task that nobody but the runtime can end.
    pub(super) async fn transact<T, F>(&self, context: Arc<Context>, budget: Budget, body: F) -> Stored<T>
    where
        T: Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>> + Send + 'static,
    {
        let under_way = self.changes.clone().read_owned().await;
        let pool = self.pool.clone();
        #[expect(clippy::disallowed_methods, reason = "a change must outlive its caller; closing waits for it")]
        let task = tokio::spawn(async move {
            let committing = AtomicBool::new(false);
            let run = run(&pool, &context, body, &committing);
            let result = match tokio::time::timeout(budget.of(&context), run).await {
                Ok(result) => result,
                Err(_) if committing.load(Ordering::Relaxed) => {
                    Err(unknown("the database did not answer a COMMIT in time"))
                }
                Err(_) => Err(StoreError::unavailable("the database did not answer in time")),
            };
            drop(under_way);
            result
        });
        task.await.unwrap_or_else(|error| Err(unknown(error)))
    }

    /// Statements outside a transaction.
    pub(super) async fn read<T, F>(&self, context: &Context, body: F) -> Stored<T>
    where
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>>,
    {
        tokio::time::timeout(Budget::Statement.of(context), statements(&self.pool, context, Commits::Apart, body))
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("the database did not answer in time")))
    }

    /// Waits for the changes under way, then closes the connections.
    pub(super) async fn close(&self) {
        let none_under_way = self.changes.write().await;
        self.pool.close().await;
        drop(none_under_way);
    }
}

async fn run<T, F>(pool: &PgPool, context: &Context, body: F, committing: &AtomicBool) -> Stored<T>
where
    F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>>,
{
    let mut held = begin(pool).await?;
    let (result, fate) = {
        let Some(conn) = &mut held.0 else { return Err(StoreError::unavailable("no connection")) };
        let mut tx = Tx::new(Conn::Postgres(conn), context, Commits::Apart);
        let result = body(&mut tx).await;
        tx.settle(result)
    };
    match fate {
        Fate::Keep => {
            committing.store(true, Ordering::Relaxed);
            held.run("COMMIT").await.inspect_err(|error| context.hear(error)).map_err(unknown)?;
        }
        // After a fault the connection is closed, which rolls back as well and cannot hang.
        Fate::Undo if result.is_err() => return result,
        Fate::Undo => held.run("ROLLBACK").await.map_err(fault)?,
    }
    held.release();
    result
}

/// Statements without a transaction around them.
async fn statements<T, F>(pool: &PgPool, context: &Context, commits: Commits, body: F) -> Stored<T>
where
    F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>>,
{
    let mut held = acquire(pool).await?;
    let result = {
        let Some(conn) = &mut held.0 else { return Err(StoreError::unavailable("no connection")) };
        let mut tx = Tx::new(Conn::Postgres(conn), context, commits);
        body(&mut tx).await
    };
    if result.is_ok() {
        held.release();
    }
    result
}
