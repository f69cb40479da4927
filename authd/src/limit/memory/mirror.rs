//! The limiter as a mirror of counts that instances share: so that it can go on alone at any moment.

use super::{MemoryLimiter, Room, Seat};
use crate::{
    domain::limit::{LimitKey, Limiter as _, PolicyName, Reservation},
    limit::{
        bucket::{Known, News},
        shard::Spot,
    },
};
use std::{sync::atomic::Ordering, time::Duration};

impl MemoryLimiter {
    /// A ticket that this limiter gives out once.
    pub(in crate::limit) fn ticket(&self) -> u64 {
        self.next_ticket.fetch_add(1, Ordering::Relaxed)
    }

    /// What is known of a key, for the shared count.
    pub(in crate::limit) fn known(&self, policy: PolicyName, key: &LimitKey, epoch: u64) -> Known {
        let (spot, now_ms) = (Spot::new(policy, key), self.clock.now_ms());
        let known = self.room(&spot).and_then(|room| room.lock().get(&spot).map(|bucket| bucket.known(epoch, now_ms)));
        known.unwrap_or_default()
    }

    /// Takes the shared count of a key over.
    pub(in crate::limit) fn learn(&self, policy: PolicyName, key: &LimitKey, news: News) {
        let (spot, policies, now_ms) = (Spot::new(policy, key), self.policies(), self.clock.now_ms());
        let Some(room) = self.room(&spot) else { return };
        let mut shard = room.lock();
        shard.bucket(spot, &policies, now_ms).learn(news, now_ms);
        shard.tidy(&spot, &policies, now_ms);
    }

    /// Remembers a place that the shared count holds.
    pub(in crate::limit) fn hold(&self, policy: PolicyName, key: &LimitKey, ticket: u64) {
        let (spot, policies, now_ms) = (Spot::new(policy, key), self.policies(), self.clock.now_ms());
        if let Some(room) = self.room(&spot) {
            room.lock().bucket(spot, &policies, now_ms).hold(ticket, now_ms);
        }
    }

    /// Frees a place whose check the shared count has settled.
    pub(in crate::limit) fn give_back(&self, place: &Reservation) {
        let (spot, policies, now_ms) = (Spot::new(place.policy, &place.key), self.policies(), self.clock.now_ms());
        let Some(room) = self.room(&spot) else { return };
        let mut shard = room.lock();
        shard.bucket(spot, &policies, now_ms).give_back_place(place.ticket, now_ms);
        shard.tidy(&spot, &policies, now_ms);
        drop(shard);
        room.freed.notify_waiters();
    }

    /// The shared count has forgotten a key.
    pub(in crate::limit) fn release(&self, policy: PolicyName, key: &LimitKey) {
        self.refusals.release(policy, key, self.clock.now_ms());
    }

    /// A seat among those who wait for this key; `None` when there are too many.
    pub(in crate::limit) fn seat(&self, policy: PolicyName, key: &LimitKey) -> Option<Seat<'_>> {
        self.room(&Spot::new(policy, key)).and_then(Room::sit)
    }

    /// Waits until a place may be free, at most `most`: those of other instances free themselves silently.
    pub(in crate::limit) async fn freed(&self, policy: PolicyName, key: &LimitKey, most: Duration) {
        if let Some(room) = self.room(&Spot::new(policy, key)) {
            let _ = tokio::time::timeout(most, room.freed.notified()).await;
        }
    }
}
