//! What the daemon counts of its own work: numbers by closed kinds, never by anything a client chose.
//!
//! Counting is one atomic addition at a place known when the program is compiled: it may stand on the hottest path.

use crate::domain::limit::PolicyName;
use shared::notable::{NOTABLE, Notable};
use std::{
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering},
};

/// A closed set of kinds with names for operators.
pub trait Kind: Copy + 'static {
    /// All of them, in the order of [`Kind::place`].
    const ALL: &'static [Self];

    /// Its place in [`Kind::ALL`].
    fn place(self) -> usize;

    /// What operators read.
    fn name(self) -> &'static str;
}

/// Declares an enum of kinds with the text of each.
macro_rules! kinds {
    ($(#[$meta:meta])* $kind:ident { $($(#[$about:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $kind { $($(#[$about])* $name,)* }

        impl Kind for $kind {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            fn place(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// How a login ended.
    LoginOutcome {
        /// A session was opened.
        Succeeded = "succeeded",
        /// 401.
        InvalidCredentials = "invalid_credentials",
        /// 429.
        Limited = "limited",
        /// 503: no place in the hash queue.
        Overloaded = "overloaded",
        /// 503: storage.
        Unavailable = "unavailable",
        /// Anything else.
        Refused = "refused",
    }
}

kinds! {
    /// How a refresh ended.
    RefreshOutcome {
        /// A new generation.
        Rotated = "rotated",
        /// The same successor again (R2).
        Retried = "retried",
        /// A spent token: its session was ended (R3).
        Replayed = "replayed",
        /// 401 for another reason.
        Refused = "refused",
        /// 409 (R2k).
        Conflict = "conflict",
        /// 429.
        Limited = "limited",
        /// 503; nothing was consumed.
        Unavailable = "unavailable",
    }
}

kinds! {
    /// What a limit said.
    LimitOutcome {
        /// Go on.
        Allowed = "allowed",
        /// Too many.
        Denied = "denied",
        /// Everything is held by checks under way.
        Overloaded = "overloaded",
    }
}

kinds! {
    /// What became of a refusal that can come in floods.
    DenialFate {
        /// An event of its own.
        Written = "written",
        /// One of those that share an event.
        Counted = "counted",
        /// Kept in the spool until storage is back.
        Spooled = "spooled",
    }
}

kinds! {
    /// How a request was answered.
    StatusClass {
        /// Done.
        Success = "2xx",
        /// Look elsewhere.
        Redirection = "3xx",
        /// The client's fault.
        ClientError = "4xx",
        /// Ours, or a dependency's.
        ServerError = "5xx",
    }
}

impl StatusClass {
    /// The class of a status code.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            0..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

kinds! {
    /// What storage is asked for.
    StorageWork {
        /// Statements that change nothing.
        Read = "read",
        /// A transaction.
        Write = "write",
    }
}

/// How often each kind was seen.
#[derive(Debug)]
pub struct Counts<K> {
    cells: Box<[AtomicU64]>,
    kind: PhantomData<fn(K)>,
}

impl<K: Kind> Default for Counts<K> {
    fn default() -> Self {
        Self { cells: K::ALL.iter().map(|_| AtomicU64::new(0)).collect(), kind: PhantomData }
    }
}

impl<K: Kind> Counts<K> {
    /// One more.
    pub fn count(&self, kind: K) {
        self.add(kind, 1);
    }

    /// So many more.
    pub fn add(&self, kind: K, more: u64) {
        if let Some(cell) = self.cells.get(kind.place()) {
            cell.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// How many so far.
    #[must_use]
    pub fn of(&self, kind: K) -> u64 {
        self.cells.get(kind.place()).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// All kinds with their numbers.
    pub fn all(&self) -> impl Iterator<Item = (K, u64)> + '_ {
        K::ALL.iter().map(|kind| (*kind, self.of(*kind)))
    }
}

/// Upper bounds of the classes of a [`Times`], in microseconds: from a verification to the budget of a login.
pub const BOUNDS_US: [u64; 14] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// How long things took, in classes.
#[derive(Debug, Default)]
pub struct Times {
    within: [AtomicU64; BOUNDS_US.len()],
    beyond: AtomicU64,
    sum_us: AtomicU64,
}

/// What a [`Times`] held at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimesSeen {
    /// For each of [`BOUNDS_US`] how many took at most so long.
    pub at_most: Vec<u64>,
    /// How many there were.
    pub count: u64,
    /// How long all took together, in microseconds.
    pub sum_us: u64,
}

impl Times {
    /// One that took so many microseconds.
    pub fn took(&self, took_us: i64) {
        let took_us = u64::try_from(took_us).unwrap_or(0);
        let class = BOUNDS_US.iter().position(|bound| took_us <= *bound);
        class.and_then(|class| self.within.get(class)).unwrap_or(&self.beyond).fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// What it holds; a count is never less than its classes together.
    #[must_use]
    pub fn seen(&self) -> TimesSeen {
        let mut count = 0;
        let mut up_to = |cell: &AtomicU64| {
            count += cell.load(Ordering::Relaxed);
            count
        };
        let at_most = self.within.iter().map(&mut up_to).collect();
        let count = up_to(&self.beyond);
        TimesSeen { at_most, count, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

/// What the use cases count.
#[derive(Debug)]
pub struct Tally {
    /// Logins.
    pub logins: Counts<LoginOutcome>,
    /// Refreshes.
    pub refreshes: Counts<RefreshOutcome>,
    /// Refusals that can come in floods.
    pub denials: Counts<DenialFate>,
    limits: Vec<(PolicyName, Counts<LimitOutcome>)>,
    /// In the order of [`NOTABLE`].
    news: Box<[AtomicU64]>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            logins: Counts::default(),
            refreshes: Counts::default(),
            denials: Counts::default(),
            limits: PolicyName::ALL.into_iter().map(|policy| (policy, Counts::default())).collect(),
            news: NOTABLE.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Tally {
    /// A policy decided.
    pub fn decided(&self, policy: PolicyName, outcome: LimitOutcome) {
        if let Some((_, counts)) = self.limits.iter().find(|(name, _)| *name == policy) {
            counts.count(outcome);
        }
    }

    /// Every policy with its decisions.
    pub fn limits(&self) -> impl Iterator<Item = (PolicyName, &Counts<LimitOutcome>)> {
        self.limits.iter().map(|(policy, counts)| (*policy, counts))
    }

    /// Operators were told of an event of this kind.
    pub fn told(&self, kind: &Notable) {
        let place = NOTABLE.iter().position(|one| one.name == kind.name);
        if let Some(cell) = place.and_then(|place| self.news.get(place)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every kind of event by its name, and how often operators were told of it.
    pub fn news(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NOTABLE.iter().zip(&self.news).map(|(kind, cell)| (kind.name, cell.load(Ordering::Relaxed)))
    }
}

/// What storage counts.
#[derive(Debug, Default)]
pub struct StorageTally {
    /// How long reads took.
    pub reads: Times,
    /// How long transactions took, waiting for a connection or a place in a group included.
    pub writes: Times,
    /// Those that failed.
    pub failures: Counts<StorageWork>,
}

impl StorageTally {
    /// The times of this work.
    #[must_use]
    pub fn times(&self, work: StorageWork) -> &Times {
        match work {
            StorageWork::Read => &self.reads,
            StorageWork::Write => &self.writes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        fn check<K: Kind>() {
            assert!(K::ALL.iter().enumerate().all(|(place, kind)| kind.place() == place));
        }
        check::<LoginOutcome>();
        check::<RefreshOutcome>();
        check::<LimitOutcome>();
        check::<DenialFate>();
        check::<StatusClass>();
        check::<StorageWork>();
        let counts = Counts::default();
        counts.count(StatusClass::of(404));
        counts.add(StatusClass::of(503), 2);
        assert_eq!(counts.all().map(|(_, count)| count).collect::<Vec<_>>(), [0, 0, 1, 2]);
    }

    #[test]
    fn times_are_classed_by_upper_bounds_and_none_is_left_out() {
        let times = Times::default();
        for took_us in [-1, 100, 101, 5_000_000, 5_000_001, i64::MAX] {
            times.took(took_us);
        }
        let seen = times.seen();
        assert_eq!((seen.at_most[0], seen.at_most[1]), (2, 3));
        assert_eq!((seen.at_most.last(), seen.count), (Some(&4), 6));
    }

    #[test]
    fn every_policy_is_counted_apart() {
        let tally = Tally::default();
        PolicyName::ALL.into_iter().for_each(|policy| tally.decided(policy, LimitOutcome::Denied));
        assert!(tally.limits().all(|(_, counts)| counts.of(LimitOutcome::Denied) == 1));
    }
}
