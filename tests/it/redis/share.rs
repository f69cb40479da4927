//! Two instances that count together.

use super::{TEN, is_guess_evaluated, login, registered, two, until_redis_is};
use crate::limits::PROXY;
use std::time::Duration;
use tests::{
    daemon::Daemon,
    options::Options,
    redis::Redis,
    wait::{together, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_one_rate_exactly() {
    let redis = Redis::start().await;
    let (first, second) = two(&[&redis.patient(), TEN]).await;
    registered(&first, "ada@example.org").await;
    let mut served = 0;
    for round in 0..30 {
        let client = if round % 3 == 0 { first.client() } else { second.client() };
        let answer = client.post("/api/auth/login", &login("ada@example.org")).send().await;
        assert!(matches!(answer.status, 200 | 429), "{answer}");
        assert_eq!(answer.status == 200, round < 10, "{round}: {answer}");
        served += usize::from(answer.status == 200);
    }
    assert_eq!(served, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_guesses_through_two_instances_stay_within_one_budget() {
    let redis = Redis::start().await;
    let long = "[limit.\"login.account\"]\nfirst_delay = \"10m\"\n[password]\nwait = \"20s\"\n";
    let (first, second) = two(&[&redis.patient(), long]).await;
    for round in 0..3 {
        let email = format!("user{round}@example.org");
        registered(&first, &email).await;
        let evaluated = together(60, |number| {
            let (client, email) = (if number % 2 == 0 { first.client() } else { second.client() }, email.clone());
            async move { is_guess_evaluated(&client, &email).await }
        })
        .await;
        assert_eq!(evaluated.iter().filter(|evaluated| **evaluated).count(), 5);
        for daemon in [&first, &second] {
            let right = daemon.client().post("/api/auth/login", &login(&email)).send().await;
            assert_eq!(right.status, 429, "{right}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_with_the_right_password_is_never_refused_for_parallel_logins() {
    let redis = Redis::start().await;
    let (first, second) = two(&[&redis.patient(), "[password]\nwait = \"20s\"\n"]).await;
    registered(&first, "ada@example.org").await;
    let statuses = together(40, |number| {
        let client = if number % 2 == 0 { first.client() } else { second.client() };
        async move { client.post("/api/auth/login", &login("ada@example.org")).send().await.status }
    })
    .await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

async fn lock(daemon: &Daemon, email: &str) {
    for _ in 0..5 {
        assert!(is_guess_evaluated(&daemon.client(), email).await);
    }
    assert!(!is_guess_evaluated(&daemon.client(), email).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_has_forgotten_is_forgotten_by_every_instance() {
    let redis = Redis::start().await;
    let long = "[limit.\"login.account\"]\nfirst_delay = \"10m\"\n";
    let (first, second) = two(&[&redis.patient(), long]).await;
    registered(&first, "ada@example.org").await;
    for args in
        [&["limit", "reset", "login.account", "--key", "ada@example.org"][..], &["user", "unlock", "ada@example.org"]]
    {
        lock(&first, "ada@example.org").await;
        // The other instance has learnt of the lock before it is lifted.
        assert!(!is_guess_evaluated(&second.client(), "ada@example.org").await);
        let ran = first.ctl().run(args).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for daemon in [&second, &first] {
            daemon.client().login("ada@example.org").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_on_one_instance_clears_the_failures_on_the_other() {
    let redis = Redis::start().await;
    let (first, second) = two(&[&redis.patient()]).await;
    registered(&first, "ada@example.org").await;
    for _ in 0..4 {
        for _ in 0..4 {
            assert!(is_guess_evaluated(&first.client(), "ada@example.org").await);
        }
        second.client().login("ada@example.org").await;
    }
    for _ in 0..5 {
        assert!(is_guess_evaluated(&first.client(), "ada@example.org").await);
    }
    assert!(!is_guess_evaluated(&second.client(), "ada@example.org").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_addresses_stay_out_of_redis_and_its_password_out_of_sight() {
    let redis = Redis::start_with(Some("s3cr3t-of-redis")).await;
    let daemon = Daemon::start(Options::sqlite().config(&redis.patient()).config(TEN)).await;
    until_redis_is(&daemon, "up").await;
    registered(&daemon, "ada@example.org").await;
    is_guess_evaluated(&daemon.client(), "ada@example.org").await;
    let user: serde_json::Value = daemon.ctl().run(&["-o", "json", "user", "show", "ada@example.org"]).await.json();
    let keys: Vec<String> = redis.ask(&["KEYS", "*"]).await;
    assert!(keys.len() >= 3, "{keys:?}");
    let mut all = keys.join(" ");
    for key in &keys {
        let kind: String = redis.ask(&["TYPE", key]).await;
        if kind == "hash" {
            all += &redis.ask::<Vec<String>>(&["HGETALL", key]).await.join(" ");
        }
    }
    let id = user["data"]["id"].as_str().or(user["id"].as_str()).expect("an id").to_owned();
    for secret in ["ada", "127.0.0", "login", id.as_str()] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    let shown = daemon.ctl().run(&["config", "show"]).await.stdout;
    assert!(shown.contains("redis.url") && !shown.contains("s3cr3t"), "{shown}");
    assert!(!daemon.log().text().contains("s3cr3t"));
}

/// How many of so many guesses for names that nobody has are evaluated from an address of their own.
async fn evaluated_of(guesses: usize, daemon: &Daemon, address: &str) -> usize {
    let mut evaluated = 0;
    for guess in 0..guesses {
        let email = format!("nobody{guess}@{address}.example.org");
        let call = daemon.client().post("/api/auth/login", &login(&email)).header("X-Forwarded-For", address);
        evaluated += usize::from(call.send().await.status == 401);
    }
    evaluated
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_an_instance_that_comes_has_its_share_from_the_others_at_once() {
    let eight = "[limit.\"login.ip\"]\nrate = \"8/h\"\nburst = 8\n[limit.\"login.spray\"]\ncount = 100\n";
    let first = Daemon::start(Options::postgres().await.config(PROXY).config(eight)).await;
    assert_eq!(evaluated_of(9, &first, "192.0.2.1").await, 8);
    let mut others = Vec::new();
    for (others_then, share) in [(1, 4), (3, 2)] {
        while others.len() < others_then {
            others.push(first.second().await);
        }
        let host = std::sync::atomic::AtomicU32::new(0);
        let what = format!("{others_then} others leave {share} of eight to the first");
        // Heartbeats, from which instances are counted, are five seconds apart.
        until(Duration::from_secs(3), &what, || async {
            let host = host.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let address = format!("198.{others_then}.{host}.1");
            (evaluated_of(share + 1, &first, &address).await == share).then_some(())
        })
        .await;
    }
}
