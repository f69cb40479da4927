//! An overview of all sessions: how many of which kinds, and where most of them are.

use crate::domain::session::{Network, SessionState, Transport};
use shared::id::UserId;
use std::collections::HashMap;

/// Sessions of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTally {
    /// Their state.
    pub state: SessionState,
    /// How their tokens travel.
    pub transport: Transport,
    /// Opened less than so many milliseconds ago, one of [`AGES_MS`]; `None`: longer ago than all of them.
    pub younger_than_ms: Option<i64>,
    /// How many.
    pub count: u64,
}

/// Bounds of the ages that sessions are counted by, in milliseconds: an hour, a day, a week, thirty days.
pub const AGES_MS: [i64; 4] = [3_600_000, 24 * 3_600_000, 7 * 24 * 3_600_000, 30 * 24 * 3_600_000];

/// An overview of all sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionStats {
    /// When it was made, by database time.
    pub at_ms: i64,
    /// Each kind there is.
    pub tallies: Vec<SessionTally>,
    /// Accounts with the most live sessions, their e-mail and how many; sought among those with the most sessions that
    /// nobody has ended.
    pub accounts: Vec<(UserId, Option<String>, u64)>,
    /// Networks with the most live sessions.
    pub networks: Vec<(Network, u64)>,
}

impl SessionStats {
    /// Counts sessions of a kind, perhaps of one that was counted before.
    pub fn add(&mut self, more: SessionTally) {
        let is_same = |known: &&mut SessionTally| {
            (known.state, known.transport, known.younger_than_ms) == (more.state, more.transport, more.younger_than_ms)
        };
        match self.tallies.iter_mut().find(is_same) {
            Some(known) => known.count += more.count,
            None => self.tallies.push(more),
        }
    }
}

/// Networks that are counted at once; beyond, those with the fewest sessions so far, at least half of them, are forgotten.
const NETWORKS: usize = 100_000;

/// The networks with the most sessions, counted in bounded memory.
#[derive(Debug, Clone, Default)]
pub struct Busiest(HashMap<Network, u64>);

impl Busiest {
    /// So many sessions more.
    pub fn add(&mut self, network: Network, sessions: u64) {
        *self.0.entry(network).or_default() += sessions;
        if self.0.len() > NETWORKS {
            let mut counts: Vec<u64> = self.0.values().copied().collect();
            let (_, median, _) = counts.select_nth_unstable(NETWORKS / 2);
            let median = *median;
            self.0.retain(|_, count| *count > median);
        }
    }

    /// So many of them, most sessions first.
    #[must_use]
    pub fn first(self, top: usize) -> Vec<(Network, u64)> {
        let mut all: Vec<(Network, u64)> = self.0.into_iter().collect();
        all.sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.as_str().cmp(other.as_str())));
        all.truncate(top);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_networks_are_found_among_more_than_are_kept() {
        let network = |number: usize| Network::stored(format!("10.{}.{}.0/24", number / 256, number % 256));
        let mut busiest = Busiest::default();
        for round in 0..4 {
            (0..3 * NETWORKS).for_each(|number| busiest.add(network(number), 1));
            busiest.add(network(7), 40 - round);
            busiest.add(network(3 * NETWORKS + 5), 90);
            assert!(busiest.0.len() <= NETWORKS);
        }
        let first = busiest.first(2);
        assert_eq!(first[0], (network(3 * NETWORKS + 5), 360));
        assert_eq!(first[1].0, network(7));
        assert!((154..=158).contains(&first[1].1), "{first:?}");
    }
}
