//! The limiter of one instance, in memory: exact, bounded, forgotten with the process.
//!
//! Nothing here outlives a restart: what must (`login.hard`) is counted in the database. Times are the wall clock's:
//! both rules bound what a clock that went back can do, and one that jumps ahead ends waits early.

use super::{
    bucket::{NO_TICKET, Turn},
    shard::{Shard, Spot},
};
use crate::domain::{
    clock::Clock,
    ladder::Outcome,
    limit::{Admission, LimitKey, Limiter, Policy, PolicyName, PolicySet, PolicyValue, Reservation, Reserved, Settled},
    refusals::{Effect, Refusals},
    rotation::Shadow,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

const SHARDS: usize = 64;
/// Attempts that may wait for a place at the same time, in one shard.
const MAX_WAITING: usize = 1_024;

/// Counts in memory.
pub struct MemoryLimiter {
    policies: RwLock<Arc<PolicySet>>,
    clock: Arc<dyn Clock>,
    rooms: Vec<Room>,
    next_ticket: AtomicU64,
    refusals: Arc<Refusals>,
}

/// A shard and those who wait for a place in it.
struct Room {
    shard: Mutex<Shard>,
    freed: Notify,
    waiting: AtomicUsize,
}

impl std::fmt::Debug for MemoryLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryLimiter")
    }
}

impl MemoryLimiter {
    /// A limiter that remembers about `capacity` keys (100 bytes each); when it is full it forgets first what refuses
    /// nobody, and last what locks a key.
    #[must_use]
    pub fn new(policies: Arc<PolicySet>, clock: Arc<dyn Clock>, capacity: usize) -> Self {
        let room = |_| Room {
            shard: Mutex::new(Shard::new(capacity.div_ceil(SHARDS))),
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
        };
        let rooms = (0..SHARDS).map(room).collect();
        Self {
            policies: RwLock::new(policies),
            clock,
            rooms,
            next_ticket: AtomicU64::new(NO_TICKET + 1),
            refusals: Arc::default(),
        }
    }

    fn room(&self, spot: &Spot) -> Option<&Room> {
        self.rooms.get(spot.shard(SHARDS))
    }

    /// One more of a policy; what a policy that only counts says is not heard.
    fn ask(&self, name: PolicyName, key: &LimitKey, ticket: u64) -> Turn {
        let spot = Spot::new(name, key);
        let policies = self.policies();
        let (Some(room), Some(policy)) = (self.room(&spot), policies.of(name, key)) else { return Turn::Held };
        if is_off(policy) {
            return Turn::Held;
        }
        let now_ms = self.clock.now_ms();
        let turn = room.lock().bucket(spot, &policies, now_ms).ask(policy, ticket, now_ms);
        if let Turn::Denied { retry_after_ms } = turn {
            self.note_denial(name, key, policy, retry_after_ms);
        }
        if policy.shadow == Shadow::Counted { Turn::Held } else { turn }
    }

    /// Remembers who was told to wait.
    pub(super) fn note_denial(&self, name: PolicyName, key: &LimitKey, policy: &Policy, wait_ms: i64) {
        let refuses = policy.shadow == Shadow::Enforced && name != PolicyName::RegisterGlobal;
        let effect = if refuses { Effect::Refused } else { Effect::Counted };
        self.refusals.note(name, key, effect, wait_ms, self.clock.now_ms());
    }

    /// Remembers who is locked by what was just settled, and who no more.
    pub(super) fn note_lock(&self, name: PolicyName, key: &LimitKey, policy: &Policy, wait_ms: i64) {
        if matches!(policy.value, PolicyValue::Rate { .. }) || policy.shadow == Shadow::Counted {
            return;
        }
        let now_ms = self.clock.now_ms();
        match wait_ms {
            0 => self.refusals.release(name, key, now_ms),
            _ => self.refusals.note(name, key, Effect::Locked, wait_ms, now_ms),
        }
    }

    /// Asks again whenever a place becomes free.
    async fn wait_for_turn(&self, name: PolicyName, key: &LimitKey, ticket: u64) -> Turn {
        let Some(room) = self.room(&Spot::new(name, key)) else { return Turn::Held };
        loop {
            // Made before asking: a place freed between the two is not missed.
            let freed = room.freed.notified();
            match self.ask(name, key, ticket) {
                Turn::Busy => freed.await,
                turn => return turn,
            }
        }
    }

    /// Holds a place under a ticket that was given out already.
    pub(super) async fn reserve_as(&self, place: Reservation, wait_ms: i64) -> Reserved {
        let (policy, key, ticket) = (place.policy, &place.key, place.ticket);
        let spot = Spot::new(policy, key);
        let mut turn = self.ask(policy, key, ticket);
        if turn == Turn::Busy {
            let Some(_seat) = self.room(&spot).and_then(Room::sit) else { return Reserved::Overloaded };
            let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
            turn = match tokio::time::timeout(wait, self.wait_for_turn(policy, key, ticket)).await {
                Ok(turn) => turn,
                // A lost place frees itself without telling anybody.
                Err(_) => self.ask(policy, key, ticket),
            };
        }
        match turn {
            Turn::Held => Reserved::Place(place),
            Turn::Busy => Reserved::Overloaded,
            Turn::Denied { retry_after_ms } => Reserved::Denied { retry_after_ms },
        }
    }
}

/// Everything is let through and nothing counted.
fn is_off(policy: &Policy) -> bool {
    match policy.value {
        PolicyValue::Rate { .. } => policy.quota().is_none(),
        PolicyValue::Spread(spread) => spread.most == 0,
        PolicyValue::Share(_) => true,
        PolicyValue::Ladder(_) | PolicyValue::Count { .. } | PolicyValue::Hard(_) => false,
    }
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, Shard> {
        self.shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat among those who wait; `None` when there are too many.
    fn sit(&self) -> Option<Seat<'_>> {
        let seat = Seat(&self.waiting);
        (self.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(seat)
    }
}

/// Counts somebody who waits for as long as it lives.
pub(in crate::limit) struct Seat<'a>(&'a AtomicUsize);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait::async_trait]
impl Limiter for MemoryLimiter {
    fn install(&self, policies: &Arc<PolicySet>, instances: u32) {
        let share = Arc::new(policies.share_of(instances));
        *self.policies.write().unwrap_or_else(PoisonError::into_inner) = share;
        // A wider budget may let those go who wait.
        self.rooms.iter().for_each(|room| room.freed.notify_waiters());
    }

    fn policies(&self) -> Arc<PolicySet> {
        Arc::clone(&self.policies.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn take(&self, policy: PolicyName, key: &LimitKey) -> Admission {
        let is_rate = self.policies().get(policy).is_some_and(|policy| policy.value.kind() == "rate");
        if !is_rate {
            return Admission::Allowed;
        }
        match self.ask(policy, key, NO_TICKET) {
            Turn::Held | Turn::Busy => Admission::Allowed,
            Turn::Denied { retry_after_ms } => Admission::Denied { retry_after_ms },
        }
    }

    async fn reserve(&self, policy: PolicyName, key: LimitKey, wait_ms: i64) -> Reserved {
        let ticket = self.ticket();
        self.reserve_as(Reservation { policy, key, ticket }, wait_ms).await
    }

    async fn settle(&self, place: Reservation, outcome: Outcome) -> Settled {
        let (spot, policies) = (Spot::new(place.policy, &place.key), self.policies());
        let (Some(room), Some(policy)) = (self.room(&spot), policies.of(place.policy, &place.key)) else {
            return Settled::Counted;
        };
        if is_off(policy) {
            return Settled::Counted;
        }
        let now_ms = self.clock.now_ms();
        let mut shard = room.lock();
        let bucket = shard.bucket(spot, &policies, now_ms);
        let settled = bucket.settle(policy, place.ticket, outcome, now_ms);
        let wait_ms = bucket.wait_ms(policy, now_ms);
        shard.tidy(&spot, &policies, now_ms);
        drop(shard);
        room.freed.notify_waiters();
        self.note_lock(place.policy, &place.key, policy, wait_ms);
        settled
    }

    async fn settle_about(&self, place: Reservation, outcome: Outcome, subject: u64) {
        let (spot, policies) = (Spot::new(place.policy, &place.key), self.policies());
        let (Some(room), Some(policy)) = (self.room(&spot), policies.of(place.policy, &place.key)) else { return };
        let PolicyValue::Spread(spread) = policy.value else { return };
        if is_off(policy) {
            return;
        }
        let now_ms = self.clock.now_ms();
        let failed = (outcome == Outcome::Failed).then_some(subject);
        let mut shard = room.lock();
        let bucket = shard.bucket(spot, &policies, now_ms);
        bucket.settle_about(spread, place.ticket, failed, now_ms);
        let wait_ms = bucket.wait_ms(policy, now_ms);
        shard.tidy(&spot, &policies, now_ms);
        drop(shard);
        room.freed.notify_waiters();
        self.note_lock(place.policy, &place.key, policy, wait_ms);
    }

    fn refusals(&self) -> Arc<Refusals> {
        self.refusals.clone()
    }

    async fn wait_ms(&self, policy: PolicyName, key: &LimitKey) -> i64 {
        let (spot, policies) = (Spot::new(policy, key), self.policies());
        let (Some(room), Some(policy)) = (self.room(&spot), policies.of(policy, key)) else { return 0 };
        if policy.shadow == Shadow::Counted {
            return 0;
        }
        let now_ms = self.clock.now_ms();
        room.lock().get(&spot).map_or(0, |bucket| bucket.wait_ms(policy, now_ms))
    }

    async fn forget(&self, policy: PolicyName, key: &LimitKey) -> bool {
        let (spot, policies) = (Spot::new(policy, key), self.policies());
        let Some(room) = self.room(&spot) else { return false };
        let now_ms = self.clock.now_ms();
        let mut shard = room.lock();
        shard.tidy(&spot, &policies, now_ms);
        if shard.get(&spot).is_none() {
            return false;
        }
        shard.bucket(spot, &policies, now_ms).forget();
        shard.tidy(&spot, &policies, now_ms);
        drop(shard);
        room.freed.notify_waiters();
        self.refusals.release(policy, key, now_ms);
        true
    }
}

mod mirror;
#[cfg(test)]
mod tests;
