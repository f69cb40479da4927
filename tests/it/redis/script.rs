//! The script in Redis against the pure functions of the domain, over random schedules on a real server.

use authd::{
    domain::{
        ladder::{Ladder, Outcome, Rung, Step},
        quota::{Quota, Verdict},
    },
    limit::redis::script::{Answer, Question, Reply, Told, current_run},
};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use redis::aio::MultiplexedConnection;
use std::time::Duration;
use tests::redis::Redis;

const CASES: u32 = 16;
/// What a caller knows who knows nothing.
const NOTHING: Told = Told { generation: None, untold: false, ahead_us: 0, failures: 0, age_ms: 0, places: 0 };

struct Server {
    conn: MultiplexedConnection,
    run: String,
    key: String,
}

impl Server {
    async fn ask(&mut self, question: Question<'_>, told: Told) -> Reply {
        question.ask(&mut self.conn, &self.key, ("run", &self.run), told).await.unwrap()
    }
}

/// Runs `case` for values of `strategy`, each on a key of its own.
fn every<S: Strategy>(strategy: S, case: impl AsyncFn(Server, S::Value) -> Result<(), TestCaseError>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let redis = runtime.block_on(Redis::start());
    let number = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let ran = TestRunner::new(config).run(&strategy, |value| {
        number.set(number.get() + 1);
        let key = format!("key{}", number.get());
        runtime.block_on(async {
            let mut conn = redis.connect().await;
            let run = current_run(&mut conn, "run", "a-run").await.unwrap();
            case(Server { conn, run, key }, value).await
        })
    });
    ran.unwrap();
    runtime.block_on(async { drop(redis) });
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[test]
fn a_rate_is_decided_as_the_pure_function_decides_it() {
    // Some of the callers counted alone meanwhile, and tell.
    let told = prop_oneof![4 => Just(None), 1 => (0i64..200_000).prop_map(Some)];
    let schedule = (1_000i64..40_000, 1u32..6, vec((0u64..25, told), 1..40));
    every(schedule, async |mut server, (emission_us, burst, steps)| {
        let quota = Quota { emission_us, burst };
        let mut tat_us = 0;
        for (gap_ms, told) in steps {
            pause(gap_ms).await;
            let known = told.map_or(NOTHING, |ahead_us| Told { untold: true, ahead_us, ..NOTHING });
            let look = server.ask(Question::LookAtRate(quota), NOTHING).await;
            let wait_ms = match quota.ask(tat_us, look.now_us) {
                Verdict::Allow { .. } => 0,
                Verdict::Deny { retry_after_ms } => retry_after_ms,
            };
            prop_assert_eq!(look.wait_ms, wait_ms);
            let reply = server.ask(Question::Take(quota), known).await;
            tat_us = told.map_or(tat_us, |ahead_us| tat_us.max(reply.now_us + ahead_us.min(quota.tolerance_us())));
            match quota.ask(tat_us, reply.now_us) {
                Verdict::Allow { tat_us: next } => {
                    tat_us = next;
                    prop_assert_eq!((reply.answer, reply.wait_ms), (Answer::Yes, 0));
                }
                Verdict::Deny { retry_after_ms } => {
                    prop_assert_eq!((reply.answer, reply.wait_ms), (Answer::No, retry_after_ms));
                }
            }
            if tat_us > reply.now_us {
                prop_assert_eq!(reply.level, tat_us - reply.now_us);
            }
        }
        Ok(())
    });
}

#[test]
fn a_rate_of_any_size_is_decided_as_the_pure_function_decides_it() {
    let schedule = (1i64..100_000_000_000, 1u32..1_000, vec(0i64..200_000_000_000_000, 1..20));
    every(schedule, async |mut server, (emission_us, burst, told)| {
        let quota = Quota { emission_us, burst };
        let mut tat_us = 0;
        for ahead_us in told {
            let known = Told { untold: true, ahead_us, ..NOTHING };
            let reply = server.ask(Question::Take(quota), known).await;
            tat_us = tat_us.max(reply.now_us + ahead_us.min(quota.tolerance_us()));
            let expected = match quota.ask(tat_us, reply.now_us) {
                Verdict::Allow { tat_us: next } => {
                    tat_us = next;
                    (Answer::Yes, 0)
                }
                Verdict::Deny { retry_after_ms } => (Answer::No, retry_after_ms),
            };
            prop_assert_eq!((reply.answer, reply.wait_ms), expected);
        }
        Ok(())
    });
}

#[derive(Debug, Clone)]
enum Op {
    Reserve,
    Settle(usize, Outcome),
    Wait(u64),
    Forget,
}

fn op() -> impl Strategy<Value = Op> {
    let outcome = prop_oneof![5 => Just(Outcome::Failed), 1 => Just(Outcome::Succeeded), 1 => Just(Outcome::Abandoned)];
    prop_oneof![
        8 => Just(Op::Reserve),
        7 => (0usize..6, outcome).prop_map(|(which, outcome)| Op::Settle(which, outcome)),
        4 => prop_oneof![0u64..8, 0u64..60, Just(260u64)].prop_map(Op::Wait),
        1 => Just(Op::Forget),
    ]
}

#[test]
fn a_ladder_is_climbed_as_the_pure_function_climbs_it() {
    let schedule = (1u32..5, 1i64..12, vec(op(), 1..60));
    every(schedule, async |mut server, (burst, first_delay_ms, ops)| {
        let ladder = Ladder { burst, first_delay_ms, max_delay_ms: 80, forget_ms: 200 };
        let (mut rung, mut places, mut number, mut generation) = (Rung::default(), Vec::new(), 0, 0);
        for op in ops {
            match op {
                Op::Wait(ms) => pause(ms).await,
                Op::Reserve => {
                    number += 1;
                    let ticket = format!("ticket{number}");
                    let reply = server.ask(Question::Reserve(ladder, &ticket), NOTHING).await;
                    let expected = match ladder.ask(rung, reply.now_us / 1_000) {
                        Step::Reserve(next) => {
                            rung = next;
                            places.push(ticket);
                            (Answer::Yes, 0)
                        }
                        Step::Busy => (Answer::Busy, 0),
                        Step::Deny { retry_after_ms } => (Answer::No, retry_after_ms),
                    };
                    prop_assert_eq!((reply.answer, reply.wait_ms), expected);
                }
                Op::Settle(which, outcome) if !places.is_empty() => {
                    let ticket = places.swap_remove(which % places.len());
                    let reply = server.ask(Question::Settle(ladder, &ticket, outcome), NOTHING).await;
                    let now_ms = reply.now_us / 1_000;
                    let begins = outcome == Outcome::Succeeded && ladder.current(rung, now_ms).failures > 0;
                    generation += i64::from(begins);
                    rung = ladder.settle(rung, outcome, now_ms);
                    let failures = ladder.current(rung, now_ms).failures;
                    prop_assert_eq!((reply.level, reply.generation), (i64::from(failures), generation));
                }
                Op::Settle(..) => {}
                Op::Forget => {
                    let reply = server.ask(Question::Forget(200), NOTHING).await;
                    (rung.failures, generation) = (0, generation + 1);
                    prop_assert_eq!(reply.generation, generation, "so that others drop what they know");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn what_was_counted_alone_counts_unless_a_newer_generation_is_known() {
    let row = (0u32..9, 0i64..3, 0u32..9, prop_oneof![Just(None), (0i64..4).prop_map(Some)], any::<bool>());
    every(row, async |mut server, (stored, generations, failures, generation, untold)| {
        let ladder = Ladder { burst: 100, first_delay_ms: 1, max_delay_ms: 1, forget_ms: 1_000_000 };
        let mut current = 0;
        for _ in 0..generations {
            current = server.ask(Question::Forget(1_000_000), NOTHING).await.generation;
        }
        for _ in 0..stored {
            server.ask(Question::Settle(ladder, "x", Outcome::Failed), NOTHING).await;
        }
        let exists = stored > 0 || generations > 0;
        let told = Told { generation, untold, failures, ..NOTHING };
        let reply = server.ask(Question::LookAtRow(ladder), told).await;
        let is_newer = generation.is_some_and(|theirs| theirs > current);
        let is_same = untold && generation.is_none_or(|theirs| theirs == current);
        let merged = if !exists || is_newer || is_same { stored.max(failures) } else { stored };
        prop_assert_eq!(reply.level, i64::from(merged));
        Ok(())
    });
}

#[tokio::test]
async fn data_of_another_run_decides_nothing_and_every_key_ends_by_itself() {
    let redis = Redis::start().await;
    let mut conn = redis.connect().await;
    let run = current_run(&mut conn, "run", "first").await.unwrap();
    assert_eq!(current_run(&mut conn, "run", "second").await.unwrap(), run);
    let quota = Quota { emission_us: 1_000_000, burst: 1 };
    let ladder = Ladder { burst: 5, first_delay_ms: 1_000, max_delay_ms: 900_000, forget_ms: 86_400_000 };
    let ask = async |key: &str, question: Question<'_>, run: &str| {
        question.ask(&mut redis.connect().await, key, ("run", run), NOTHING).await.unwrap()
    };
    assert_eq!(ask("rate", Question::Take(quota), &run).await.answer, Answer::Yes);
    assert_eq!(ask("rate", Question::Take(quota), "other").await.answer, Answer::AnotherRun);
    assert_eq!(ask("row", Question::Reserve(ladder, "t"), &run).await.answer, Answer::Yes);
    ask("failed", Question::Settle(ladder, "t", Outcome::Failed), &run).await;
    ask("forgotten", Question::Forget(1_000), &run).await;
    for key in ["rate", "row", "failed", "forgotten", "run"] {
        let life_ms: i64 = redis.ask(&["PTTL", key]).await;
        assert!(life_ms > 0, "{key}: {life_ms}");
    }
    ask("row", Question::Settle(ladder, "t", Outcome::Succeeded), &run).await;
    assert_eq!(redis.ask::<i64>(&["EXISTS", "row"]).await, 0, "who never failed leaves no key");
    redis.flush().await;
    assert_eq!(ask("rate", Question::Take(quota), &run).await.answer, Answer::AnotherRun);
}

const LADDER: Ladder = Ladder { burst: 5, first_delay_ms: 10_000, max_delay_ms: 900_000, forget_ms: 86_400_000 };

/// A server of the test's own, and one key on it.
async fn alone() -> (Redis, Server) {
    let redis = Redis::start().await;
    let mut conn = redis.connect().await;
    let run = current_run(&mut conn, "run", "a-run").await.unwrap();
    (redis, Server { conn, run, key: "key".to_owned() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_that_were_counted_alone_are_as_old_as_they_are_told() {
    let (_redis, mut server) = alone().await;
    let told = Told { untold: true, failures: 5, age_ms: 9_000, ..NOTHING };
    let reply = server.ask(Question::Reserve(LADDER, "t"), told).await;
    assert!(reply.answer == Answer::No && (1..=1_000).contains(&reply.wait_ms), "{reply:?}");
    let older = Told { untold: true, failures: 5, age_ms: 60_000, ..NOTHING };
    let reply = server.ask(Question::LookAtRow(LADDER), older).await;
    assert!(reply.age_ms < 60_000 && reply.wait_ms > 0, "the later failure of the two counts: {reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_that_a_caller_still_holds_outlast_the_data() {
    let (redis, mut server) = alone().await;
    for ticket in ["a", "b", "c", "d", "e"] {
        assert_eq!(server.ask(Question::Reserve(LADDER, ticket), NOTHING).await.answer, Answer::Yes);
    }
    let _: i64 = redis.ask(&["DEL", "key"]).await;
    let holding = |places| Told { places, ..NOTHING };
    assert_eq!(server.ask(Question::Reserve(LADDER, "f"), holding(5)).await.answer, Answer::Busy);
    assert_eq!(server.ask(Question::Reserve(LADDER, "f"), holding(4)).await.answer, Answer::Yes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_from_before_the_clock_of_redis_went_back_is_free() {
    let (redis, mut server) = alone().await;
    let one = Ladder { burst: 1, ..LADDER };
    let look = server.ask(Question::LookAtRow(one), NOTHING).await;
    let in_an_hour = (look.now_us / 1_000 + 3_600_000).to_string();
    let _: i64 = redis.ask(&["HSET", "key", "plost", &in_an_hour]).await;
    assert_eq!(server.ask(Question::Reserve(one, "t"), NOTHING).await.answer, Answer::Yes);
}
