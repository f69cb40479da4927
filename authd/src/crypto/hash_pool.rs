//! The threads that hash passwords: their number bounds the processors and the memory that hashing can take.

mod queue;

use crate::{
    crypto::{
        password_hash::{Engine, OUTPUT_LEN},
        stored_hash::StoredHash,
    },
    domain::{
        account::PasswordHash,
        clock::{Clock, Random},
        hard::Lane,
        hash_cost::{HashCost, Timings},
        password::{
            Against, Checked, HashError, HashLoad, Password, PasswordHasher, PasswordPolicy, UnusableHash, WeakPassword,
        },
    },
};
use argon2::Params;
use queue::{Answer, Job, Queue, Work};
use sha2::{Digest, Sha256};
use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;

/// How passwords are hashed, and by how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashSettings {
    /// Argon2id memory, in KiB.
    pub memory_kib: u32,
    /// Argon2id passes.
    pub iterations: u32,
    /// Argon2id lanes.
    pub parallelism: u32,
    /// Threads; `None`: one for each core.
    pub workers: Option<NonZeroUsize>,
    /// Jobs that may wait in one lane.
    pub queue: usize,
    /// How long a job may wait before it is answered with [`HashError::Overloaded`], in milliseconds.
    pub wait_ms: i64,
    /// Niceness of the threads, 0–19: verification and refresh go first.
    pub nice: i32,
}

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Argon2 has no such parameters.
    #[error(
        "password.memory_kib = {memory_kib}, password.iterations = {iterations} and password.parallelism = \
         {parallelism} do not go together: at least 8 KiB a lane and one pass"
    )]
    Parameters {
        /// Argon2id memory, in KiB.
        memory_kib: u32,
        /// Argon2id passes.
        iterations: u32,
        /// Argon2id lanes.
        parallelism: u32,
    },
    /// The system gave no thread.
    #[error("no thread for hashing passwords: {0}")]
    Thread(#[from] std::io::Error),
}

/// A fixed number of threads with a bounded queue. Dropping it ends the threads after what they are hashing.
pub struct HashPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    wait: Duration,
}

struct Shared {
    queue: Queue,
    policy: Arc<dyn PasswordPolicy>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    wait_ms: i64,
    busy: AtomicUsize,
    evaluated: AtomicU64,
    /// Those in use.
    costs: RwLock<Vec<HashCost>>,
    timings: Mutex<Timings>,
    shed: AtomicU64,
}

impl HashPool {
    /// Starts the threads; `policy` judges new passwords on them.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn start(
        settings: &HashSettings,
        policy: Arc<dyn PasswordPolicy>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, PoolError> {
        let HashSettings { memory_kib, iterations, parallelism, wait_ms, nice, .. } = *settings;
        let params = Params::new(memory_kib, iterations, parallelism, Some(OUTPUT_LEN))
            .map_err(|_| PoolError::Parameters { memory_kib, iterations, parallelism })?;
        let shared = Arc::new(Shared {
            queue: Queue::new(settings.queue),
            policy,
            clock,
            random,
            wait_ms,
            busy: AtomicUsize::new(0),
            evaluated: AtomicU64::new(0),
            costs: RwLock::default(),
            timings: Mutex::default(),
            shed: AtomicU64::new(0),
        });
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
        let mut pool = Self { shared, threads: Vec::new(), wait };
        let workers = settings.workers.or_else(|| std::thread::available_parallelism().ok());
        for number in 0..workers.map_or(1, NonZeroUsize::get) {
            let (shared, params) = (Arc::clone(&pool.shared), params.clone());
            let thread = std::thread::Builder::new().name(format!("hash-{number}"));
            // Should one fail, dropping the pool ends those that run.
            pool.threads.push(thread.spawn(move || shared.work(params, nice))?);
        }
        Ok(pool)
    }

    async fn run<T>(&self, lane: Lane, work: impl FnOnce(Answer<T>) -> Work) -> Result<T, HashError> {
        let answer = self.wait_for(lane, work).await;
        if matches!(answer, Err(HashError::Overloaded)) {
            self.shared.shed.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn wait_for<T>(&self, lane: Lane, work: impl FnOnce(Answer<T>) -> Work) -> Result<T, HashError> {
        let (answer, mut answered) = oneshot::channel();
        let job = Job::new(work(answer), self.shared.clock.monotonic_ms());
        let claim = Arc::clone(&job.claim);
        self.shared.queue.push(lane, job)?;
        match tokio::time::timeout(self.wait, &mut answered).await {
            Ok(answer) => answer.unwrap_or(Err(HashError::Overloaded)),
            // No worker has it: from now on none will, so what is given up was not evaluated.
            Err(_) if claim.take() => Err(HashError::Overloaded),
            Err(_) => answered.await.unwrap_or(Err(HashError::Overloaded)),
        }
    }
}

impl Shared {
    /// The life of a worker.
    fn work(&self, params: Params, nice: i32) {
        if let Err(cause) = crate::sys::step_back(nice) {
            tracing::warn!(%cause, nice, "password hashing runs at ordinary priority");
        }
        let mut engine = Engine::new(params);
        while let Some(job) = self.queue.pop() {
            let waited_ms = self.clock.monotonic_ms().saturating_sub(job.queued_ms);
            if !job.claim.take() || job.work.is_abandoned() {
                continue;
            }
            if waited_ms > self.wait_ms {
                job.work.refuse();
                continue;
            }
            self.busy.fetch_add(1, Ordering::Relaxed);
            // A panic in a library must not take the worker along; the caller is told 503 by the dropped answer.
            if catch_unwind(AssertUnwindSafe(|| self.evaluate(&mut engine, job.work))).is_err() {
                tracing::error!("a password job panicked");
            }
            self.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Checks and notes how long it took.
    fn check(&self, engine: &mut Engine, password: &Password, against: Against) -> Result<Checked, HashError> {
        if !matches!(against, Against::Trial(_)) {
            self.evaluated.fetch_add(1, Ordering::Relaxed);
        }
        let against = self.cost_of_nobody(against);
        let begin_ms = self.clock.monotonic_ms();
        let checked = engine.check(password, &against);
        let took_ms = self.clock.monotonic_ms().saturating_sub(begin_ms);
        let cost = match against {
            Against::Stored(stored) => HashCost::of(&stored),
            Against::Trial(cost) => cost,
            Against::Nobody(_) => return checked,
        };
        if checked.is_ok() {
            self.timings().note(cost, took_ms);
        }
        checked
    }

    /// Nobody's hash costs what one of those in use costs.
    fn cost_of_nobody(&self, against: Against) -> Against {
        let Against::Nobody(text) = against else { return against };
        let costs = self.costs.read().unwrap_or_else(PoisonError::into_inner);
        let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(&text).into();
        let many = u32::try_from(costs.len()).unwrap_or(u32::MAX).max(1);
        let drawn = u32::from_be_bytes([a, b, c, d]) % many;
        let cost = costs.get(usize::try_from(drawn).unwrap_or(0)).cloned();
        cost.map_or(Against::Nobody(text), Against::Trial)
    }

    fn timings(&self) -> MutexGuard<'_, Timings> {
        self.timings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn evaluate(&self, engine: &mut Engine, work: Work) {
        // Nobody may be waiting any more; then the answer is dropped.
        match work {
            Work::Check { password, against, answer } => {
                let _ = answer.send(self.check(engine, &password, against));
            }
            Work::Hash { password, answer } => {
                let _ = answer.send(engine.hash(&password, self.random.as_ref()));
            }
            Work::Judge { password, personal, answer } => {
                let personal: Vec<&str> = personal.iter().map(String::as_str).collect();
                let _ = answer.send(Ok(self.policy.judge(&password, &personal)));
            }
        }
    }
}

impl Drop for HashPool {
    fn drop(&mut self) {
        self.shared.queue.end();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[async_trait::async_trait]
impl PasswordHasher for HashPool {
    async fn check(&self, lane: Lane, password: Password, against: Against) -> Result<Checked, HashError> {
        self.run(lane, |answer| Work::Check { password, against, answer }).await
    }

    async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        self.run(Lane::Unknown, |answer| Work::Hash { password, answer }).await
    }

    async fn judge(&self, password: Password, personal: Vec<String>) -> Result<Result<(), WeakPassword>, HashError> {
        self.run(Lane::Unknown, |answer| Work::Judge { password, personal, answer }).await
    }

    async fn imitate(&self, costs: Vec<HashCost>) {
        self.shared.timings().keep(&costs);
        *self.shared.costs.write().unwrap_or_else(PoisonError::into_inner) = costs.clone();
        for cost in costs {
            if !self.shared.timings().knows(&cost) {
                // An overloaded pool is asked again at the next turn.
                let _ = self.check(Lane::Unknown, Password::new(""), Against::Trial(cost)).await;
            }
        }
    }

    fn floor_ms(&self) -> i64 {
        self.shared.timings().floor_ms()
    }

    fn accepts(&self, stored: &PasswordHash) -> Result<(), UnusableHash> {
        StoredHash::read(stored).map(drop)
    }

    fn load(&self) -> HashLoad {
        HashLoad {
            workers: self.threads.len(),
            busy: self.shared.busy.load(Ordering::Relaxed),
            queued: self.shared.queue.len(),
            room: self.shared.queue.limit(),
            evaluated: self.shared.evaluated.load(Ordering::Relaxed),
            shed: self.shared.shed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests;
