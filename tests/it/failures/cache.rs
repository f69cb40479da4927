//! Redis that dies, halts, is slow, talks nonsense or forgets: nobody is refused for it.

use super::flows::People;
use authd::domain::failure::Condition;
use shared::admin::{Empty, daemon::Status};
use std::time::Duration;
use tests::{
    daemon::Daemon,
    options::Options,
    proxy::{Plan, Proxy},
    redis::Redis,
    wait::until,
};

async fn scene() -> (Redis, Daemon, People) {
    let redis = Redis::start().await;
    let daemon = Daemon::start(Options::sqlite().config(&redis.quick())).await;
    let people = People::of(&daemon).await;
    (redis, daemon, people)
}

async fn until_state(daemon: &Daemon, state: &str) {
    let seen = || async { (daemon.admin().call::<Status>(&Empty {}).await.redis.state == state).then_some(()) };
    until(Duration::from_secs(8), state, seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_is_away() {
    let (mut redis, daemon, people) = scene().await;
    redis.kill();
    until_state(&daemon, "down").await;
    people.walk(&daemon, Condition::RedisAway).await;
    tokio::task::block_in_place(|| redis.start_again());
    people.assert_untouched(&daemon, Condition::RedisAway).await;
    until_state(&daemon, "up").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halted_redis_is_away() {
    let (redis, daemon, people) = scene().await;
    redis.pause();
    people.walk(&daemon, Condition::RedisAway).await;
    redis.resume();
    people.assert_untouched(&daemon, Condition::RedisAway).await;
    until_state(&daemon, "up").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_is_away() {
    let redis = Redis::start().await;
    let way = Proxy::in_front_of(redis.address()).await;
    let config = format!("[redis]\nurl = \"redis://{}\"\n", way.address());
    let daemon = Daemon::start(Options::sqlite().config(&config)).await;
    let people = People::of(&daemon).await;
    until_state(&daemon, "up").await;
    way.set(Plan { reply_delay: Duration::from_millis(80), ..Plan::default() });
    until_state(&daemon, "down").await;
    people.walk(&daemon, Condition::RedisAway).await;
    way.set(Plan::default());
    people.assert_untouched(&daemon, Condition::RedisAway).await;
    until_state(&daemon, "up").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_answers_nonsense_is_away() {
    let config = crate::redis::faults::answering(b"-\x00\xff\r\n$-7\r\n").await;
    let daemon = Daemon::start(Options::sqlite().config(&config)).await;
    let people = People::of(&daemon).await;
    people.walk(&daemon, Condition::RedisAway).await;
    people.assert_untouched(&daemon, Condition::RedisAway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_everything_is_hardly_noticed() {
    let (redis, daemon, people) = scene().await;
    until_state(&daemon, "up").await;
    redis.flush().await;
    people.walk_flows(&daemon, Condition::RedisAway).await;
    redis.flush().await;
    people.assert_untouched(&daemon, Condition::RedisAway).await;
    until_state(&daemon, "up").await;
}
