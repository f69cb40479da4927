//! A crowd that is disturbed again and again, and judged after every disturbance.

use std::time::{Duration, Instant};
use tests::{
    clock::SeededRandom,
    daemon::Daemon,
    history::{
        crowd::{Crowd, Load},
        ledger,
    },
    scale,
    wait::until,
};

const PEOPLE: u64 = 12;
/// After so many disturbances everything is compared, not only what was touched.
const BETWEEN_AUDITS: usize = 50;
/// So many more disturbances than asked for, at the most, until one has cut somebody off.
const MORE: usize = 50;
/// For a busy machine: whoever is left to serve serves in a moment.
const SERVES: Duration = Duration::from_secs(60);

/// A scenario.
pub(super) struct Storm {
    crowd: Crowd,
    random: SeededRandom,
    round: usize,
}

impl Storm {
    /// People who wait for an answer as long as `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        let random = SeededRandom::new(scale::seed());
        Self { crowd: Crowd::new(PEOPLE, scale::seed(), patience), random, round: 0 }
    }

    /// A random time below `bound_ms`.
    pub(super) fn any_ms(&self, bound_ms: u64) -> Duration {
        Duration::from_millis(self.random.next() % bound_ms)
    }

    /// The number of the next disturbance, from 0, if `rounds` are not enough yet: a storm that cuts nobody off proves
    /// nothing.
    pub(super) fn next(&self, rounds: usize) -> Option<usize> {
        let is_due = self.round < rounds || (self.round < rounds + MORE && !self.has_cut());
        is_due.then_some(self.round)
    }

    fn has_cut(&self) -> bool {
        self.crowd.recorder().counted().values().any(|[.., unknown]| *unknown > 0)
    }

    /// Lets the crowd loose, and comes back at a random moment.
    pub(super) async fn begin(&mut self, daemons: &[&Daemon]) -> Load {
        self.round += 1;
        println!("round {}; {}", self.round, scale::again());
        self.crowd.reach(daemons);
        let load = self.crowd.begin();
        tokio::time::sleep(self.any_ms(400)).await;
        load
    }

    /// Waits until somebody was served by what began after `since`.
    pub(super) async fn until_served_since(&self, since: Instant) {
        let served = || async { (self.crowd.recorder().served_since(since) > 0).then_some(()) };
        until(SERVES, "the other instance serves", served).await;
    }

    /// Calls the crowd back, now that all is well, and compares what was touched; everything from time to time.
    pub(super) async fn judge(&mut self, load: Load, daemons: &[&Daemon]) {
        self.crowd.end(load).await;
        self.crowd.reach(daemons);
        ledger::until_quiet(daemons[0]).await;
        self.crowd.settle().await;
        if self.round.is_multiple_of(BETWEEN_AUDITS) {
            self.audit(daemons[0]).await;
        }
    }

    async fn audit(&mut self, daemon: &Daemon) {
        self.crowd.present_everything().await;
        ledger::check(daemon, &self.crowd.recorder().operations()).await;
    }

    /// Compares every token there ever was, every event and every row.
    pub(super) async fn close(mut self, daemon: &Daemon) {
        self.audit(daemon).await;
        self.crowd.present_the_past().await;
        ledger::check(daemon, &self.crowd.recorder().operations()).await;
        let counted = self.crowd.recorder().counted();
        println!("served, refused, unsent, unknown: {counted:?}");
        assert!(self.has_cut(), "nobody was cut off: {counted:?}");
    }
}
