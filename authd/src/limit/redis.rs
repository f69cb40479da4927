//! The limiter that instances share: Redis decides while it answers, the memory of each instance while it does not.
//!
//! Every question is one script on one key; its reply is learnt by the memory limiter, which therefore knows at any
//! moment how much was used up and can go on alone with its share of each budget. What it counts alone it tells with
//! its next question, and the stricter of both is what counts then. Places for password checks are held in Redis too,
//! so that parallel guesses through several instances stay within one budget.
//!
//! Redis is no authority: whatever becomes of it, requests are answered and no fact is lost.
//!
//! Rates, ladders and counts are shared. Spreads are counted by each instance with its share, for they are lists of
//! accounts and no numbers; so are the thresholds of alarms, which tell what one instance sees, and calls of its own
//! sockets. Refusals are remembered by the instance that refused, whoever counted.

mod budget;
mod link;
mod place;
pub mod script;

pub use budget::in_one_request;
pub use place::{RedisPlace, UnusableRedis};

use crate::{
    domain::{
        circuit::Circuit,
        clock::{Clock, Random, random_bytes},
        ladder::{Ladder, Outcome, Rung, Step},
        limit::{
            Admission, LimitKey, Limiter, Policy, PolicyName, PolicySet, PolicyValue, Reservation, Reserved, Settled,
            Sharing,
        },
        login::Sealer,
        refusals::Refusals,
        rotation::Shadow,
    },
    limit::{
        bucket::{COUNT_FORGET_MS, Level, News},
        memory::MemoryLimiter,
    },
};
use link::{Down, Link};
use script::{Answer, Question, Reply, Told};
use shared::hex;
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// How often somebody who waits for a place asks again.
const POLL: Duration = Duration::from_millis(50);

/// Counts in Redis and in memory.
#[derive(Clone)]
pub struct RedisLimiter(Arc<Inner>);

struct Inner {
    memory: MemoryLimiter,
    link: Link,
    /// The policies for all instances together.
    whole: RwLock<Arc<PolicySet>>,
    sealer: Arc<dyn Sealer>,
    /// Tells the tickets of this process from those of others.
    process: String,
}

/// What a shared limiter is made of.
pub struct RedisParts {
    /// Counts along, and alone when Redis is away.
    pub memory: MemoryLimiter,
    /// The policies, until others are installed.
    pub policies: Arc<PolicySet>,
    /// Hashes the names of keys.
    pub sealer: Arc<dyn Sealer>,
    /// Redis' breaker.
    pub circuit: Arc<Circuit>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl std::fmt::Debug for RedisLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisLimiter")
    }
}

impl RedisLimiter {
    /// A limiter that counts alone until [`RedisLimiter::check`] has found Redis.
    #[must_use]
    pub fn new(place: &RedisPlace, parts: RedisParts) -> Self {
        let RedisParts { memory, policies, sealer, circuit, clock, random } = parts;
        let process = hex::encode(&random_bytes::<8>(random.as_ref()));
        let run_key = key_of(sealer.as_ref(), "run", b"");
        let link = Link::new(place, circuit, clock, (run_key, hex::encode(&random_bytes::<16>(random.as_ref()))));
        Self(Arc::new(Inner { memory, link, whole: RwLock::new(policies), sealer, process }))
    }

    /// Looks for Redis once.
    pub async fn check(&self) {
        self.0.link.check().await;
    }

    /// What Redis does when its memory is full (`maxmemory-policy`); `None` where it does not tell.
    pub async fn eviction(&self) -> Option<String> {
        self.0.link.eviction().await
    }

    /// Looks after the connection until its task is ended.
    pub async fn watch(&self) {
        self.0.link.watch().await;
    }
}

/// Where something is in Redis: names and addresses stay here.
fn key_of(sealer: &dyn Sealer, what: &str, of: &[u8]) -> String {
    let tag = sealer.tag("redis", &[what.as_bytes(), &[0], of].concat());
    format!("authd:{}", hex::encode(tag.first_chunk::<16>().map_or(&tag[..], <[u8; 16]>::as_slice)))
}

/// The row of failures that a policy bounds: a count is a ladder whose first wait is as long as its memory.
fn row(policy: &Policy) -> Option<Ladder> {
    match policy.value {
        PolicyValue::Ladder(ladder) => Some(ladder),
        PolicyValue::Count { max } => {
            let wait_ms = COUNT_FORGET_MS + 1;
            let (first_delay_ms, max_delay_ms) = (wait_ms, wait_ms);
            Some(Ladder { burst: max, first_delay_ms, max_delay_ms, forget_ms: COUNT_FORGET_MS })
        }
        PolicyValue::Rate { .. } | PolicyValue::Spread(_) | PolicyValue::Share(_) | PolicyValue::Hard(_) => None,
    }
}

/// How long a row that was just settled keeps everybody waiting.
fn wait_after(ladder: Ladder, reply: &Reply) -> i64 {
    let failures = u32::try_from(reply.level).unwrap_or(u32::MAX);
    match ladder.ask(Rung { failures, last_failure_ms: 0, pending: 0 }, reply.age_ms) {
        Step::Deny { retry_after_ms } => retry_after_ms,
        Step::Reserve(_) | Step::Busy => 0,
    }
}

impl Inner {
    /// A policy whose counts instances share; `None`: the memory of each counts for itself.
    fn shared(&self, name: PolicyName, key: &LimitKey) -> Option<Policy> {
        if matches!(name, PolicyName::RegisterGlobal | PolicyName::AdminUid) {
            return None;
        }
        let policy = self.whole.read().unwrap_or_else(PoisonError::into_inner).of(name, key).cloned()?;
        (policy.quota().is_some() || row(&policy).is_some()).then_some(policy)
    }

    fn name(&self, policy: PolicyName, key: &LimitKey) -> String {
        key_of(self.sealer.as_ref(), policy.as_str(), key.as_str().as_bytes())
    }

    fn ticket(&self, ticket: u64) -> String {
        format!("{}{ticket:x}", self.process)
    }

    fn told(&self, policy: PolicyName, key: &LimitKey) -> Told {
        let known = self.memory.known(policy, key, self.link.epoch());
        Told {
            generation: known.generation,
            untold: known.untold,
            ahead_us: known.ahead_us,
            failures: known.failures,
            age_ms: known.age_ms,
            places: known.places,
        }
    }

    /// Asks about a key within what is left to the request, and learns the reply.
    async fn ask(&self, policy: PolicyName, key: &LimitKey, question: Question<'_>) -> Result<Reply, Down> {
        let (epoch, name) = (self.link.epoch(), self.name(policy, key));
        let reply = self.link.ask(&question, &name, self.told(policy, key)).await?;
        self.learn(policy, key, &question, reply, epoch);
        Ok(reply)
    }

    /// The same for those who wait anyway.
    async fn ask_at_leisure(&self, policy: PolicyName, key: &LimitKey, question: Question<'_>) -> Result<Reply, Down> {
        let (epoch, name) = (self.link.epoch(), self.name(policy, key));
        let reply = self.link.ask_within(self.link.timeout, &question, &name, self.told(policy, key)).await?;
        self.learn(policy, key, &question, reply, epoch);
        Ok(reply)
    }

    fn learn(&self, policy: PolicyName, key: &LimitKey, question: &Question<'_>, reply: Reply, epoch: u64) {
        let level = match question {
            Question::Take(_) | Question::LookAtRate(_) => Level::Ahead { us: reply.level },
            Question::Reserve(..) | Question::LookAtRow(_) | Question::Settle(..) => {
                Level::Row { failures: u32::try_from(reply.level).unwrap_or(u32::MAX), age_ms: reply.age_ms }
            }
            Question::Forget(_) => Level::Nothing,
        };
        self.memory.learn(policy, key, News { generation: reply.generation, epoch, level });
    }

    /// One of the places; `None` when Redis is away.
    async fn reserve(&self, policy: &Policy, ladder: Ladder, place: &Reservation, wait_ms: i64) -> Option<Reserved> {
        let (name, key) = (place.policy, &place.key);
        let ticket = self.ticket(place.ticket);
        let question = Question::Reserve(ladder, &ticket);
        let mut reply = self.ask(name, key, question).await.ok()?;
        if reply.answer == Answer::Busy && policy.shadow == Shadow::Enforced {
            let Some(_seat) = self.memory.seat(name, key) else { return Some(Reserved::Overloaded) };
            let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
            let turn = async {
                loop {
                    self.memory.freed(name, key, POLL).await;
                    match self.ask_at_leisure(name, key, question).await {
                        Ok(Reply { answer: Answer::Busy, .. }) => {}
                        other => return other,
                    }
                }
            };
            let Ok(turn) = tokio::time::timeout(wait, turn).await else { return Some(Reserved::Overloaded) };
            reply = turn.ok()?;
        }
        if reply.answer == Answer::No {
            self.memory.note_denial(name, key, policy, reply.wait_ms.max(1));
        }
        let is_held = reply.answer == Answer::Yes || policy.shadow == Shadow::Counted;
        if is_held {
            self.memory.hold(name, key, place.ticket);
            let held = Reservation { policy: name, key: key.clone(), ticket: place.ticket };
            return Some(Reserved::Place(held));
        }
        Some(Reserved::Denied { retry_after_ms: reply.wait_ms.max(1) })
    }

    /// Tells what was learnt; where that fails, it is counted here and told later.
    async fn settle(&self, policy: &Policy, ladder: Ladder, place: Reservation, outcome: Outcome) -> Settled {
        let (name, key, ticket) = (place.policy, place.key.clone(), self.ticket(place.ticket));
        let question = Question::Settle(ladder, &ticket, outcome);
        let Ok(reply) = self.ask_at_leisure(name, &key, question).await else {
            return self.memory.settle(place, outcome).await;
        };
        // Counted there and learnt; only the place is still held here.
        self.memory.give_back(&place);
        self.memory.note_lock(name, &key, policy, wait_after(ladder, &reply));
        let is_exhausted = matches!(policy.value, PolicyValue::Count { max } if reply.level >= i64::from(max));
        let is_exhausted = is_exhausted && policy.shadow == Shadow::Enforced;
        if is_exhausted { Settled::Exhausted } else { Settled::Counted }
    }
}

#[async_trait::async_trait]
impl Limiter for RedisLimiter {
    fn install(&self, policies: &Arc<PolicySet>, instances: u32) {
        *self.0.whole.write().unwrap_or_else(PoisonError::into_inner) = policies.clone();
        self.0.memory.install(policies, instances);
    }

    fn policies(&self) -> Arc<PolicySet> {
        self.0.memory.policies()
    }

    fn sharing(&self) -> Sharing {
        self.0.link.down_since_ms().map_or(Sharing::On, |since_ms| Sharing::Down { since_ms })
    }

    async fn take(&self, name: PolicyName, key: &LimitKey) -> Admission {
        let inner = &self.0;
        let Some(policy) = inner.shared(name, key) else { return inner.memory.take(name, key).await };
        let Some(quota) = policy.quota() else { return inner.memory.take(name, key).await };
        match inner.ask(name, key, Question::Take(quota)).await {
            Ok(Reply { answer: Answer::No, wait_ms, .. }) => {
                let retry_after_ms = wait_ms.max(1);
                inner.memory.note_denial(name, key, &policy, retry_after_ms);
                match policy.shadow {
                    Shadow::Enforced => Admission::Denied { retry_after_ms },
                    Shadow::Counted => Admission::Allowed,
                }
            }
            Ok(_) => Admission::Allowed,
            Err(Down) => inner.memory.take(name, key).await,
        }
    }

    async fn reserve(&self, name: PolicyName, key: LimitKey, wait_ms: i64) -> Reserved {
        let inner = &self.0;
        let Some(policy) = inner.shared(name, &key) else { return inner.memory.reserve(name, key, wait_ms).await };
        let Some(ladder) = row(&policy) else { return inner.memory.reserve(name, key, wait_ms).await };
        let place = Reservation { policy: name, key, ticket: inner.memory.ticket() };
        match inner.reserve(&policy, ladder, &place, wait_ms).await {
            Some(reserved) => reserved,
            // Under the same ticket: should Redis have held it, it is given back with it.
            None => inner.memory.reserve_as(place, wait_ms).await,
        }
    }

    async fn settle(&self, place: Reservation, outcome: Outcome) -> Settled {
        let Some(policy) = self.0.shared(place.policy, &place.key) else {
            return self.0.memory.settle(place, outcome).await;
        };
        let Some(ladder) = row(&policy) else { return self.0.memory.settle(place, outcome).await };
        let (inner, is_count) = (self.0.clone(), matches!(policy.value, PolicyValue::Count { .. }));
        let patience = if is_count { inner.link.timeout * 2 } else { budget::left(inner.link.timeout) };
        #[expect(clippy::disallowed_methods, reason = "a failure counts also when its caller has left; it is bounded")]
        let settled = tokio::spawn(async move { inner.settle(&policy, ladder, place, outcome).await });
        // The place is held until this has come through, so an answer need not wait for it.
        tokio::time::timeout(patience, settled)
            .await
            .map_or(Settled::Counted, |ended| ended.unwrap_or(Settled::Counted))
    }

    async fn settle_about(&self, place: Reservation, outcome: Outcome, subject: u64) {
        self.0.memory.settle_about(place, outcome, subject).await;
    }

    fn refusals(&self) -> Arc<Refusals> {
        self.0.memory.refusals()
    }

    async fn wait_ms(&self, name: PolicyName, key: &LimitKey) -> i64 {
        let inner = &self.0;
        let Some(policy) = inner.shared(name, key) else { return inner.memory.wait_ms(name, key).await };
        if policy.shadow == Shadow::Counted {
            return 0;
        }
        let question = match (policy.quota(), row(&policy)) {
            (Some(quota), _) => Question::LookAtRate(quota),
            (None, Some(ladder)) => Question::LookAtRow(ladder),
            (None, None) => return 0,
        };
        match inner.ask(name, key, question).await {
            Ok(reply) => reply.wait_ms,
            Err(Down) => inner.memory.wait_ms(name, key).await,
        }
    }

    async fn forget(&self, name: PolicyName, key: &LimitKey) -> bool {
        let inner = &self.0;
        let was_known = inner.memory.forget(name, key).await;
        let Some(policy) = inner.shared(name, key) else { return was_known };
        let life_ms = match (policy.quota(), row(&policy)) {
            (Some(quota), _) => quota.tolerance_us() / 1_000,
            (None, Some(ladder)) => ladder.forget_ms,
            (None, None) => COUNT_FORGET_MS,
        };
        match inner.ask(name, key, Question::Forget(life_ms)).await {
            Ok(reply) => {
                inner.memory.release(name, key);
                was_known || reply.answer == Answer::Yes
            }
            Err(Down) => {
                inner.link.owe(inner.name(name, key), life_ms);
                was_known
            }
        }
    }
}
