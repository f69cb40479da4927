//! Halted longer than every deadline, under mixed load: what was cut off happens once or not at all, however late.

use super::storm::Storm;
use serde_json::json;
use shared::error::ErrorCode;
use std::time::{Duration, Instant};
use tests::{
    client::{PASSWORD, Tokens},
    daemon::Daemon,
    history::crowd::CONFIG,
    options::{Database, Options},
    postgres::Postgres,
    process::crowding,
    scale,
    wait::timed,
};

/// How often each is halted in the whole scenario.
const PAUSES: usize = 30;
/// How long a database server is halted in one go, in seconds.
const LONG_PAUSE: usize = 30;
const PATIENCE: Duration = Duration::from_secs(10);
/// Of people who turn to another instance.
const IMPATIENT: Duration = Duration::from_millis(800);
/// The deadline of what hashes no password, and a little more.
const PAST_THE_BUDGET: Duration = Duration::from_millis(3_300);
/// Deadlines that make a halted database server an outage soon.
const HASTY: &str = "[database]\nacquire_timeout = \"500ms\"\nstatement_timeout = \"400ms\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_halted_daemon_was_about_happens_once_or_never() {
    let daemon = Daemon::start(Options::sqlite().config(CONFIG)).await;
    let mut storm = Storm::new(PATIENCE);
    while storm.next(scale::of(PAUSES)).is_some() {
        let load = storm.begin(&[&daemon]).await;
        daemon.pause();
        tokio::time::sleep(PAST_THE_BUDGET).await;
        daemon.resume();
        storm.judge(load, &[&daemon]).await;
    }
    storm.close(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_instances_one_is_halted_with_its_locks_and_the_other_serves_on() {
    let daemon = Daemon::start(Options::postgres().await.config(CONFIG).config(HASTY)).await;
    let other = daemon.second().await;
    let mut storm = Storm::new(IMPATIENT);
    while let Some(round) = storm.next(scale::of(PAUSES)) {
        let load = storm.begin(&[&daemon, &other]).await;
        let halted = if round % 2 == 0 { &daemon } else { &other };
        halted.pause();
        let since = Instant::now();
        tokio::time::sleep(PAST_THE_BUDGET).await;
        storm.until_served_since(since).await;
        halted.resume();
        storm.judge(load, &[&daemon, &other]).await;
    }
    storm.close(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_halted_database_server_was_about_happens_once_or_never() {
    let server = Postgres::start_own().await;
    let options = Options::on(Database::Postgres(server.create_database().await)).config(CONFIG).config(HASTY);
    let daemon = Daemon::start(options).await;
    let mut storm = Storm::new(PATIENCE);
    while storm.next(scale::of(PAUSES)).is_some() {
        let load = storm.begin(&[&daemon]).await;
        server.pause();
        tokio::time::sleep(Duration::from_millis(600) + storm.any_ms(1_500)).await;
        server.resume();
        daemon.until_ready().await;
        storm.judge(load, &[&daemon]).await;
    }
    storm.close(&daemon).await;
}

/// Asks all the while, and is answered in time; how many accounts were asked for.
async fn ask_in_vain(daemon: &Daemon, tokens: &Tokens, lasting: Duration) -> usize {
    let (client, end, mut asked) = (daemon.client(), Instant::now() + lasting, 0);
    let late = |seconds: f64| Duration::from_secs_f64(seconds * crowding());
    while Instant::now() < end {
        let body = json!({ "email": format!("user{asked}@example.org"), "password": PASSWORD });
        for (call, most) in [
            (client.post("/api/auth/register", &body), 5.8),
            (client.refresh_call(&tokens.refresh), 3.8),
            (client.get("/api/user/profile").bearer(&tokens.access), 3.8),
        ] {
            let (answer, took) = timed(call.send()).await;
            let is_outage = [ErrorCode::StorageUnavailable, ErrorCode::Overloaded]
                .into_iter()
                .any(|code| answer.status == 503 && answer.code() == code.as_str());
            assert!(is_outage && answer.header("retry-after").is_some(), "{answer}");
            assert!(took < late(most), "{took:?}: {answer}");
        }
        for call in [client.get("/.well-known/jwks.json"), client.get("/api/auth/verify").bearer(&tokens.access)] {
            let (answer, took) = timed(call.send()).await;
            answer.assert_status(200);
            assert!(took < late(0.3), "{took:?}");
        }
        asked += 1;
        // An open breaker refuses at once: no more accounts than a list of their events can hold.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_minute_without_a_word_of_the_database_is_an_outage_and_then_nothing_has_happened_twice() {
    let server = Postgres::start_own().await;
    let daemon = Daemon::start(Options::on(Database::Postgres(server.create_database().await))).await;
    let (client, admin) = (daemon.client(), daemon.admin());
    let ada = client.register("ada@example.org").await;
    server.pause();
    let lasting = Duration::from_secs(u64::try_from(scale::of(LONG_PAUSE).max(6)).expect("small"));
    let asked = ask_in_vain(&daemon, &ada, lasting).await;
    server.resume();
    let ((), took) = timed(daemon.until_ready()).await;
    assert!(took < Duration::from_secs(5).mul_f64(crowding()), "{took:?}");
    client.refresh(&ada).await;
    assert_eq!(admin.session(&ada.session).await.generation, 1);
    for number in 0..asked {
        let email = format!("user{number}@example.org");
        let again = client.try_register(&json!({ "email": email, "password": PASSWORD })).await;
        assert!(matches!(again.status, 201 | 409), "{again}");
    }
    // Of each account one event, whichever of the two requests made it.
    assert_eq!(admin.events("user.created").await.len(), asked + 1);
}
