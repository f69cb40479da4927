//! The one writer of SQLite: changes that wait at the same moment share a transaction and its fsync.
//!
//! Each change runs in a savepoint of its own and is answered after the shared commit; a bulk change has a commit of its
//! own, and whoever waits for it in vain is refused without the database being taken for away. A change that fails or is
//! undone leaves the others alone, but for the hot ones that do without a savepoint ([`Undo::WithGroup`]). One whose
//! caller was refused for its time before its turn came does nothing. If SQLite gave up the whole transaction (`FULL`
//! and I/O errors may do that), its savepoint is gone, the next savepoint statement says so, and everybody in the group
//! is told that nothing happened.

use crate::{
    domain::store_error::StoreError,
    store::{
        db::{BoxFuture, Budget, Commits, Conn, Context, Fate, Tx},
        error::{Stored, fault, unknown},
    },
};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// Changes that may wait for the writer; beyond, a caller waits for its place and is refused in the end.
const QUEUE: usize = 1024;
/// Changes that may share a commit.
const GROUP: usize = 64;

/// What is undone when a change fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undo {
    /// The change alone: it runs in a savepoint.
    Alone,
    /// Its whole group: for changes that never undo themselves and fail only with the database.
    WithGroup,
}

/// Whether a change may happen while the database is being moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// It may not: it would be lost.
    Ordinary,
    /// It is part of the move.
    Mover,
}

/// A change in the queue: it keeps its own answer, so that the writer needs no type parameter.
trait Work: Send {
    fn run<'a>(&'a mut self, conn: &'a mut SqliteConnection, context: &'a Context) -> BoxFuture<'a, Fate>;
    fn undo(&self) -> Undo;
    /// Whether it may take many times as long as the others are ready to wait.
    fn is_bulk(&self) -> bool;
    /// Tells the caller; `shared` is how the common transaction ended.
    fn answer(self: Box<Self>, shared: Stored<()>);
}

struct Job<T, F> {
    body: Option<F>,
    undo: Undo,
    pass: Pass,
    budget: Budget,
    /// When the caller is refused, by the monotonic clock.
    until: i64,
    result: Option<Stored<T>>,
    caller: oneshot::Sender<Stored<T>>,
}

impl<T, F> Work for Job<T, F>
where
    T: Send,
    F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>> + Send,
{
    fn run<'a>(&'a mut self, conn: &'a mut SqliteConnection, context: &'a Context) -> BoxFuture<'a, Fate> {
        Box::pin(async move {
            let Some(body) = self.body.take() else { return Fate::Undo };
            if context.clock.monotonic_ms() >= self.until {
                self.result = Some(Err(StoreError::unavailable("the writer was too busy")));
                return Fate::Keep;
            }
            // Here, where changes pass one by one: none comes between a move and what it has seen.
            if self.pass == Pass::Ordinary
                && let Err(held) = context.admit_write()
            {
                self.result = Some(Err(held));
                return Fate::Keep;
            }
            let mut tx = Tx::new(Conn::Sqlite(conn), context, Commits::Apart);
            let result = body(&mut tx).await;
            let (result, fate) = tx.settle(result);
            self.result = Some(result);
            fate
        })
    }

    fn undo(&self) -> Undo {
        self.undo
    }

    fn is_bulk(&self) -> bool {
        self.budget == Budget::Bulk
    }

    fn answer(self: Box<Self>, shared: Stored<()>) {
        let result = match (self.result, shared) {
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(Ok(answer)), Ok(())) => Ok(answer),
            (None, Ok(())) => Err(StoreError::unavailable("the change was not run")),
        };
        // The caller may have left; the change stands all the same.
        let _ = self.caller.send(result);
    }
}

enum Message {
    Work(Box<dyn Work>),
    Close,
}

/// The handle of the writer; cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Whether a connection may be closed and opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// In a file.
    InFile,
    /// In memory: the data lives as long as the connection.
    InMemory,
}

impl Writer {
    /// Starts the writer on its own connection.
    pub(super) fn start(
        conn: SqliteConnection,
        options: SqliteConnectOptions,
        kept: Kept,
        context: Arc<Context>,
    ) -> Self {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let lane = Lane { conn: Some(conn), options, kept, context };
        #[expect(clippy::disallowed_methods, reason = "the writer owns the database; close waits for it")]
        let task = tokio::spawn(lane.serve(inbox));
        Self { queue, task: Arc::new(Mutex::new(Some(task))) }
    }

    /// Queues a change and waits for its group's commit.
    pub(super) async fn write<T, F>(&self, context: &Context, budget: Budget, undo: Undo, body: F) -> Stored<T>
    where
        T: Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>> + Send + 'static,
    {
        self.pass(context, budget, (undo, Pass::Ordinary), body).await
    }

    /// A change that is part of a move; every change queued before it has happened or was refused.
    pub(super) async fn write_moving<T, F>(&self, context: &Context, body: F) -> Stored<T>
    where
        T: Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>> + Send + 'static,
    {
        self.pass(context, Budget::Bulk, (Undo::Alone, Pass::Mover), body).await
    }

    async fn pass<T, F>(&self, context: &Context, budget: Budget, how: (Undo, Pass), body: F) -> Stored<T>
    where
        T: Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let ((undo, pass), until) = (how, context.until(budget));
        let job = Message::Work(Box::new(Job { body: Some(body), undo, pass, budget, until, result: None, caller }));
        match tokio::time::timeout(context.acquire_timeout, self.queue.send(job)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(StoreError::unavailable("the writer has stopped")),
            Err(_) => return Err(StoreError::unavailable("too many changes wait for the writer")),
        }
        match tokio::time::timeout(budget.of(context), answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(unknown("the writer has stopped")),
            Err(_) => Err(unknown("the writer did not answer in time")),
        }
    }

    /// Finishes what is queued and closes the connection.
    pub(super) async fn close(&self) {
        if self.queue.send(Message::Close).await.is_err() {
            return;
        }
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the writer of the database died");
        }
    }
}

struct Lane {
    conn: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    kept: Kept,
    context: Arc<Context>,
}

impl Lane {
    async fn serve(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(GROUP);
        let mut group = Vec::with_capacity(GROUP);
        let mut closing = false;
        while !closing && inbox.recv_many(&mut messages, GROUP).await > 0 {
            for message in messages.drain(..) {
                match message {
                    Message::Work(job) => group.push(job),
                    Message::Close => closing = true,
                }
            }
            if closing {
                inbox.close();
            }
            // A bulk change shares its commit with nobody: they would wait for all of it.
            let bulk: Vec<_> = group.extract_if(.., |job| job.is_bulk()).collect();
            self.finish(&mut group).await;
            let context = self.context.clone();
            for job in bulk {
                let _held = context.hold_writer();
                self.finish(&mut vec![job]).await;
            }
        }
        if let Some(conn) = self.conn.take()
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    async fn finish(&mut self, group: &mut Vec<Box<dyn Work>>) {
        let shared = self.commit(group).await;
        for job in group.drain(..) {
            job.answer(shared.clone());
        }
    }

    async fn commit(&mut self, group: &mut [Box<dyn Work>]) -> Stored<()> {
        let context = self.context.clone();
        let conn = self.connection().await?;
        let shared = commit_group(conn, &context, group).await;
        if let Err(error) = &shared {
            tracing::error!(%error, changes = group.len(), "a group of changes was not committed");
            self.recover().await;
        }
        shared
    }

    async fn connection(&mut self) -> Stored<&mut SqliteConnection> {
        if self.conn.is_none() {
            self.conn = Some(self.options.connect().await.map_err(fault)?);
        }
        self.conn.as_mut().ok_or_else(|| StoreError::unavailable("no connection"))
    }

    /// Leaves no transaction open, whatever state the connection is in.
    async fn recover(&mut self) {
        match (self.kept, self.conn.take()) {
            (Kept::InFile, Some(conn)) => {
                // Closing rolls back; the next group opens the file again.
                if let Err(error) = conn.close().await {
                    tracing::warn!(%error, "the database did not close cleanly");
                }
            }
            (Kept::InMemory, Some(mut conn)) => {
                // An error only says that SQLite has rolled back by itself.
                let _ = run(&mut conn, "ROLLBACK").await.is_err();
                self.conn = Some(conn);
            }
            (_, None) => {}
        }
    }
}

async fn commit_group(conn: &mut SqliteConnection, context: &Context, group: &mut [Box<dyn Work>]) -> Stored<()> {
    if group.is_empty() {
        return Ok(());
    }
    step(conn, context, "BEGIN IMMEDIATE").await.map_err(fault)?;
    for job in group {
        if job.undo() == Undo::WithGroup {
            match job.run(conn, context).await {
                Fate::Keep => continue,
                Fate::Undo => return Err(StoreError::unavailable("a change of the group failed")),
            }
        }
        step(conn, context, "SAVEPOINT change").await.map_err(fault)?;
        if job.run(conn, context).await == Fate::Undo {
            step(conn, context, "ROLLBACK TO change").await.map_err(fault)?;
        }
        step(conn, context, "RELEASE change").await.map_err(fault)?;
    }
    step(conn, context, "COMMIT").await.map_err(unknown)
}

/// A statement around the changes. That SQLite refuses one does not mean that the file cannot be read.
async fn step(conn: &mut SqliteConnection, context: &Context, statement: &'static str) -> Result<(), sqlx::Error> {
    run(conn, statement).await.inspect_err(|error| context.hear(error))
}

async fn run(conn: &mut SqliteConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(conn).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::breaker::BreakerState,
        store::{
            db::Db,
            dialect::{on_db, on_tx},
            open::for_test,
        },
    };
    use std::time::Duration;

    /// How the breaker is after twelve changes that could not wait for one that takes long.
    async fn breaker_after(long: Budget) -> BreakerState {
        let db = for_test("sqlite::memory:", [Duration::from_millis(10); 2]).await;
        let (begun, has_begun) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let held = db.clone();
        let holder = db.set_off(async move {
            on_tx!(held, within long, |_tx| {
                begun.send(()).unwrap();
                ended.await.map_err(StoreError::corrupt)
            })
        });
        let holder = holder.await;
        has_begun.await.unwrap();
        for _ in 0..12 {
            write(&db).await.unwrap_err();
        }
        let state = db.context.circuit.report().state;
        end.send(()).unwrap();
        holder.await.unwrap().unwrap_or_default();
        state
    }

    async fn write(db: &Db) -> Stored<()> {
        on_tx!(db, |tx| {
            on_db!(tx, execute["UPDATE tenant SET created_ms = 1"]())?;
            Ok(())
        })
    }

    #[tokio::test]
    async fn whoever_waits_in_vain_for_a_bulk_change_says_nothing_about_the_database() {
        assert_eq!(breaker_after(Budget::Bulk).await, BreakerState::Closed);
        assert_eq!(breaker_after(Budget::Statement).await, BreakerState::Open);
        assert_eq!(breaker_after(Budget::Long).await, BreakerState::Open, "one that should be quick is a sign");
    }

    #[tokio::test]
    async fn changes_that_wait_with_a_bulk_change_are_not_kept_until_it_ends() {
        let db = for_test("sqlite::memory:", [Duration::from_secs(60); 2]).await;
        let (begun, has_begun) = oneshot::channel();
        let (go, may_go) = oneshot::channel::<()>();
        let held = db.clone();
        let first = db.set_off(async move {
            on_tx!(held, |_tx| {
                begun.send(()).unwrap();
                may_go.await.map_err(StoreError::corrupt)
            })
        });
        let first = first.await;
        has_begun.await.unwrap();
        // Both are in the queue before the writer is free.
        let (end, ended) = oneshot::channel::<()>();
        let mut bulk =
            Box::pin(async { on_tx!(db, within Budget::Bulk, |_tx| ended.await.map_err(StoreError::corrupt)) });
        let mut ordinary = Box::pin(write(&db));
        assert!(is_pending(&mut bulk).await && is_pending(&mut ordinary).await);
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        tokio::time::timeout(Duration::from_secs(30), ordinary).await.expect("not behind the bulk change").unwrap();
        end.send(()).unwrap();
        bulk.await.unwrap();
    }

    async fn is_pending<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
