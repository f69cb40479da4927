//! Halted longer than every deadline, under mixed load: what was cut off happens once or not at all, however late.

use super::storm::Storm;
use std::time::{Duration, Instant};
use tests::{
    daemon::Daemon,
    history::crowd::CONFIG,
    options::{Database, Options},
    postgres::Postgres,
    scale,
};

/// How often each is halted in the whole scenario.
const PAUSES: usize = 30;
const PATIENCE: Duration = Duration::from_secs(10);
/// Of people who turn to another instance.
const IMPATIENT: Duration = Duration::from_millis(800);
/// The deadline of what hashes no password, and a little more.
const PAST_THE_BUDGET: Duration = Duration::from_millis(3_300);
/// Deadlines that make a halted database server an outage soon.
const HASTY: &str = "[database]\nacquire_timeout = \"200ms\"\nstatement_timeout = \"400ms\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_halted_daemon_was_about_happens_once_or_never() {
    let daemon = Daemon::start(Options::sqlite().config(CONFIG)).await;
    let mut storm = Storm::new(PATIENCE);
    for _ in 0..scale::of(PAUSES) {
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
    for round in 0..scale::of(PAUSES) {
        let load = storm.begin(&[&daemon, &other]).await;
        let halted = if round % 2 == 0 { &daemon } else { &other };
        halted.pause();
        let since = Instant::now();
        tokio::time::sleep(PAST_THE_BUDGET).await;
        assert!(storm.has_served_since(since), "the other instance does not serve");
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
    for _ in 0..scale::of(PAUSES) {
        let load = storm.begin(&[&daemon]).await;
        server.pause();
        tokio::time::sleep(Duration::from_millis(600) + storm.any_ms(1_500)).await;
        server.resume();
        daemon.until_ready().await;
        storm.judge(load, &[&daemon]).await;
    }
    storm.close(&daemon).await;
}
