//! Time and randomness as arguments. The only file that reads the machine's.

use std::{sync::OnceLock, time::Instant};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Unix time in milliseconds; may jump.
    fn now_ms(&self) -> i64;

    /// Milliseconds since some fixed instant; never goes back.
    fn monotonic_ms(&self) -> i64;

    /// What is added to the database's own time; zero in production, moved by tests.
    fn database_offset_ms(&self) -> i64 {
        0
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

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    fn monotonic_ms(&self) -> i64 {
        static START: OnceLock<Instant> = OnceLock::new();
        let now = Instant::now();
        let since = now.duration_since(*START.get_or_init(|| now));
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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
