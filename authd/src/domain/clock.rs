//! Time and randomness as arguments. The only file that reads the machine's.

use std::{sync::OnceLock, time::Instant};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Unix time in milliseconds; may jump.
    fn now_ms(&self) -> i64;

    /// Milliseconds since some fixed instant; never goes back.
    fn monotonic_ms(&self) -> i64;

    /// The same in microseconds.
    fn monotonic_us(&self) -> i64 {
        self.monotonic_ms().saturating_mul(1_000)
    }

    /// What is added to the database's own time; zero in production, moved by tests.
    fn database_offset_ms(&self) -> i64 {
        0
    }
}

/// A wall clock that moves further than this against the monotonic one, in milliseconds, is not believed by whatever
/// erases for good.
pub const MAX_STEP_MS: i64 = 3_600_000;

/// A wall clock beside the monotonic one: whether it has jumped since it was first looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps {
    base_ms: Option<i64>,
    step_ms: i64,
}

impl Steps {
    /// Looks at both; how far the wall clock is off, if that is too far.
    pub fn look(&mut self, wall_ms: i64, monotonic_ms: i64) -> Option<i64> {
        let apart_ms = wall_ms.saturating_sub(monotonic_ms);
        self.step_ms = apart_ms.saturating_sub(*self.base_ms.get_or_insert(apart_ms));
        self.step_ms()
    }

    /// What the last look found.
    #[must_use]
    pub fn step_ms(&self) -> Option<i64> {
        Some(self.step_ms).filter(|step_ms| step_ms.saturating_abs() > MAX_STEP_MS)
    }
}

/// Where randomness comes from.
pub trait Random: Send + Sync {
    /// Fills `bytes` with bytes nobody can predict.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` random bytes.
pub fn random_bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic_ms(&self) -> i64 {
        self.monotonic_us() / 1_000
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    fn monotonic_us(&self) -> i64 {
        static START: OnceLock<Instant> = OnceLock::new();
        let now = Instant::now();
        let since = now.duration_since(*START.get_or_init(|| now));
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's randomness")]
    fn fill(&self, bytes: &mut [u8]) {
        // A kernel without randomness cannot run an authentication daemon; going on would be worse than ending.
        if getrandom::fill(bytes).is_err() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_is_off_until_it_is_back() {
        let (mut steps, hour) = (Steps::default(), MAX_STEP_MS);
        assert_eq!(steps.look(1_000_000, 5), None);
        assert_eq!(steps.look(1_000_000 + 9 * hour, 5 + 9 * hour), None, "time that has passed is no step");
        assert_eq!(steps.look(1_000_000 + 10 * hour, 5 + 9 * hour), None, "an hour is believed");
        assert_eq!(steps.look(1_000_001 + 10 * hour, 5 + 9 * hour), Some(hour + 1));
        assert_eq!(steps.look(1_000_000 - 2 * hour, 5), Some(-2 * hour));
        assert_eq!(steps.step_ms(), Some(-2 * hour));
        assert_eq!(steps.look(1_000_007, 5), None);
        assert_eq!(Steps::default().look(i64::MAX, i64::MIN), None);
    }
}
