//! How old a count of all sessions may be when it is shown: as long as counting is quick it is done anew each time, and
//! a slow count is remembered for a while, so that no more than a twentieth of the time is spent on it.

/// A count that took longer than this is remembered, in milliseconds.
const QUICK_MS: i64 = 50;
/// For so many times what it took.
const REMEMBERED: i64 = 20;

/// A count of live sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// How many there were.
    pub live: u64,
    /// When it was done, in milliseconds of the monotonic clock.
    pub at_ms: i64,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
}

impl Census {
    /// Whether it may still be shown.
    #[must_use]
    pub fn is_good_at(self, now_ms: i64) -> bool {
        self.took_ms > QUICK_MS && now_ms.saturating_sub(self.at_ms) <= self.took_ms.saturating_mul(REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_slow_count_is_remembered_and_no_longer_than_it_is_worth() {
        let quick = Census { live: 1, at_ms: 1_000, took_ms: 50 };
        assert!(!quick.is_good_at(1_000));
        let slow = Census { took_ms: 600, ..quick };
        assert!(slow.is_good_at(1_000) && slow.is_good_at(13_000) && !slow.is_good_at(13_001));
    }
}
