//! When this instance could not reach its storage: the grace of a lost reply does not run meanwhile (rule R5).

/// The longest time an outage adds to a grace, in milliseconds.
pub const MAX_EXTENSION_MS: i64 = 120_000;
const KEPT: usize = 32;

/// Recent outages as seen by this instance: bounded, oldest dropped first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outages {
    ended: Vec<(i64, i64)>,
    since_ms: Option<i64>,
}

impl Outages {
    /// Storage failed at `now_ms`.
    pub fn failed(&mut self, now_ms: i64) {
        self.since_ms.get_or_insert(now_ms);
    }

    /// Storage answered at `now_ms`.
    pub fn answered(&mut self, now_ms: i64) {
        let Some(since_ms) = self.since_ms.take() else { return };
        if self.ended.len() >= KEPT {
            self.ended.remove(0);
        }
        self.ended.push((since_ms, now_ms));
    }

    /// Since when storage fails, if it does.
    #[must_use]
    pub fn since_ms(&self) -> Option<i64> {
        self.since_ms
    }

    /// How many milliseconds of `[from_ms, to_ms]` were outage, at most [`MAX_EXTENSION_MS`].
    #[must_use]
    pub fn within(&self, from_ms: i64, to_ms: i64) -> i64 {
        let open = self.since_ms.map(|since_ms| (since_ms, i64::MAX));
        let overlap: i64 = self
            .ended
            .iter()
            .copied()
            .chain(open)
            .map(|(start, end)| (end.min(to_ms) - start.max(from_ms)).max(0))
            .fold(0, i64::saturating_add);
        overlap.min(MAX_EXTENSION_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_of_an_outage_inside_the_window_counts() {
        let mut outages = Outages::default();
        outages.failed(100);
        outages.failed(150);
        outages.answered(200);
        outages.answered(900);
        assert_eq!(outages.within(0, 1_000), 100);
        assert_eq!(outages.within(150, 180), 30);
        assert_eq!(outages.within(300, 1_000), 0);
        outages.failed(1_000);
        assert_eq!(outages.within(0, 1_500), 600);
        assert_eq!(outages.within(0, 10_000_000), MAX_EXTENSION_MS);
    }
}
