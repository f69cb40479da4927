//! What a load gave: a rate, times, refusals; and how repeated measurements compare.

use std::{collections::BTreeMap, time::Duration};

/// Ratios of rounds that are further apart than this say that something else ran on the machine.
const UNSTEADY: f64 = 1.3;

/// One measurement of one load.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Good answers a second.
    pub(crate) rate: f64,
    /// How long each good answer took.
    pub(crate) took: Vec<Duration>,
    /// Answers that were not the expected ones, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
}

impl Sample {
    /// Adds what another caller of the same load saw at the same time.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.rate += other.rate;
        self.took.extend(other.took);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
    }
}

/// The measurements of one load, one for each round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series(Vec<Sample>);

/// Half and nearly all of the answers took at most this long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Half of them.
    pub(crate) p50: Duration,
    /// 99 of 100.
    pub(crate) p99: Duration,
}

impl Series {
    /// Adds a round.
    ///
    /// # Panics
    /// When nothing was answered as expected: a benchmark of refusals would be a lie.
    pub(crate) fn push(&mut self, sample: Sample) {
        assert!(!sample.took.is_empty(), "no good answer at all, but {:?}", sample.refused);
        self.0.push(sample);
    }

    /// The median rate.
    pub(crate) fn rate(&self) -> f64 {
        median(self.0.iter().map(|sample| sample.rate))
    }

    /// The median of the ratios of rounds that followed each other.
    pub(crate) fn ratio_to(&self, limit: &Self) -> f64 {
        median(self.ratios_to(limit))
    }

    /// The least and the greatest of these ratios, when they are too far apart to trust the median.
    pub(crate) fn unsteady(&self, limit: &Self) -> Option<(f64, f64)> {
        let least = self.ratios_to(limit).fold(f64::INFINITY, f64::min);
        let most = self.ratios_to(limit).fold(0.0, f64::max);
        (most > least * UNSTEADY).then_some((least, most))
    }

    fn ratios_to(&self, limit: &Self) -> impl Iterator<Item = f64> {
        self.0.iter().zip(&limit.0).map(|(ours, theirs)| ours.rate / theirs.rate)
    }

    /// Times of all rounds together.
    pub(crate) fn times(&self) -> Times {
        times(self.0.iter().flat_map(|sample| sample.took.iter().copied()))
    }

    /// What was refused, for people; `None` when nothing was.
    pub(crate) fn refusals(&self) -> Option<String> {
        let mut all = Sample::default();
        self.0.iter().cloned().for_each(|sample| all.absorb(sample));
        let good = all.took.len();
        let counts: Vec<String> = all.refused.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        (!counts.is_empty())
            .then(|| format!("answers that do not count: {} (beside {good} good ones)", counts.join(", ")))
    }
}

/// Half and nearly all of these.
pub(crate) fn times(all: impl Iterator<Item = Duration>) -> Times {
    let mut sorted: Vec<Duration> = all.collect();
    sorted.sort_unstable();
    let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Times { p50: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default() }
}

/// The middle one; of an even number the mean of the two.
pub(crate) fn median(all: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = all.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => (below + above) / 2.0,
        (_, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}
