//! The two databases behind one handle: transactions that outlive their callers, and bounded reads.

use crate::{
    domain::{
        breaker::{CallEnd, Purpose},
        chain::Notary,
        circuit::{Call, Circuit},
        clock::{Clock, Random, random_bytes},
        outage::Outages,
        restore::RestoreGuard,
        store_error::StoreError,
        tally::{StorageTally, StorageWork},
        upkeep::Writes,
    },
    store::{
        error::{Stored, fault, unknown, was_answered},
        postgres::Server,
        sqlite_writer::{Undo, Writer},
    },
};
use shared::id::EventId;
use sqlx::{PgConnection, SqliteConnection, SqlitePool};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::RwLock, task::JoinHandle};

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How long a change of many statements may take; each of them keeps the ordinary bound.
const LONG: Duration = Duration::from_secs(60);

/// A connection to either database.
pub(super) enum Conn<'c> {
    /// The writer's connection, a reader's, or the only one of a database in memory.
    Sqlite(&'c mut SqliteConnection),
    /// A pooled connection.
    Postgres(&'c mut PgConnection),
}

/// What a body of statements runs in.
pub(super) struct Tx<'c> {
    pub(super) conn: Conn<'c>,
    pub(super) context: &'c Context,
    /// A statement failed: nothing may be committed.
    pub(super) failed: bool,
    pub(super) commits: Commits,
    undone: bool,
    /// What the next id of an event has after its time.
    next_event: Option<[u8; 10]>,
}

/// When the statements of a body become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commits {
    /// With a COMMIT after the body.
    Apart,
    /// Each by itself: a reply that gets lost leaves the outcome unknown.
    ByItself,
}

/// What to do with a transaction whose body has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Commit it.
    Keep,
    /// Roll it back.
    Undo,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: Conn<'c>, context: &'c Context, commits: Commits) -> Self {
        Self { conn, context, failed: false, commits, undone: false, next_event: None }
    }

    /// Nothing of this transaction is to stay, although its body returns an answer.
    pub(super) fn undo(&mut self) {
        self.undone = true;
    }

    /// What becomes of the transaction after its body returned `result`.
    pub(super) fn settle<T>(&self, result: Stored<T>) -> (Stored<T>, Fate) {
        match result {
            Ok(_) if self.failed => (Err(StoreError::unavailable("a statement failed")), Fate::Undo),
            Ok(answer) if self.undone => (Ok(answer), Fate::Undo),
            Ok(answer) => (Ok(answer), Fate::Keep),
            Err(error) => (Err(error), Fate::Undo),
        }
    }

    /// An id for one more event of this operation. Those of one transaction and millisecond ascend by one from a random
    /// beginning (RFC 9562, section 6.2, method 2), so that very many of them are written side by side.
    pub(super) fn event_id(&mut self, at_ms: i64) -> EventId {
        let random = self.context.random.as_ref();
        let tail = *self.next_event.get_or_insert_with(|| {
            let mut first = random_bytes::<10>(random);
            // Below the two bits of the variant, one that the ascent never reaches.
            first[2] &= 0b0001_1111;
            first
        });
        self.next_event = Some(after(tail));
        EventId::new(at_ms, tail)
    }
}

/// The number behind, as big-endian bytes.
fn after(number: [u8; 10]) -> [u8; 10] {
    let mut next = number;
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    next
}

/// What every part of the store needs besides a connection.
pub(super) struct Context {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    /// How long an ended session is remembered for verifiers, in milliseconds.
    pub(super) revocation_keep_ms: i64,
    pub(super) acquire_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) outages: Mutex<Outages>,
    /// How far the database's clock is ahead of this instance's, in milliseconds, as last seen.
    pub(super) lead_ms: Mutex<Option<i64>>,
    /// Refuses calls while the database is away, so that nobody waits for it in vain.
    pub(super) circuit: Arc<Circuit>,
    /// When storage last failed, in milliseconds of the monotonic clock: connections from before are asked first.
    pub(super) failed_ms: AtomicI64,
    pub(super) tally: Arc<StorageTally>,
    /// Makes the MACs of events. It comes once the key-encryption key is known, which the database has a say in.
    pub(super) notary: OnceLock<Arc<dyn Notary>>,
    /// Looks at every new connection.
    pub(super) guard: Arc<RestoreGuard>,
    /// Whether the database takes writes, or is being moved.
    pub(super) writes: std::sync::RwLock<Writes>,
    /// Until when a bulk change may have the writer of SQLite to itself, in milliseconds of the monotonic clock.
    pub(super) held_until_ms: AtomicI64,
}

/// A bulk change has the writer to itself until this is dropped.
pub(super) struct HeldWriter<'c>(&'c Context);

impl Drop for HeldWriter<'_> {
    fn drop(&mut self) {
        self.0.held_until_ms.store(i64::MIN, Ordering::Relaxed);
    }
}

impl Context {
    /// What every event is written with.
    pub(super) fn notary(&self) -> Stored<&dyn Notary> {
        self.notary.get().map(Arc::as_ref).ok_or_else(|| StoreError::unavailable("the audit key is not there yet"))
    }

    /// A bulk change begins: until it ends, or has taken longer than it may, nobody who waited for the writer in vain
    /// says anything about the database.
    pub(super) fn hold_writer(&self) -> HeldWriter<'_> {
        self.held_until_ms.store(self.until(Budget::Bulk), Ordering::Relaxed);
        HeldWriter(self)
    }

    fn is_held_from(&self, work: StorageWork) -> bool {
        matches!(work, StorageWork::Write) && self.clock.monotonic_ms() < self.held_until_ms.load(Ordering::Relaxed)
    }

    /// Refuses a change while the database is being moved, and afterwards; it is well, so nobody else hears of it.
    pub(super) fn admit_write(&self) -> Stored<()> {
        match *self.writes.read().unwrap_or_else(PoisonError::into_inner) {
            Writes::Taken => Ok(()),
            Writes::Held(_) => Err(StoreError::unavailable("writes are put off: the database is being moved")),
            Writes::Moved { .. } => Err(StoreError::unavailable("the database was moved and takes no writes")),
        }
    }

    /// Notes what time the database has now.
    pub(super) fn note_database_time(&self, now_ms: i64) {
        *self.lead_ms.lock().unwrap_or_else(PoisonError::into_inner) = Some(now_ms.saturating_sub(self.clock.now_ms()));
    }

    /// The instant of the monotonic clock at which a call with this budget, made now, is given up.
    pub(super) fn until(&self, budget: Budget) -> i64 {
        let budget_ms = i64::try_from(budget.of(self).as_millis()).unwrap_or(i64::MAX);
        self.clock.monotonic_ms().saturating_add(budget_ms)
    }

    /// The database time at that instant; `None` until its time was seen once.
    pub(super) fn database_time_at(&self, until: i64) -> Option<i64> {
        let lead_ms = (*self.lead_ms.lock().unwrap_or_else(PoisonError::into_inner))?;
        let left_ms = until.saturating_sub(self.clock.monotonic_ms());
        Some(self.clock.now_ms().saturating_add(lead_ms).saturating_add(left_ms))
    }

    /// Notes whether storage answered (R5), and how long it took since `begun_us` of the monotonic clock.
    pub(super) fn track<T>(&self, work: StorageWork, begun_us: i64, result: Stored<T>) -> Stored<T> {
        self.tally.times(work).took(self.clock.monotonic_us().saturating_sub(begun_us));
        self.note(work, result)
    }

    /// [`Context::track`] of a call that was not made, and so took no time.
    fn note<T>(&self, work: StorageWork, result: Stored<T>) -> Stored<T> {
        if result.is_err() {
            self.tally.failures.count(work);
        }
        let now_ms = self.clock.now_ms();
        let mut outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(_) | Err(StoreError::Corrupt(_)) => outages.answered(now_ms),
            Err(StoreError::Unavailable(_) | StoreError::UnknownOutcome(_)) if self.is_held_from(work) => {}
            Err(StoreError::Unavailable(_) | StoreError::UnknownOutcome(_)) => {
                self.failed_ms.store(self.clock.monotonic_ms(), Ordering::Relaxed);
                outages.failed(now_ms);
            }
        }
        drop(outages);
        result
    }

    /// Tells the breaker of a statement that failed because the database refused it: it is not away.
    pub(super) fn hear(&self, error: &sqlx::Error) {
        if was_answered(error) {
            self.circuit.heard();
        }
    }

    /// [`Context::track`] of a call that the breaker let through.
    fn track_call<T>(&self, call: Call<'_>, work: StorageWork, begun_us: i64, result: Stored<T>) -> Stored<T> {
        let result = self.track(work, begun_us, result);
        match &result {
            Ok(_) | Err(StoreError::Corrupt(_)) => call.ended(CallEnd::Answered),
            Err(StoreError::Unavailable(_) | StoreError::UnknownOutcome(_)) if self.is_held_from(work) => drop(call),
            Err(StoreError::Unavailable(_) | StoreError::UnknownOutcome(_)) => call.ended(CallEnd::Failed),
        }
        result
    }
}

/// How long a transaction may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Budget {
    /// Waiting for a connection plus one statement's bound.
    Statement,
    /// A minute: many bounded statements.
    Long,
    /// The same, for so many rows that on SQLite nobody is to share its commit.
    Bulk,
    /// Until this instant of the monotonic clock, in milliseconds: what is left to a later step of one call.
    Until(i64),
}

impl Budget {
    pub(super) fn of(self, context: &Context) -> Duration {
        match self {
            Self::Statement => context.acquire_timeout + context.statement_timeout,
            Self::Long | Self::Bulk => LONG,
            Self::Until(instant_ms) => {
                let left_ms = instant_ms.saturating_sub(context.clock.monotonic_ms());
                Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
            }
        }
    }
}

/// The database, cheap to clone.
#[derive(Clone)]
pub(super) struct Db {
    pub(super) backend: Backend,
    pub(super) context: Arc<Context>,
    /// Held shared by work of several steps, see [`Db::to_the_end`].
    under_way: Arc<RwLock<()>>,
    /// What its calls are made for.
    purpose: Purpose,
}

/// Which database.
#[derive(Clone)]
pub(super) enum Backend {
    /// One writer that commits in groups; readers beside it, or none for a database in memory.
    Sqlite {
        /// Commits.
        writer: Writer,
        /// Reads.
        readers: Option<SqlitePool>,
    },
    /// A pool.
    Postgres(Server),
}

impl Db {
    pub(super) fn new(backend: Backend, context: Arc<Context>) -> Self {
        Self { backend, context, under_way: Arc::default(), purpose: Purpose::Work }
    }

    /// The same database for asking whether it is well: an open breaker lets these calls through, and one that
    /// succeeds closes it.
    pub(super) fn for_probes(&self) -> Self {
        Self { purpose: Purpose::Probe, ..self.clone() }
    }

    /// Asks the breaker; refused at once while the database is away.
    fn call(&self, work: StorageWork) -> Stored<Call<'_>> {
        let refused = || StoreError::unavailable("the circuit breaker of the database is open");
        self.context.circuit.ask(self.purpose).ok_or_else(refused).or_else(|error| self.context.note(work, Err(error)))
    }

    /// Work of several steps, done even if the caller goes away in between (R9); closing waits for it.
    pub(super) async fn to_the_end<T, F>(&self, work: F) -> Stored<T>
    where
        T: Send + 'static,
        F: Future<Output = Stored<T>> + Send + 'static,
    {
        self.set_off(work).await.await.unwrap_or_else(|error| Err(unknown(error)))
    }

    /// The same without waiting for it.
    pub(super) async fn set_off<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let under_way = self.under_way.clone().read_owned().await;
        #[expect(clippy::disallowed_methods, reason = "a change must outlive its caller; closing waits for it")]
        tokio::spawn(async move {
            let result = work.await;
            drop(under_way);
            result
        })
    }

    /// One transaction: commits if the body returns `Ok` and did not undo it. It runs to its end even if the caller
    /// goes away, and answers within its budget even if the database does not.
    pub(super) async fn transact<T, F>(&self, budget: Budget, body: F) -> Stored<T>
    where
        T: Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>> + Send + 'static,
    {
        self.context.admit_write()?;
        let call = self.call(StorageWork::Write)?;
        let begun_us = self.context.clock.monotonic_us();
        let result = match &self.backend {
            Backend::Sqlite { writer, .. } => writer.write(&self.context, budget, Undo::Alone, body).await,
            Backend::Postgres(server) => server.transact(self.context.clone(), budget, body).await,
        };
        self.context.track_call(call, StorageWork::Write, begun_us, result)
    }

    /// A change that never undoes itself. On PostgreSQL its body is one statement, which commits by itself; on SQLite
    /// it is spared a savepoint, and all changes of its group are given up if one of its statements fails. To be called
    /// in tasks that nobody ends, such as those of [`Db::to_the_end`].
    pub(super) async fn at_once<T, F>(&self, budget: Budget, body: F) -> Stored<T>
    where
        T: Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>> + Send + 'static,
    {
        self.context.admit_write()?;
        let call = self.call(StorageWork::Write)?;
        let begun_us = self.context.clock.monotonic_us();
        let result = match &self.backend {
            Backend::Sqlite { writer, .. } => writer.write(&self.context, budget, Undo::WithGroup, body).await,
            Backend::Postgres(server) => server.at_once(&self.context, budget, body).await,
        };
        self.context.track_call(call, StorageWork::Write, begun_us, result)
    }

    /// Statements that change nothing.
    pub(super) async fn read<T, F>(&self, body: F) -> Stored<T>
    where
        T: Send + 'static,
        F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>> + Send + 'static,
    {
        let call = self.call(StorageWork::Read)?;
        let context = self.context.as_ref();
        let begun_us = context.clock.monotonic_us();
        let result = match &self.backend {
            Backend::Sqlite { writer, readers: None } => {
                writer.write(&self.context, Budget::Statement, Undo::Alone, body).await
            }
            Backend::Sqlite { readers: Some(readers), .. } => {
                tokio::time::timeout(Budget::Statement.of(context), read_sqlite(readers, context, body))
                    .await
                    .unwrap_or_else(|_| Err(StoreError::unavailable("the database did not answer in time")))
            }
            Backend::Postgres(server) => server.read(context, body).await,
        };
        self.context.track_call(call, StorageWork::Read, begun_us, result)
    }

    /// Waits for what is under way and closes the database.
    pub(super) async fn close(&self) {
        drop(self.under_way.write().await);
        match &self.backend {
            Backend::Sqlite { writer, readers } => {
                // The writer last: whoever closes last folds the log into the file, and readers may not write.
                if let Some(readers) = readers {
                    readers.close().await;
                }
                writer.close().await;
            }
            Backend::Postgres(server) => server.close().await,
        }
    }
}

async fn read_sqlite<T, F>(readers: &SqlitePool, context: &Context, body: F) -> Stored<T>
where
    F: for<'t, 'c> FnOnce(&'t mut Tx<'c>) -> BoxFuture<'t, Stored<T>>,
{
    let mut conn = readers.acquire().await.map_err(fault)?;
    let mut tx = Tx::new(Conn::Sqlite(&mut conn), context, Commits::Apart);
    body(&mut tx).await
}
