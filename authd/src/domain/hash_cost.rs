//! What checking a password costs: imported accounts bring hashes of other parameters, and nobody may learn from the
//! time of a refusal which ones an account has, or that there is none (reliability §2; ASVS 6.3.8).

use crate::domain::account::PasswordHash;
use std::collections::HashMap;

/// Durations kept of each parameter set.
const KEPT: usize = 32;
/// Parameter sets told apart; more are not in use anywhere.
const MAX_COSTS: usize = 64;
/// Beyond the slowest hash, in milliseconds: what the database takes of a failed login.
const MARGIN_MS: i64 = 5;

/// Algorithm and parameters of a stored hash, as they stand at its beginning: `$argon2id$v=19$m=19456,t=2,p=1$`,
/// `$2b$12$`. Nothing of salt or output.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HashCost(String);

impl HashCost {
    /// The cost of a stored hash; one of no known form costs what its name says: nothing.
    #[must_use]
    pub fn of(stored: &PasswordHash) -> Self {
        let text = stored.0.as_str();
        let is_bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix));
        // PHC strings end with salt and output, bcrypt's with both in one.
        let secret_parts = if is_bcrypt { 1 } else { 2 };
        let end = text.rmatch_indices('$').nth(secret_parts - 1).map_or(0, |(at, _)| at + 1);
        Self(text.get(..end).unwrap_or_default().to_owned())
    }

    /// As it was stored.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How long recent checks took, by cost.
#[derive(Debug, Default)]
pub struct Timings {
    recent: HashMap<HashCost, Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    durations_ms: Vec<i64>,
    next: usize,
}

impl Timings {
    /// Notes one more.
    pub fn note(&mut self, cost: HashCost, took_ms: i64) {
        if self.recent.len() >= MAX_COSTS && !self.recent.contains_key(&cost) {
            return;
        }
        let recent = self.recent.entry(cost).or_default();
        match recent.durations_ms.get_mut(recent.next) {
            Some(oldest) => *oldest = took_ms,
            None => recent.durations_ms.push(took_ms),
        }
        recent.next = (recent.next + 1) % KEPT;
    }

    /// Whether checks of this cost were timed.
    #[must_use]
    pub fn knows(&self, cost: &HashCost) -> bool {
        self.recent.contains_key(cost)
    }

    /// Leaves out what is not in use any more.
    pub fn keep(&mut self, costs: &[HashCost]) {
        self.recent.retain(|cost, _| costs.contains(cost));
    }

    /// The earliest time at which a failed login is answered, in milliseconds after it came: half as long again as the
    /// slowest parameter set takes on an idle machine (the shortest of its recent durations), and a margin.
    #[must_use]
    pub fn floor_ms(&self) -> i64 {
        let least = |recent: &Recent| recent.durations_ms.iter().copied().min();
        let slowest_ms = self.recent.values().filter_map(least).max().unwrap_or(0);
        slowest_ms.saturating_add(slowest_ms / 2).saturating_add(MARGIN_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(stored: &str) -> HashCost {
        HashCost::of(&PasswordHash(stored.to_owned()))
    }

    #[test]
    fn the_cost_is_what_stands_before_the_salt() {
        for (stored, expected) in [
            (
                "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJ",
                "$argon2id$v=19$m=19456,t=2,p=1$",
            ),
            ("$argon2i$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJ", "$argon2i$m=64,t=1,p=1$"),
            ("$2b$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2b$12$"),
            ("5f4dcc3b5aa765d61d8327deb882cf99", ""),
            ("é$", ""),
            ("", ""),
        ] {
            assert_eq!(cost(stored).as_str(), expected, "{stored}");
        }
    }

    #[test]
    fn the_floor_follows_the_slowest_cost_and_not_the_load_of_the_machine() {
        let mut timings = Timings::default();
        assert_eq!(timings.floor_ms(), MARGIN_MS);
        let (own, imported) = (cost("$argon2id$v=19$m=19456,t=2,p=1$a$b"), cost("$2b$12$abc"));
        for took_ms in [80, 16, 300] {
            timings.note(own.clone(), took_ms);
        }
        assert_eq!(timings.floor_ms(), 24 + MARGIN_MS);
        timings.note(imported.clone(), 200);
        assert_eq!(timings.floor_ms(), 300 + MARGIN_MS);
        assert!(timings.knows(&imported));
        timings.keep(std::slice::from_ref(&own));
        assert_eq!(timings.floor_ms(), 24 + MARGIN_MS);
        for _ in 0..KEPT {
            timings.note(own.clone(), 40);
        }
        assert_eq!(timings.floor_ms(), 60 + MARGIN_MS, "what was faster once is forgotten");
    }

    #[test]
    fn no_more_costs_are_told_apart_than_are_kept() {
        let mut timings = Timings::default();
        for number in 0..MAX_COSTS + 10 {
            timings.note(HashCost::stored(number.to_string()), 1);
        }
        assert_eq!(timings.recent.len(), MAX_COSTS);
    }
}
