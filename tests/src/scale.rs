//! How far the heavy scenarios go, and the seed they start from.

use std::{sync::OnceLock, time::SystemTime};

/// Percent of the full figures; `tests/run` leaves it at 1, `tests/run --full` sets 20, `tests/run --soak` 100.
const SCALE: &str = "AUTHD_TEST_SCALE";
/// The seed of a run that is to be repeated.
const SEED: &str = "AUTHD_TEST_SEED";

/// The share of a figure that this run asks for; at least 1.
///
/// # Panics
/// When the scale is not a number from 1 to 100.
#[must_use]
pub fn of(full: usize) -> usize {
    let percent = number(SCALE).unwrap_or(1);
    assert!((1..=100).contains(&percent), "{SCALE} must be a number from 1 to 100, not {percent}");
    full.saturating_mul(usize::try_from(percent).unwrap_or(100)).div_ceil(100).max(1)
}

/// The seed of this run: print it with every failure.
#[must_use]
pub fn seed() -> u64 {
    static CHOSEN: OnceLock<u64> = OnceLock::new();
    *CHOSEN.get_or_init(|| number(SEED).unwrap_or_else(from_clock))
}

/// What to say when a heavy scenario fails, so that it can be run again.
#[must_use]
pub fn again() -> String {
    format!("run again with {SEED}={}", seed())
}

fn from_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos()) ^ since.as_secs()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}
