//! The load generator: callers that ask again and again for a given time, as fast as they can or at a given pace.

use crate::measure::Sample;
use std::{
    future::Future,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, task::JoinSet};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As expected.
    Good,
    /// With another status.
    Refused(u16),
    /// There was nothing left to ask; the caller stops.
    Spent,
}

/// Somebody who asks one thing at a time.
pub(crate) trait Caller: Send + 'static {
    /// Asks once.
    ///
    /// # Panics
    /// When no answer came: then nothing can be measured.
    fn call(&mut self) -> impl Future<Output = Outcome> + Send;

    /// Has no more to ask for now.
    fn rest(&mut self) {}
}

/// How long and how fast to ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Asked for, but not counted.
    warm: Duration,
    /// Counted.
    counted: Duration,
    /// Between two calls of one caller; `None`: none.
    every: Option<Duration>,
}

impl Plan {
    /// As fast as the callers can, counted for this long.
    pub(crate) fn full(counted_ms: u64) -> Self {
        Self { warm: Duration::from_millis(300), counted: Duration::from_millis(counted_ms), every: None }
    }

    /// So many calls a second of each caller.
    pub(crate) fn paced(self, per_second: u32) -> Self {
        Self { every: Some(Duration::from_secs(1) / per_second), ..self }
    }
}

/// Callers of one kind.
pub(crate) struct Crew<C> {
    callers: Vec<C>,
    runtime: Handle,
}

impl<C: Caller> Crew<C> {
    /// Callers on the thread of whoever awaits them.
    pub(crate) fn new(callers: Vec<C>) -> Self {
        Self::on(Handle::current(), callers)
    }

    /// Callers on a runtime of their own.
    pub(crate) fn on(runtime: Handle, callers: Vec<C>) -> Self {
        Self { callers, runtime }
    }

    /// All of them, to be told something.
    pub(crate) fn callers(&mut self) -> impl Iterator<Item = &mut C> {
        self.callers.iter_mut()
    }

    /// Lets all of them ask, and waits until the last one has its last answer.
    pub(crate) async fn work(&mut self, plan: Plan) -> Sample {
        self.work_with(self.callers.len(), plan).await
    }

    /// Lets so many of them ask; the others are idle.
    pub(crate) async fn work_with(&mut self, count: usize, plan: Plan) -> Sample {
        assert!(count <= self.callers.len(), "{count} of {} callers", self.callers.len());
        let begin = Instant::now();
        let mut set = JoinSet::new();
        let working: Vec<C> = self.callers.drain(..count).collect();
        let count = u32::try_from(count).expect("callers are few");
        for (number, caller) in (0..count).zip(working) {
            let shift = plan.every.map_or(Duration::ZERO, |every| every * number / count);
            set.spawn_on(drive(caller, plan, begin, shift), &self.runtime);
        }
        let mut all = Sample::default();
        for (caller, sample) in set.join_all().await {
            self.callers.push(caller);
            all.absorb(sample);
        }
        all
    }
}

async fn drive<C: Caller>(mut caller: C, plan: Plan, begin: Instant, shift: Duration) -> (C, Sample) {
    let start = begin + plan.warm;
    let end = start + plan.counted;
    let mut sample = Sample::default();
    let mut due = begin + shift;
    let mut until = end;
    loop {
        let asked = match plan.every {
            None => Instant::now(),
            Some(every) => {
                let asked = wait_for(due).await;
                due += every;
                asked
            }
        };
        if asked >= end {
            break;
        }
        let outcome = caller.call().await;
        let done = Instant::now();
        match outcome {
            Outcome::Spent => {
                until = done.min(end);
                break;
            }
            _ if done < start || done >= end => {}
            Outcome::Good => sample.took.push(done.saturating_duration_since(asked)),
            Outcome::Refused(status) => *sample.refused.entry(status).or_default() += 1,
        }
    }
    caller.rest();
    let counted_s = until.saturating_duration_since(start).as_secs_f64().max(0.001);
    sample.rate = sample.took.len() as f64 / counted_s;
    (caller, sample)
}

/// Waits for the time of a call. A call that is late because the one before it took long counts from when it was due,
/// so that a slow answer is not hidden by the calls it kept back.
async fn wait_for(due: Instant) -> Instant {
    if Instant::now() >= due {
        return due;
    }
    tokio::time::sleep_until(due.into()).await;
    Instant::now()
}
