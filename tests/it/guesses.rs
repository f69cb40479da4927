//! A whole siege of one account: two instances, both lanes, restarts and a Redis that forgets; a hundred guesses in
//! all.

use serde_json::json;
use shared::{admin::user, error::ErrorCode};
use tests::{
    client::{Client, PASSWORD},
    daemon::Daemon,
    options::Options,
    redis::Redis,
    wait::together,
};

const WRONG: &str = "not-the-velvet-one-55";
const ADA: &str = "ada@example.org";
/// Nothing but `login.hard` stands in the way.
const NO_LADDER: &str = "[limit.\"login.account\"]\nburst = 84\nfirst_delay = \"1ms\"\nmax_delay = \"1ms\"\n\
    [limit.\"login.device\"]\nrate = \"off\"\n";
/// How often an instance is restarted, and Redis loses what it knew.
const ROUNDS: usize = 20;
/// Guesses of each round, released together.
const GUESSES: usize = 16;

/// One guess: from an unknown device, with a stolen device token, inside a session, or as a repeated registration.
async fn guess(client: Client, number: usize, (access, device): (String, String)) {
    let answer = match number % 8 {
        0 => client.try_login_from(&device, ADA, WRONG).await,
        1 => client.change_password(&access, WRONG, "granite-lantern-46-tide").await,
        2 => {
            let body = json!({ "email": ADA, "password": WRONG });
            let call = client.post("/api/auth/register", &body).header("idempotency-key", "a-key-of-a-client");
            call.send().await
        }
        _ => client.try_login(ADA, WRONG).await,
    };
    assert!(matches!(answer.status, 401 | 409 | 429 | 503), "{answer}");
}

/// Besieges the account; how many passwords were evaluated for it.
async fn besiege(config: &str, redis: Option<&Redis>) -> u64 {
    let options = Options::postgres().await.config(NO_LADDER).config(config);
    let first = Daemon::start(options).await;
    let second = first.second().await;
    let mut instances = [first, second];
    let body = json!({ "email": ADA, "password": PASSWORD });
    let client = instances[0].client();
    let made = client.post("/api/auth/register", &body).header("idempotency-key", "a-key-of-a-client").send().await;
    made.assert_status(201);
    let mut stolen = Vec::new();
    for _ in 0..5 {
        let tokens = client.login(ADA).await;
        stolen.push((tokens.access, tokens.device.unwrap()));
    }
    let mut evaluated = 0;
    let before = instances[0].admin().evaluated().await;
    for round in 0..ROUNDS {
        let (clients, stolen) = ([instances[0].client(), instances[1].client()], &stolen);
        let turn = |number: usize| guess(clients[number % 2], round + number, stolen[number % stolen.len()].clone());
        together(GUESSES, turn).await;
        if let Some(redis) = redis {
            redis.flush().await;
        }
        let restarted = &mut instances[round % 2];
        evaluated += restarted.admin().evaluated().await;
        if round % 4 < 2 { restarted.restart().await } else { restarted.crash().await }
    }
    for daemon in &instances {
        evaluated += daemon.admin().evaluated().await;
        daemon.client().try_login(ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
    }
    let shown = instances[0].admin().call::<user::Show>(&user::ShowRequest { user: ADA.into() }).await;
    assert!(shown.locked.is_some(), "{shown:?}");
    evaluated - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_without_redis_that_are_restarted_twenty_times_evaluate_at_most_a_hundred() {
    let evaluated = besiege("", None).await;
    assert!((85..=100).contains(&evaluated), "{evaluated}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_between_twenty_restarts_changes_nothing_about_it() {
    let redis = Redis::start().await;
    let evaluated = besiege(&redis.patient(), Some(&redis)).await;
    assert!((85..=100).contains(&evaluated), "{evaluated}");
}
