//! A bounded map of buckets: what costs least to forget goes first.

use super::bucket::{Bucket, Worth};
use crate::domain::limit::{LimitKey, PolicyName, PolicySet};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// A policy and the hash of a key: addresses and ids are not kept in memory as text, and every key has one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    policy: PolicyName,
    hash: [u8; 16],
}

impl Spot {
    /// Where this key is counted under this policy.
    pub(super) fn new(policy: PolicyName, key: &LimitKey) -> Self {
        let mut digest = Sha256::new();
        digest.update(policy.as_str());
        digest.update([0]);
        digest.update(key.as_str());
        let hash = digest.finalize().first_chunk().copied().unwrap_or_default();
        Self { policy, hash }
    }

    /// Spreads keys evenly over shards.
    pub(super) fn shard(&self, shards: usize) -> usize {
        let [first, second, ..] = self.hash;
        usize::from(u16::from_be_bytes([first, second])) % shards.max(1)
    }
}

struct Slot {
    bucket: Bucket,
    used_ms: i64,
}

/// Some of the buckets.
pub(super) struct Shard {
    slots: HashMap<Spot, Slot>,
    capacity: usize,
}

impl Shard {
    /// An empty one that holds at most `capacity` buckets.
    pub(super) fn new(capacity: usize) -> Self {
        Self { slots: HashMap::new(), capacity: capacity.max(8) }
    }

    /// The bucket of this spot, if there is one.
    pub(super) fn get(&self, spot: &Spot) -> Option<&Bucket> {
        self.slots.get(spot).map(|slot| &slot.bucket)
    }

    /// The bucket of this spot, made if need be; others go when there is no room.
    pub(super) fn bucket(&mut self, spot: Spot, policies: &PolicySet, now_ms: i64) -> &mut Bucket {
        if self.slots.len() >= self.capacity && !self.slots.contains_key(&spot) {
            self.make_room(policies, now_ms);
        }
        let slot = self.slots.entry(spot).or_insert_with(|| Slot { bucket: Bucket::default(), used_ms: now_ms });
        slot.used_ms = now_ms;
        &mut slot.bucket
    }

    /// Forgets a bucket that says no more than a new one would.
    pub(super) fn tidy(&mut self, spot: &Spot, policies: &PolicySet, now_ms: i64) {
        if self.slots.get(spot).is_some_and(|slot| worth(spot, slot, policies, now_ms) == Worth::Nothing) {
            self.slots.remove(spot);
        }
    }

    /// How many buckets there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Frees an eighth, so that a flood of new keys pays for the search once in a while and not each time.
    fn make_room(&mut self, policies: &PolicySet, now_ms: i64) {
        self.slots.retain(|spot, slot| worth(spot, slot, policies, now_ms) > Worth::Nothing);
        let kept = self.capacity - self.capacity / 8;
        let Some(surplus) = self.slots.len().checked_sub(kept).filter(|surplus| *surplus > 0) else { return };
        let mut order: Vec<(Worth, i64, Spot)> =
            self.slots.iter().map(|(spot, slot)| (worth(spot, slot, policies, now_ms), slot.used_ms, *spot)).collect();
        // The cheapest are needed, not their order.
        if surplus < order.len() {
            order.select_nth_unstable_by_key(surplus, |(worth, used_ms, _)| (*worth, *used_ms));
        }
        for (_, _, spot) in order.into_iter().take(surplus) {
            self.slots.remove(&spot);
        }
    }
}

fn worth(spot: &Spot, slot: &Slot, policies: &PolicySet, now_ms: i64) -> Worth {
    policies.get(spot.policy).map_or(Worth::Nothing, |policy| slot.bucket.worth(policy, now_ms))
}
