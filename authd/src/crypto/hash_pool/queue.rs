//! Jobs for the hashing threads, in two bounded lanes.

use crate::domain::{
    account::PasswordHash,
    hard::Lane,
    password::{Against, Checked, HashError, Password, WeakPassword},
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::oneshot;

/// Where the answer goes; closed when the caller has left.
pub(super) type Answer<T> = oneshot::Sender<Result<T, HashError>>;

/// What a worker can do.
pub(super) enum Work {
    Check { password: Password, against: Against, answer: Answer<Checked> },
    Hash { password: Password, answer: Answer<PasswordHash> },
    Judge { password: Password, personal: Vec<String>, answer: Answer<Result<(), WeakPassword>> },
}

impl Work {
    /// Whether nobody waits for it: neither the task that asked nor the client that gave the password.
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Check { answer, password, .. } => answer.is_closed() || password.is_unwanted(),
            Self::Hash { answer, password } => answer.is_closed() || password.is_unwanted(),
            Self::Judge { answer, password, .. } => answer.is_closed() || password.is_unwanted(),
        }
    }

    /// Answers that there is no time for it.
    pub(super) fn refuse(self) {
        match self {
            Self::Check { answer, .. } => drop(answer.send(Err(HashError::Overloaded))),
            Self::Hash { answer, .. } => drop(answer.send(Err(HashError::Overloaded))),
            Self::Judge { answer, .. } => drop(answer.send(Err(HashError::Overloaded))),
        }
    }
}

/// Work with the time since which it waits.
pub(super) struct Job {
    pub(super) work: Work,
    /// When it was queued, on the monotonic clock.
    pub(super) queued_ms: i64,
    pub(super) claim: Arc<Claim>,
}

/// Who has a job: the worker that does it, or the caller that gives it up. Never both.
#[derive(Default)]
pub(super) struct Claim(AtomicBool);

impl Claim {
    /// Takes the job; `false` when the other one has it.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Job {
    pub(super) fn new(work: Work, queued_ms: i64) -> Self {
        Self { work, queued_ms, claim: Arc::default() }
    }
}

#[derive(Default)]
struct Lanes {
    known: VecDeque<Job>,
    unknown: VecDeque<Job>,
    has_ended: bool,
}

/// First in, first out within a lane; known devices first.
pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    filled: Condvar,
    /// Most jobs in one lane.
    limit: usize,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self { lanes: Mutex::default(), filled: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, if there is room once those are gone whose caller has left.
    pub(super) fn push(&self, lane: Lane, job: Job) -> Result<(), HashError> {
        let mut lanes = self.lock();
        if lanes.has_ended {
            return Err(HashError::Overloaded);
        }
        let jobs = match lane {
            Lane::Known => &mut lanes.known,
            Lane::Unknown => &mut lanes.unknown,
        };
        if jobs.len() >= self.limit {
            jobs.retain(|job| !job.work.is_abandoned());
        }
        if jobs.len() >= self.limit {
            return Err(HashError::Overloaded);
        }
        jobs.push_back(job);
        drop(lanes);
        self.filled.notify_one();
        Ok(())
    }

    /// Most jobs in one lane.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Waits for the next job; `None` once the queue has ended.
    pub(super) fn pop(&self) -> Option<Job> {
        let mut lanes = self.lock();
        loop {
            if lanes.has_ended {
                return None;
            }
            if let Some(job) = lanes.known.pop_front() {
                return Some(job);
            }
            if let Some(job) = lanes.unknown.pop_front() {
                return Some(job);
            }
            lanes = self.filled.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Drops what waits and lets every worker end.
    pub(super) fn end(&self) {
        let mut lanes = self.lock();
        *lanes = Lanes { has_ended: true, ..Lanes::default() };
        drop(lanes);
        self.filled.notify_all();
    }

    /// How many jobs wait.
    pub(super) fn len(&self) -> usize {
        let lanes = self.lock();
        lanes.known.len() + lanes.unknown.len()
    }
}
