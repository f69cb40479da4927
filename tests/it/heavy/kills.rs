//! Killed without warning, again and again, under mixed load on the same data: nothing that was acknowledged is lost,
//! nothing happens twice, nothing happens without its event, and the daemon is ready again at once.

use super::storm::Storm;
use std::time::{Duration, Instant};
use tests::{
    daemon::Daemon,
    history::crowd::CONFIG,
    options::{Database, Options},
    postgres::Postgres,
    process::crowding,
    scale,
    wait::timed,
};

const PATIENCE: Duration = Duration::from_secs(10);
/// From the start of the program, on a machine that is not kept busy by others.
const READY: Duration = Duration::from_secs(3);

fn assert_ready(took: Duration) {
    println!("ready after {took:?}");
    assert!(took <= READY.mul_f64(crowding()), "ready after {took:?}");
}

/// Starts a killed daemon again, and is strict about the time from its start to its readiness.
async fn start_again(daemon: &mut Daemon) {
    let ((), took) = timed(daemon.start_again()).await;
    assert_ready(took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_on_sqlite_that_is_killed_loses_nothing_and_does_nothing_twice() {
    let mut daemon = Daemon::start(Options::sqlite().config(CONFIG)).await;
    let mut storm = Storm::new(PATIENCE);
    while storm.next(scale::of(300)).is_some() {
        let load = storm.begin(&[&daemon]).await;
        daemon.kill();
        start_again(&mut daemon).await;
        storm.judge(load, &[&daemon]).await;
    }
    storm.close(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_instances_one_is_killed_and_the_other_serves_on() {
    let mut daemon = Daemon::start(Options::postgres().await.config(CONFIG)).await;
    let mut other = daemon.second().await;
    let mut storm = Storm::new(PATIENCE);
    while storm.next(scale::of(100)).is_some() {
        let load = storm.begin(&[&daemon, &other]).await;
        daemon.kill();
        let killed = Instant::now();
        storm.until_served_since(killed).await;
        tokio::time::sleep(storm.any_ms(200)).await;
        start_again(&mut daemon).await;
        storm.judge(load, &[&daemon, &other]).await;
        std::mem::swap(&mut daemon, &mut other);
    }
    storm.close(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_server_that_is_killed_under_load_loses_nothing() {
    let mut server = Postgres::start_own().await;
    let options = Options::on(Database::Postgres(server.create_database().await)).config(CONFIG);
    let daemon = Daemon::start(options).await;
    let mut storm = Storm::new(PATIENCE);
    while let Some(round) = storm.next(scale::of(50)) {
        let load = storm.begin(&[&daemon]).await;
        match round % 4 {
            1 => server.crash_backend().await,
            3 => server.kill_backends().await,
            _ => {
                server.kill();
                server.start_again();
            }
        }
        let ((), took) = timed(daemon.until_ready()).await;
        assert_ready(took);
        storm.judge(load, &[&daemon]).await;
    }
    storm.close(&daemon).await;
}
