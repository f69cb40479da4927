//! The connection to Redis: calls that are bounded in time and never connect by themselves, and a watch that connects,
//! looks whether all is well and notices when the data is gone.

use super::{
    budget,
    place::RedisPlace,
    script::{self, Answer, Question, Reply, Told},
};
use crate::domain::{
    breaker::{CallEnd, Held, Purpose},
    circuit::Circuit,
    clock::Clock,
};
use redis::{AsyncConnectionConfig, Client, RedisResult, aio::MultiplexedConnection};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// How long a new connection may take; nobody waits for it.
const CONNECT: Duration = Duration::from_millis(500);
/// How often a working connection is looked after, and one that does not work.
const WATCH_UP: Duration = Duration::from_secs(1);
const WATCH_DOWN: Duration = Duration::from_millis(250);
/// Keys to forget that are remembered while Redis is away.
const MAX_OWED: usize = 1_024;

/// Redis was not asked or did not answer: count locally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Down;

/// The connection of this process.
pub(super) struct Link {
    client: Client,
    pub(super) timeout: Duration,
    circuit: Arc<Circuit>,
    clock: Arc<dyn Clock>,
    /// Where the word of the run stands, and the one this process would choose.
    run_key: String,
    own_run: String,
    state: Mutex<State>,
    nudge: Notify,
}

struct State {
    up: Option<Up>,
    /// A connection that was too slow: it is looked at before a new one is made.
    suspect: Option<MultiplexedConnection>,
    /// The run that was seen last, also while it is down.
    run: Option<Arc<str>>,
    /// Counts how often it came up.
    epoch: u64,
    since_ms: i64,
    /// Whether the log knows how it is.
    is_said: bool,
    /// Keys that an operator had forgotten meanwhile, with what their questions need.
    owed: VecDeque<(String, i64)>,
}

/// A connection that works.
#[derive(Clone)]
struct Up {
    conn: MultiplexedConnection,
    run: Arc<str>,
}

/// Why a connection is not used any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It may only be slow, or its data another's.
    Suspect,
    /// It is broken.
    Broken,
}

impl Link {
    pub(super) fn new(
        place: &RedisPlace,
        circuit: Arc<Circuit>,
        clock: Arc<dyn Clock>,
        (run_key, own_run): (String, String),
    ) -> Self {
        let since_ms = clock.now_ms();
        let (client, timeout) = (place.client.clone(), place.timeout);
        let state =
            State { up: None, suspect: None, run: None, epoch: 0, since_ms, is_said: false, owed: VecDeque::new() };
        Self { client, timeout, circuit, clock, run_key, own_run, state: Mutex::new(state), nudge: Notify::new() }
    }

    /// Counts how often it came up: what was learnt before may be more than Redis knows now.
    pub(super) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Since when it does not work, Unix milliseconds.
    pub(super) fn down_since_ms(&self) -> Option<i64> {
        let state = self.lock();
        let is_held_open = self.circuit.report().held == Held::Open;
        (state.up.is_none() || is_held_open).then_some(state.since_ms)
    }

    /// Asks within what is left to the request.
    pub(super) async fn ask(&self, question: &Question<'_>, key: &str, told: Told) -> Result<Reply, Down> {
        let before_ms = self.clock.monotonic_ms();
        let reply = self.ask_within(budget::left(self.timeout), question, key, told).await;
        let spent_ms = self.clock.monotonic_ms().saturating_sub(before_ms);
        budget::spend(Duration::from_millis(u64::try_from(spent_ms).unwrap_or(0)));
        reply
    }

    /// Asks within this time.
    pub(super) async fn ask_within(
        &self,
        within: Duration,
        question: &Question<'_>,
        key: &str,
        told: Told,
    ) -> Result<Reply, Down> {
        if within.is_zero() {
            return Err(Down);
        }
        let Some(Up { mut conn, run }) = self.lock().up.clone() else { return Err(Down) };
        let call = self.circuit.ask(Purpose::Work).ok_or(Down)?;
        let asked = question.ask(&mut conn, key, (&self.run_key, &run), told);
        match tokio::time::timeout(within, asked).await {
            Ok(Ok(reply)) => {
                call.ended(CallEnd::Answered);
                if reply.answer == Answer::AnotherRun {
                    self.lose(&run, Loss::Suspect);
                    return Err(Down);
                }
                Ok(reply)
            }
            Ok(Err(cause)) => {
                call.ended(CallEnd::Failed);
                tracing::debug!(%cause, "Redis refused a call");
                self.lose(&run, Loss::Broken);
                Err(Down)
            }
            // A request that had no time left says little about Redis.
            Err(_) if within < self.timeout => Err(Down),
            Err(_) => {
                call.ended(CallEnd::Failed);
                self.lose(&run, Loss::Suspect);
                Err(Down)
            }
        }
    }

    /// `maxmemory-policy`; `None` while Redis is away, or where it keeps that to itself.
    pub(super) async fn eviction(&self) -> Option<String> {
        let mut conn = self.lock().up.as_ref().map(|up| up.conn.clone())?;
        let mut ask = redis::cmd("INFO");
        ask.arg("memory");
        let told = tokio::time::timeout(self.timeout, ask.query_async::<String>(&mut conn)).await.ok()?.ok()?;
        told.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(|policy| policy.trim().to_owned())
    }

    /// Has the key forgotten when Redis is back.
    pub(super) fn owe(&self, key: String, life_ms: i64) {
        let mut state = self.lock();
        if state.owed.len() >= MAX_OWED {
            state.owed.pop_front();
        }
        state.owed.push_back((key, life_ms));
    }

    /// Looks after the connection until its task is ended.
    pub(super) async fn watch(&self) {
        loop {
            let is_up = self.lock().up.is_some();
            let pause = if is_up { WATCH_UP } else { WATCH_DOWN };
            // Once it is lost, it is looked at again at once, and then at leisure.
            let _ = tokio::time::timeout(pause, self.nudge.notified()).await;
            self.check().await;
        }
    }

    /// One look: connects if need be, and asks for the run.
    pub(super) async fn check(&self) {
        let Some(call) = self.circuit.ask(Purpose::Probe) else {
            self.fail(None);
            return;
        };
        let held = {
            let mut state = self.lock();
            state.up.as_ref().map(|up| up.conn.clone()).or_else(|| state.suspect.take())
        };
        match self.meet(held).await {
            Ok((conn, run)) => {
                call.ended(CallEnd::Answered);
                self.come_up(conn, run);
            }
            Err(cause) => {
                call.ended(CallEnd::Failed);
                self.fail(Some(&cause));
            }
        }
    }

    async fn meet(&self, held: Option<MultiplexedConnection>) -> Result<(MultiplexedConnection, String), String> {
        let mut conn = match held {
            Some(conn) => conn,
            None => bounded(CONNECT, self.connect()).await?,
        };
        let run = bounded(self.timeout, script::current_run(&mut conn, &self.run_key, &self.own_run)).await?;
        if run.len() > self.own_run.len() {
            return Err("its answer is none of a limiter's".to_owned());
        }
        let owed: Vec<(String, i64)> = self.lock().owed.iter().cloned().collect();
        for (at, (key, life_ms)) in owed.iter().enumerate() {
            let forget = Question::Forget(*life_ms);
            let forgotten = forget.ask(&mut conn, key, (&self.run_key, &run), Told::default());
            if let Err(cause) = bounded(self.timeout, forgotten).await {
                self.lock().owed.drain(..at);
                return Err(cause);
            }
        }
        self.lock().owed.drain(..owed.len());
        Ok((conn, run))
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        // The library's own bounds would wait for half a second.
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn come_up(&self, conn: MultiplexedConnection, run: String) {
        let mut state = self.lock();
        let is_known = state.run.as_deref() == Some(run.as_str());
        let was_up = state.up.is_some();
        if was_up && is_known {
            return;
        }
        let is_wiped = state.run.is_some() && !is_known;
        let run: Arc<str> = run.into();
        state.epoch += 1;
        state.run = Some(run.clone());
        state.up = Some(Up { conn, run });
        state.is_said = true;
        drop(state);
        if is_wiped {
            tracing::warn!(
                "Redis has lost its data, or is another one: limits go on from what each instance remembers"
            );
        }
        if !was_up {
            tracing::info!("limits are shared through Redis");
        }
    }

    fn lose(&self, run: &Arc<str>, loss: Loss) {
        let mut state = self.lock();
        // Another call was first, and it may be well again by now.
        if !state.up.as_ref().is_some_and(|up| Arc::ptr_eq(&up.run, run)) {
            return;
        }
        let lost = state.up.take();
        state.suspect = lost.filter(|_| loss == Loss::Suspect).map(|up| up.conn);
        state.since_ms = self.clock.now_ms();
        drop(state);
        tracing::warn!("Redis does not answer as it should: limits are counted by each instance for itself");
        self.nudge.notify_one();
    }

    fn fail(&self, cause: Option<&str>) {
        let mut state = self.lock();
        state.suspect = None;
        let was_up = state.up.take().is_some();
        if was_up {
            state.since_ms = self.clock.now_ms();
        }
        if std::mem::replace(&mut state.is_said, true) && !was_up {
            return;
        }
        drop(state);
        let cause = cause.unwrap_or("an operator holds the circuit breaker open");
        tracing::warn!(cause, "Redis is not used: limits are counted by each instance for itself");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn bounded<T>(limit: Duration, work: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|cause| cause.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
