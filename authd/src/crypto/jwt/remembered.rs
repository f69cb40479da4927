//! Tokens whose signature was checked already, so that it is checked once; times and revocation are asked every time.

use crate::domain::login::VerifiedToken;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 16;
/// Tokens in one half of a shard; both halves of all shards hold 65 536 (about 40 MB when full).
const HALF: usize = 2_048;

/// A token that is good but for its times.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) token: VerifiedToken,
    pub(super) not_before_s: Option<i64>,
}

type Tokens = HashMap<[u8; 32], Arc<Accepted>>;

/// Two halves: when the young one is full it becomes the old one, and what was not asked for since is gone. That bounds
/// the memory without looking for the oldest.
#[derive(Debug, Default)]
struct Halves {
    young: Tokens,
    old: Tokens,
}

/// Bounded memory of tokens by their SHA-256.
#[derive(Debug)]
pub(super) struct Remembered {
    shards: Vec<Mutex<Halves>>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Remembered {
    fn shard(&self, hash: &[u8; 32]) -> Option<MutexGuard<'_, Halves>> {
        let [first, ..] = hash;
        let shard = self.shards.get(usize::from(*first) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The token of this hash, if it is remembered.
    pub(super) fn recall(&self, hash: &[u8; 32]) -> Option<Arc<Accepted>> {
        let mut shard = self.shard(hash)?;
        if let Some(found) = shard.young.get(hash) {
            return Some(Arc::clone(found));
        }
        let found = shard.old.remove(hash)?;
        shard.keep(*hash, &found);
        Some(found)
    }

    /// Remembers a token.
    pub(super) fn keep(&self, hash: [u8; 32], accepted: &Arc<Accepted>) {
        if let Some(mut shard) = self.shard(&hash) {
            shard.keep(hash, accepted);
        }
    }

    /// Forgets a token.
    pub(super) fn forget(&self, hash: &[u8; 32]) {
        if let Some(mut shard) = self.shard(hash) {
            shard.young.remove(hash);
            shard.old.remove(hash);
        }
    }
}

impl Halves {
    fn keep(&mut self, hash: [u8; 32], accepted: &Arc<Accepted>) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, Arc::clone(accepted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::login::AccessClaims;
    use shared::id::{SessionId, UserId};

    fn accepted() -> Arc<Accepted> {
        let claims = AccessClaims {
            account: UserId::new(0, [0; 10]),
            session: SessionId::new(0, [0; 10]),
            token_id: String::new(),
            issued_s: 0,
            expires_s: 0,
            auth_time_s: 0,
            amr: Vec::new(),
            acr: String::new(),
        };
        Arc::new(Accepted { token: VerifiedToken { claims: Arc::new(claims) }, not_before_s: None })
    }

    fn hash(number: u32) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[1..5].copy_from_slice(&number.to_be_bytes());
        hash
    }

    #[test]
    fn a_flood_of_tokens_keeps_the_memory_bounded_and_what_is_asked_for_stays() {
        let (remembered, one) = (Remembered::default(), accepted());
        for number in 0..20_000 {
            remembered.keep(hash(number), &one);
            assert!(remembered.recall(&hash(0)).is_some(), "{number}");
        }
        let shard = remembered.shard(&hash(0)).unwrap();
        assert!(shard.young.len() <= HALF && shard.old.len() <= HALF);
    }

    #[test]
    fn a_forgotten_token_is_gone() {
        let remembered = Remembered::default();
        remembered.keep(hash(1), &accepted());
        remembered.forget(&hash(1));
        assert!(remembered.recall(&hash(1)).is_none());
    }
}
