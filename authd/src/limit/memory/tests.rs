//! The limiter against a sequential model in plain words, in parallel, and under a flood of keys.

use super::*;
use crate::domain::ladder::Ladder;
use proptest::prelude::*;
use std::sync::atomic::AtomicI64;
use tokio::task::JoinSet;

const LADDER: Ladder = Ladder { burst: 5, first_delay_ms: 1_000, max_delay_ms: 900_000, forget_ms: 86_400_000 };
const START_MS: i64 = 1_700_000_000_000;
/// Longer than any test.
const LONG_MS: i64 = 600_000;

/// A clock that moves when it is told to.
struct ManualClock(AtomicI64);

impl ManualClock {
    fn at(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    fn advance(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> i64 {
        self.now_ms()
    }
}

fn configured(name: PolicyName) -> Policy {
    Policy::configured(match name {
        PolicyName::LoginAccount => PolicyValue::Ladder(LADDER),
        PolicyName::ReauthSession => PolicyValue::Count { max: 5 },
        _ => PolicyValue::Rate { rate: "30/min".parse().unwrap(), burst: 20 },
    })
}

fn limiter_of(policy: impl Fn(PolicyName) -> Policy) -> (Arc<MemoryLimiter>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START_MS));
    (Arc::new(MemoryLimiter::new(Arc::new(PolicySet::new(policy)), clock.clone(), 10_000)), clock)
}

fn key(text: &str) -> LimitKey {
    LimitKey::id(text)
}

async fn place(limiter: &MemoryLimiter, policy: PolicyName) -> Reservation {
    match limiter.reserve(policy, key("a"), 0).await {
        Reserved::Place(place) => place,
        other => panic!("{other:?}"),
    }
}

/// Reserves and settles from many tasks at once; tells how many were evaluated and how many denied.
async fn storm(limiter: &Arc<MemoryLimiter>, tasks: usize, outcome: Outcome) -> (usize, usize) {
    let mut storm = JoinSet::new();
    for _ in 0..tasks {
        let limiter = Arc::clone(limiter);
        storm.spawn(async move {
            match limiter.reserve(PolicyName::LoginAccount, key("a"), LONG_MS).await {
                Reserved::Place(place) => {
                    tokio::task::yield_now().await;
                    limiter.settle(place, outcome).await;
                    (1, 0)
                }
                Reserved::Denied { .. } => (0, 1),
                Reserved::Overloaded => (0, 0),
            }
        });
    }
    storm.join_all().await.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_parallel_guesses_are_evaluated_five_times() {
    for _ in 0..20 {
        let (limiter, _) = limiter_of(configured);
        assert_eq!(storm(&limiter, 200, Outcome::Failed).await, (5, 195));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_logins_with_the_right_password_are_never_denied() {
    for _ in 0..20 {
        let (limiter, _) = limiter_of(configured);
        assert_eq!(storm(&limiter, 64, Outcome::Succeeded).await, (64, 0));
        assert_eq!(storm(&limiter, 64, Outcome::Abandoned).await, (64, 0));
    }
}

#[tokio::test]
async fn a_budget_held_by_checks_under_way_is_overload_and_not_a_lock() {
    let (limiter, clock) = limiter_of(configured);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(place(&limiter, PolicyName::LoginAccount).await);
    }
    assert!(matches!(limiter.reserve(PolicyName::LoginAccount, key("a"), 0).await, Reserved::Overloaded));
    assert_eq!(limiter.wait_ms(PolicyName::LoginAccount, &key("a")).await, 0);
    assert!(matches!(limiter.reserve(PolicyName::LoginAccount, key("b"), 0).await, Reserved::Place(_)));
    // Nobody gives them back: they free themselves.
    clock.advance(30_000);
    assert!(matches!(limiter.reserve(PolicyName::LoginAccount, key("a"), 0).await, Reserved::Place(_)));
    drop(held);
}

#[tokio::test]
async fn the_ladder_locks_also_the_right_password_until_its_time() {
    let (limiter, clock) = limiter_of(configured);
    for _ in 0..5 {
        let place = place(&limiter, PolicyName::LoginAccount).await;
        assert_eq!(limiter.settle(place, Outcome::Failed).await, Settled::Counted);
    }
    let denied = limiter.reserve(PolicyName::LoginAccount, key("a"), LONG_MS).await;
    assert!(matches!(denied, Reserved::Denied { retry_after_ms: 1_000 }), "{denied:?}");
    assert_eq!(limiter.wait_ms(PolicyName::LoginAccount, &key("a")).await, 1_000);
    clock.advance(1_000);
    let success = place(&limiter, PolicyName::LoginAccount).await;
    limiter.settle(success, Outcome::Succeeded).await;
    assert!(!limiter.forget(PolicyName::LoginAccount, &key("a")).await, "a success leaves nothing to forget");
}

#[tokio::test]
async fn an_operator_can_make_it_forget_one_key() {
    let (limiter, _) = limiter_of(configured);
    for _ in 0..5 {
        let place = place(&limiter, PolicyName::LoginAccount).await;
        limiter.settle(place, Outcome::Failed).await;
    }
    assert!(limiter.forget(PolicyName::LoginAccount, &key("a")).await);
    assert!(!limiter.forget(PolicyName::LoginAccount, &key("a")).await);
    assert_eq!(limiter.wait_ms(PolicyName::LoginAccount, &key("a")).await, 0);
}

#[tokio::test]
async fn a_count_tells_when_it_is_exhausted() {
    let (limiter, _) = limiter_of(configured);
    let mut settled = Vec::new();
    for _ in 0..5 {
        let place = place(&limiter, PolicyName::ReauthSession).await;
        settled.push(limiter.settle(place, Outcome::Failed).await);
    }
    assert_eq!(settled.iter().filter(|one| **one == Settled::Exhausted).count(), 1);
    assert_eq!(settled.last(), Some(&Settled::Exhausted));
    assert!(matches!(limiter.reserve(PolicyName::ReauthSession, key("a"), 0).await, Reserved::Denied { .. }));
}

#[tokio::test]
async fn a_shadow_policy_counts_and_refuses_nobody() {
    let (limiter, _) = limiter_of(|name| Policy { shadow: Shadow::Counted, ..configured(name) });
    for _ in 0..100 {
        assert_eq!(limiter.take(PolicyName::LoginIp, &key("a")).await, Admission::Allowed);
        let place = place(&limiter, PolicyName::LoginAccount).await;
        limiter.settle(place, Outcome::Failed).await;
        let place = self::place(&limiter, PolicyName::ReauthSession).await;
        assert_eq!(limiter.settle(place, Outcome::Failed).await, Settled::Counted);
    }
    assert_eq!(limiter.wait_ms(PolicyName::LoginAccount, &key("a")).await, 0);
    limiter.install(&Arc::new(PolicySet::new(configured)), 1);
    assert!(limiter.wait_ms(PolicyName::LoginAccount, &key("a")).await > 0, "it was counted");
    assert!(matches!(limiter.take(PolicyName::LoginIp, &key("a")).await, Admission::Denied { .. }));
}

#[tokio::test]
async fn off_lets_everything_through_and_keeps_nothing() {
    let off = |_| Policy::configured(PolicyValue::Rate { rate: shared::rate::Rate::Off, burst: 1 });
    let (limiter, _) = limiter_of(off);
    for _ in 0..100 {
        assert_eq!(limiter.take(PolicyName::LoginIp, &key("a")).await, Admission::Allowed);
        let place = place(&limiter, PolicyName::LoginAccount).await;
        limiter.settle(place, Outcome::Failed).await;
    }
    assert_eq!(limiter.rooms.iter().map(|room| room.lock().len()).sum::<usize>(), 0);
}

#[tokio::test]
async fn a_new_snapshot_counts_from_the_next_call_on_and_policies_do_not_share_a_budget() {
    let (limiter, _) = limiter_of(configured);
    for _ in 0..20 {
        assert_eq!(limiter.take(PolicyName::LoginIp, &key("a")).await, Admission::Allowed);
    }
    assert_eq!(limiter.take(PolicyName::LoginIp, &key("a")).await, Admission::Denied { retry_after_ms: 2_000 });
    assert_eq!(limiter.wait_ms(PolicyName::LoginIp, &key("a")).await, 2_000);
    assert_eq!(limiter.take(PolicyName::LoginNet, &key("a")).await, Admission::Allowed);
    let wider = |_| Policy::configured(PolicyValue::Rate { rate: "30/min".parse().unwrap(), burst: 21 });
    limiter.install(&Arc::new(PolicySet::new(wider)), 1);
    assert_eq!(limiter.take(PolicyName::LoginIp, &key("a")).await, Admission::Allowed);
}

#[tokio::test]
async fn a_flood_of_keys_stays_bounded_and_does_not_open_what_is_locked() {
    let clock = Arc::new(ManualClock::at(START_MS));
    let policies = Arc::new(PolicySet::new(configured));
    let limiter = MemoryLimiter::new(policies, clock.clone(), 1_024);
    for _ in 0..5 {
        let place = place(&limiter, PolicyName::LoginAccount).await;
        limiter.settle(place, Outcome::Failed).await;
    }
    for number in 0..20_000 {
        limiter.take(PolicyName::LoginIp, &key(&format!("{number}"))).await;
    }
    for room in &limiter.rooms {
        assert!(room.lock().len() <= 16);
    }
    assert_eq!(limiter.wait_ms(PolicyName::LoginAccount, &key("a")).await, 1_000);
}

#[tokio::test]
async fn many_locked_keys_outlive_a_flood_of_used_and_of_exhausted_ones_whichever_came_first() {
    for locked_first in [true, false] {
        let clock = Arc::new(ManualClock::at(START_MS));
        let limiter = MemoryLimiter::new(Arc::new(PolicySet::new(configured)), clock.clone(), 4_096);
        let locked: Vec<LimitKey> = (0..1_000).map(|number| key(&format!("locked {number}"))).collect();
        if locked_first {
            lock(&limiter, &locked).await;
        }
        clock.advance(1);
        for number in 0..4_000 {
            limiter.take(PolicyName::LoginIp, &key(&format!("used {number}"))).await;
        }
        if !locked_first {
            lock(&limiter, &locked).await;
        }
        for number in 0..4_000 {
            let exhausted = key(&format!("exhausted {number}"));
            while limiter.take(PolicyName::LoginIp, &exhausted).await == Admission::Allowed {}
        }
        for key in &locked {
            assert!(limiter.wait_ms(PolicyName::LoginAccount, key).await > 0, "{key:?} {locked_first}");
        }
        assert!(limiter.rooms.iter().all(|room| room.lock().len() <= 64), "it stays bounded");
    }
}

async fn lock(limiter: &MemoryLimiter, keys: &[LimitKey]) {
    for key in keys {
        for _ in 0..5 {
            let Reserved::Place(place) = limiter.reserve(PolicyName::LoginAccount, key.clone(), 0).await else {
                panic!("{key:?} is locked too early");
            };
            limiter.settle(place, Outcome::Failed).await;
        }
    }
}

/// What the rules promise of one key, in words of the rules: failures in a row, when the last one was, and since when
/// each place is held.
#[derive(Default)]
struct Model {
    failures: u32,
    last_ms: i64,
    held: Vec<(u64, i64)>,
}

impl Model {
    fn expect(&mut self, now_ms: i64) -> &'static str {
        self.held.retain(|(_, since_ms)| now_ms - since_ms < 30_000);
        if now_ms - self.last_ms > LADDER.forget_ms {
            self.failures = 0;
        }
        if self.failures >= 5 && now_ms - self.last_ms < (1_000i64 << (self.failures - 5).min(20)).min(900_000) {
            return "denied";
        }
        let free = if self.failures < 5 { 5 - self.failures as usize } else { 1 };
        if self.held.len() < free { "held" } else { "busy" }
    }

    fn settle(&mut self, ticket: u64, outcome: Outcome, now_ms: i64) {
        self.held.retain(|(held, _)| *held != ticket);
        match outcome {
            Outcome::Failed if now_ms - self.last_ms > LADDER.forget_ms => (self.failures, self.last_ms) = (1, now_ms),
            Outcome::Failed => (self.failures, self.last_ms) = (self.failures + 1, now_ms),
            Outcome::Succeeded => self.failures = 0,
            Outcome::Abandoned => {}
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Reserve,
    Settle(usize, Outcome),
    Advance(i64),
    Forget,
}

fn op() -> impl Strategy<Value = Op> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Failed),
        1 => Just(Outcome::Succeeded),
        1 => Just(Outcome::Abandoned),
    ];
    prop_oneof![
        8 => Just(Op::Reserve),
        8 => (0usize..6, outcome).prop_map(|(which, outcome)| Op::Settle(which, outcome)),
        4 => prop_oneof![0i64..3_000, 0i64..40_000, 0i64..1_000_000, Just(90_000_000)].prop_map(Op::Advance),
        1 => Just(Op::Forget),
    ]
}

proptest! {
    #[test]
    fn every_history_of_one_key_goes_as_the_model_says(ops in proptest::collection::vec(op(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (limiter, clock) = limiter_of(configured);
            let (mut model, mut places) = (Model::default(), Vec::new());
            for op in ops {
                let now_ms = clock.now_ms();
                match op {
                    Op::Reserve => {
                        let expected = model.expect(now_ms);
                        let said = match limiter.reserve(PolicyName::LoginAccount, key("a"), 0).await {
                            Reserved::Place(place) => {
                                model.held.push((place.ticket, now_ms));
                                places.push(place);
                                "held"
                            }
                            Reserved::Denied { .. } => "denied",
                            Reserved::Overloaded => "busy",
                        };
                        prop_assert_eq!(said, expected);
                    }
                    Op::Settle(which, outcome) if !places.is_empty() => {
                        let place = places.swap_remove(which % places.len());
                        model.settle(place.ticket, outcome, now_ms);
                        limiter.settle(place, outcome).await;
                    }
                    Op::Settle(..) => {}
                    Op::Advance(by_ms) => clock.advance(by_ms),
                    Op::Forget => {
                        limiter.forget(PolicyName::LoginAccount, &key("a")).await;
                        model.failures = 0;
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_accounts_tried_at_once_fail_no_more_than_the_spread_allows() {
    use crate::domain::spread::Spread;
    let spread = Spread { most: 10, window_ms: 600_000, lock_ms: 900_000 };
    let (limiter, clock) = limiter_of(|_| Policy::configured(PolicyValue::Spread(spread)));
    let mut storm = JoinSet::new();
    for account in 0..200 {
        let limiter = Arc::clone(&limiter);
        storm.spawn(async move {
            match limiter.reserve(PolicyName::LoginSpray, key("a"), LONG_MS).await {
                Reserved::Place(place) => {
                    tokio::task::yield_now().await;
                    limiter.settle_about(place, Outcome::Failed, account).await;
                    1
                }
                Reserved::Denied { .. } | Reserved::Overloaded => 0,
            }
        });
    }
    assert_eq!(storm.join_all().await.into_iter().sum::<i32>(), 10);
    let limited = limiter.refusals().limited(PolicyName::LoginSpray, START_MS);
    assert_eq!((limited.len(), limited[0].wait_ms, limited[0].refused), (1, 900_000, 190));
    assert!(limiter.forget(PolicyName::LoginSpray, &key("a")).await);
    assert!(limiter.refusals().limited(PolicyName::LoginSpray, START_MS).is_empty());
    clock.advance(1);
    for account in [1, 1, 1, 2] {
        let place = place(&limiter, PolicyName::LoginSpray).await;
        limiter.settle_about(place, Outcome::Failed, account).await;
    }
    let place = place(&limiter, PolicyName::LoginSpray).await;
    limiter.settle_about(place, Outcome::Succeeded, 3).await;
    assert_eq!(limiter.wait_ms(PolicyName::LoginSpray, &key("a")).await, 0, "two of ten have failed");
}
