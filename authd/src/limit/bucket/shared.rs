//! One bucket's part in a count that several instances share: what it tells, and what it learns.

use super::{Bucket, PLACE_MS, Place};

/// What is known of the shared count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shared {
    /// Its generation; a reset or a success begins a new one.
    generation: Option<i64>,
    /// In which life of the connection that was learnt.
    epoch: u64,
    /// More was counted here since.
    pub(super) untold: bool,
}

/// What a bucket tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::limit) struct Known {
    pub(in crate::limit) generation: Option<i64>,
    pub(in crate::limit) untold: bool,
    pub(in crate::limit) ahead_us: i64,
    pub(in crate::limit) failures: u32,
    pub(in crate::limit) age_ms: i64,
    pub(in crate::limit) places: u32,
}

/// What the shared count is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) struct News {
    pub(in crate::limit) generation: i64,
    pub(in crate::limit) epoch: u64,
    pub(in crate::limit) level: Level,
}

/// How much is used up. Relative to now: clocks of machines differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) enum Level {
    /// How far the theoretical arrival time lies ahead.
    Ahead { us: i64 },
    /// Failures in a row, and how long ago the last was.
    Row { failures: u32, age_ms: i64 },
    /// Nothing.
    Nothing,
}

impl Bucket {
    /// What the shared count should know; after a new connection it may know less than before.
    pub(in crate::limit) fn known(&self, epoch: u64, now_ms: i64) -> Known {
        let is_held = |place: &&Place| now_ms.saturating_sub(place.since_ms) < PLACE_MS;
        Known {
            generation: self.shared.generation,
            untold: self.shared.untold || self.shared.epoch != epoch,
            ahead_us: self.tat_us.saturating_sub(now_ms.saturating_mul(1_000)).max(0),
            failures: self.failures,
            age_ms: now_ms.saturating_sub(self.last_failure_ms).max(0),
            places: u32::try_from(self.places.iter().filter(is_held).count()).unwrap_or(u32::MAX),
        }
    }

    /// Takes the shared count over; of the same generation, the stricter of both if more was counted here meanwhile.
    pub(in crate::limit) fn learn(&mut self, news: News, now_ms: i64) {
        let is_same = self.shared.generation.is_none_or(|generation| generation == news.generation);
        let keeps_stricter = is_same && self.shared.untold;
        let (tat_us, failures, last_failure_ms) = match news.level {
            Level::Ahead { us } => (now_ms.saturating_mul(1_000).saturating_add(us), 0, 0),
            Level::Row { failures, age_ms } => (0, failures, now_ms.saturating_sub(age_ms)),
            Level::Nothing => (0, 0, 0),
        };
        let is_stricter = keeps_stricter && (self.tat_us > tat_us || self.failures > failures);
        if !is_stricter {
            (self.tat_us, self.failures, self.last_failure_ms) = (tat_us, failures, last_failure_ms);
        }
        self.shared = Shared { generation: Some(news.generation), epoch: news.epoch, untold: is_stricter };
    }

    /// Remembers a place that is held in the shared count.
    pub(in crate::limit) fn hold(&mut self, ticket: u64, now_ms: i64) {
        self.free_lost_places(now_ms);
        self.places.push(Place { ticket, since_ms: now_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn row(generation: i64, failures: u32) -> News {
        News { generation, epoch: 1, level: Level::Row { failures, age_ms: 0 } }
    }

    fn failed(failures: u32) -> Bucket {
        let shared = Shared { untold: true, ..Shared::default() };
        Bucket { failures, last_failure_ms: NOW_MS, shared, ..Bucket::default() }
    }

    #[test]
    fn what_was_counted_alone_is_kept_until_the_shared_count_has_it() {
        let mut bucket = failed(4);
        bucket.learn(row(0, 2), NOW_MS);
        assert_eq!((bucket.failures, bucket.known(1, NOW_MS).untold), (4, true));
        bucket.learn(row(0, 5), NOW_MS);
        assert_eq!((bucket.failures, bucket.known(1, NOW_MS).untold), (5, false));
    }

    #[test]
    fn a_newer_generation_replaces_whatever_was_counted() {
        let mut bucket = failed(4);
        bucket.learn(row(2, 4), NOW_MS);
        bucket.shared.untold = true;
        bucket.learn(row(3, 0), NOW_MS);
        assert_eq!((bucket.failures, bucket.known(1, NOW_MS).generation), (0, Some(3)));
    }

    #[test]
    fn after_a_new_connection_everything_is_told_again_once() {
        let mut bucket = Bucket::default();
        bucket.learn(row(0, 3), NOW_MS);
        assert!(!bucket.known(1, NOW_MS).untold);
        assert!(bucket.known(2, NOW_MS).untold);
        bucket.learn(News { epoch: 2, ..row(0, 3) }, NOW_MS);
        assert!(!bucket.known(2, NOW_MS).untold);
    }

    #[test]
    fn asking_again_and_again_moves_no_end() {
        let mut bucket = Bucket::default();
        for at in 0..1_000 {
            let news = News { generation: 0, epoch: 1, level: Level::Ahead { us: 5_000_000 - at * 1_000 } };
            bucket.learn(news, NOW_MS + at);
        }
        assert_eq!(bucket.known(1, NOW_MS + 999).ahead_us, 4_001_000);
    }

    #[test]
    fn places_are_told_until_they_are_lost() {
        let mut bucket = Bucket::default();
        bucket.hold(1, NOW_MS);
        bucket.hold(2, NOW_MS + 10);
        assert_eq!(bucket.known(1, NOW_MS + 20).places, 2);
        assert_eq!(bucket.known(1, NOW_MS + PLACE_MS).places, 1);
    }
}
