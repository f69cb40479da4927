//! Limits that instances share through Redis, and what is left of them when Redis is away; circuit breakers.

mod breaker;
pub(crate) mod faults;
mod kinds;
mod script;
mod servers;
mod share;
mod tuned;

use shared::admin::{Empty, daemon::Status};
use std::time::Duration;
use tests::{
    client::{Client, PASSWORD, Tokens},
    daemon::Daemon,
    options::Options,
    wait::until,
};

/// No more logins than ten an hour from one address.
const TEN: &str = "[limit.\"login.ip\"]\nrate = \"10/h\"\nburst = 10\n";

async fn redis_state(daemon: &Daemon) -> String {
    daemon.admin().call::<Status>(&Empty {}).await.redis.state
}

async fn until_redis_is(daemon: &Daemon, state: &str) {
    let what = format!("redis is {state}");
    until(Duration::from_secs(5), &what, || async { (redis_state(daemon).await == state).then_some(()) }).await;
}

/// Two instances on one database and one Redis, which know of each other.
async fn two(config: &[&str]) -> (Daemon, Daemon) {
    let options = config.iter().fold(Options::postgres().await, |options, toml| options.config(toml));
    let first = Daemon::start(options).await;
    let second = first.second().await;
    for daemon in [&first, &second] {
        until_redis_is(daemon, "up").await;
    }
    (first, second)
}

/// What a wrong password was told: whether it was evaluated.
async fn is_guess_evaluated(client: &Client, email: &str) -> bool {
    let answer = client.try_login(email, "wrong-password-7-lantern").await;
    match answer.status {
        401 => true,
        429 => false,
        _ => panic!("{answer}"),
    }
}

/// Login, refresh, verification: what must work whatever becomes of Redis.
async fn assert_serves(daemon: &Daemon, email: &str) {
    let client = daemon.client();
    let tokens = client.login(email).await;
    let tokens = client.refresh(&tokens).await;
    client.verify(&tokens.access).await.assert_status(200);
    assert_eq!(client.ready().await.status, 200, "Redis is no reason not to be ready");
}

fn login(email: &str) -> serde_json::Value {
    serde_json::json!({ "email": email, "password": PASSWORD })
}

async fn registered(daemon: &Daemon, email: &str) -> Tokens {
    daemon.client().register(email).await
}
