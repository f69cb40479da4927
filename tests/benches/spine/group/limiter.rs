//! The limiter in memory with a million keys: what a decision takes, and what a key costs.
//!
//! Nothing is divided by a limit here: the aims are the project's own.

use crate::{
    group::Bench,
    measure::times,
    table::{Aim, Figure, Row, Section},
};
use authd::{
    domain::{
        ladder::{Ladder, Outcome},
        limit::{Admission, LimitKey, Limiter, Policy, PolicyName, PolicySet, PolicyValue, Reserved},
    },
    limit::memory::MemoryLimiter,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tests::{
    clock::{SeededRandom, TestClock},
    process::resident_kib,
};

const KEYS: usize = 1_000_000;
const AIM: Duration = Duration::from_micros(5);
const AIM_BYTES: f64 = 200.0;
/// Decisions timed together: the clock itself costs some of a decision.
const BATCH: usize = 100;
const BATCHES: usize = 10_000;
/// More keys than there is room for: each batch makes room again and again.
const FLOOD: usize = 1_000_000;

/// Measures.
pub(crate) async fn measure(_: Bench) -> Vec<Section> {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let before = resident_kib(pid);
    // Room for an uneven spread over the shards: nothing is forgotten while it fills.
    let limiter = MemoryLimiter::new(Arc::new(PolicySet::new(policy)), Arc::new(TestClock::default()), KEYS * 11 / 10);
    let keys: Vec<LimitKey> = (0..KEYS).map(|number| LimitKey::id(&format!("key:{number}"))).collect();
    let held_by_keys = resident_kib(pid) - before;
    for key in &keys {
        limiter.take(PolicyName::LoginIp, key).await;
    }
    let bytes = (resident_kib(pid) - before - held_by_keys) as f64 * 1_024.0 / KEYS as f64;
    let random = SeededRandom::new(7);
    let known = |_| keys.get(random.below(KEYS)).cloned().expect("below the number of keys");
    let rates = rates(&limiter, &known).await;
    let ladders = ladders(&limiter, &known).await;
    let flood = flood(&limiter).await;
    let row = |what: &str, took: Vec<Duration>| {
        let mean = took.iter().sum::<Duration>() / u32::try_from(took.len()).unwrap_or(1);
        let row = Row::figures(what, Figure::Time(mean), "aim", Figure::Time(AIM));
        row.times(times(took.into_iter())).aim(Aim::AtMost(1.0))
    };
    let rows = vec![
        row("a rate, known key", rates),
        row("a ladder, reserved and settled", ladders),
        row("a rate, new keys with the table full", flood),
        Row::figures("memory a key", Figure::Bytes(bytes), "aim", Figure::Bytes(AIM_BYTES)).aim(Aim::AtMost(1.0)),
    ];
    vec![Section { title: format!("limiter in memory, {KEYS} keys; times of a decision, means of {BATCH}"), rows }]
}

/// A rate that is used up and comes back slowly, and the ladder as it is by default.
fn policy(name: PolicyName) -> Policy {
    Policy::configured(match name {
        PolicyName::LoginAccount => PolicyValue::Ladder(Ladder {
            burst: 5,
            first_delay_ms: 1_000,
            max_delay_ms: 900_000,
            forget_ms: 86_400_000,
        }),
        _ => PolicyValue::Rate { rate: "10/h".parse().expect("a rate"), burst: 5 },
    })
}

async fn rates(limiter: &MemoryLimiter, known: &impl Fn(usize) -> LimitKey) -> Vec<Duration> {
    let (mut took, mut denied) = (Vec::new(), 0_usize);
    for _ in 0..BATCHES {
        let keys: Vec<LimitKey> = (0..BATCH).map(known).collect();
        let begin = Instant::now();
        for key in &keys {
            denied += usize::from(limiter.take(PolicyName::LoginIp, key).await != Admission::Allowed);
        }
        took.push(each(begin));
    }
    assert!(denied < BATCH * BATCHES, "a decision that never allows is none");
    took
}

async fn ladders(limiter: &MemoryLimiter, known: &impl Fn(usize) -> LimitKey) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..BATCHES / 10 {
        let keys: Vec<LimitKey> = (0..BATCH).map(known).collect();
        let begin = Instant::now();
        for key in keys {
            if let Reserved::Place(place) = limiter.reserve(PolicyName::LoginAccount, key, 0).await {
                limiter.settle(place, Outcome::Failed).await;
            }
        }
        took.push(each(begin));
    }
    took
}

async fn flood(limiter: &MemoryLimiter) -> Vec<Duration> {
    let mut took = Vec::new();
    for batch in 0..FLOOD / BATCH {
        let keys: Vec<LimitKey> = (0..BATCH).map(|number| LimitKey::id(&format!("flood:{batch}:{number}"))).collect();
        let begin = Instant::now();
        for key in &keys {
            limiter.take(PolicyName::LoginIp, key).await;
        }
        took.push(each(begin));
    }
    took
}

fn each(begin: Instant) -> Duration {
    begin.elapsed() / u32::try_from(BATCH).unwrap_or(1)
}
