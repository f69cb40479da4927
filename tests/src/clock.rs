//! Time that a test moves, and randomness that a seed repeats.

use authd::domain::clock::{Clock, Random};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

/// A clock that runs with the machine's, plus what a test has added; the database's time moves along.
#[derive(Debug, Default)]
pub struct TestClock {
    added_ms: AtomicI64,
    stepped_ms: AtomicI64,
    frozen_ms: AtomicI64,
}

impl TestClock {
    /// Moves the time; back with a negative number.
    pub fn advance_ms(&self, by_ms: i64) {
        self.added_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Has the clocks jump, the database's too, while no time passes; back with a negative number.
    pub fn step_secs(&self, by_secs: i64) {
        self.stepped_ms.fetch_add(by_secs * 1_000, Ordering::SeqCst);
    }

    /// Has the clocks stand still, the database's too, while time passes.
    pub fn freeze(&self) {
        self.frozen_ms.store(authd::domain::clock::SystemClock.now_ms(), Ordering::SeqCst);
    }

    fn ahead_ms(&self) -> i64 {
        let stands_since_ms = self.frozen_ms.load(Ordering::SeqCst);
        let behind_ms =
            if stands_since_ms == 0 { 0 } else { authd::domain::clock::SystemClock.now_ms() - stands_since_ms };
        self.added_ms.load(Ordering::SeqCst) + self.stepped_ms.load(Ordering::SeqCst) - behind_ms
    }

    /// Moves the time by seconds.
    pub fn advance_secs(&self, by_secs: i64) {
        self.advance_ms(by_secs * 1_000);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        authd::domain::clock::SystemClock.now_ms() + self.ahead_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        authd::domain::clock::SystemClock.monotonic_ms() + self.added_ms.load(Ordering::SeqCst).max(0)
    }

    fn database_offset_ms(&self) -> i64 {
        self.ahead_ms()
    }
}

/// Splitmix64: the same bytes for the same seed. For tests alone; it can be predicted.
#[derive(Debug)]
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    /// Starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next number.
    #[must_use]
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must be above zero.
    #[must_use]
    pub fn below(&self, bound: usize) -> usize {
        // The remainder is below a `usize`.
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            chunk.copy_from_slice(number.get(..chunk.len()).unwrap_or_default());
        }
    }
}
