//! Killed without warning, again and again, under mixed load on the same data: nothing that was acknowledged is lost,
//! nothing happens twice, nothing happens without its event, and the daemon is ready again at once.

use std::time::{Duration, Instant};
use tests::{
    clock::SeededRandom,
    daemon::Daemon,
    history::{
        crowd::{CONFIG, Crowd},
        ledger,
    },
    options::{Database, Options},
    postgres::Postgres,
    scale,
    wait::timed,
};

const PEOPLE: u64 = 12;
const PATIENCE: Duration = Duration::from_secs(10);
const READY: Duration = Duration::from_secs(3);
/// After so many kills everything is compared, not only what was touched.
const BETWEEN_AUDITS: usize = 50;

fn any_below_ms(random: &SeededRandom, bound: u64) -> Duration {
    Duration::from_millis(random.next() % bound)
}

/// Compares every token and every event.
async fn audit(crowd: &mut Crowd, daemon: &Daemon) {
    crowd.present_everything().await;
    ledger::check(daemon, &crowd.recorder().operations()).await;
}

/// The end of a scenario: compares every token that ever was.
async fn close(mut crowd: Crowd, daemon: &Daemon) {
    audit(&mut crowd, daemon).await;
    crowd.present_the_past().await;
    ledger::check(daemon, &crowd.recorder().operations()).await;
    assert!(crowd.recorder().unknown() > 0, "nothing was cut off: the scenario proves nothing");
}

fn report(what: &str, round: usize, took: Duration) {
    println!("{what} {round}: ready after {took:?}; {}", scale::again());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_on_sqlite_that_is_killed_loses_nothing_and_does_nothing_twice() {
    let random = SeededRandom::new(scale::seed());
    let mut daemon = Daemon::start(Options::sqlite().config(CONFIG)).await;
    let mut crowd = Crowd::new(PEOPLE, scale::seed(), PATIENCE);
    for round in 1..=scale::of(300) {
        crowd.reach(&[&daemon]);
        let load = crowd.begin();
        tokio::time::sleep(any_below_ms(&random, 400)).await;
        daemon.kill();
        crowd = load.end().await;
        let ((), took) = timed(daemon.start_again()).await;
        report("kill", round, took);
        assert!(took <= READY, "ready after {took:?}");
        crowd.reach(&[&daemon]);
        crowd.settle().await;
        if round % BETWEEN_AUDITS == 0 {
            audit(&mut crowd, &daemon).await;
        }
    }
    close(crowd, &daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_instances_one_is_killed_and_the_other_serves_on() {
    let random = SeededRandom::new(scale::seed());
    let first = Daemon::start(Options::postgres().await.config(CONFIG)).await;
    let mut daemons = [first.second().await, first];
    let mut crowd = Crowd::new(PEOPLE, scale::seed(), PATIENCE);
    for round in 1..=scale::of(100) {
        crowd.reach(&[&daemons[0], &daemons[1]]);
        let load = crowd.begin();
        tokio::time::sleep(any_below_ms(&random, 400)).await;
        let killed = Instant::now();
        daemons[round % 2].kill();
        tokio::time::sleep(any_below_ms(&random, 200)).await;
        let ((), took) = timed(daemons[round % 2].start_again()).await;
        report("kill", round, took);
        assert!(took <= READY, "ready after {took:?}");
        assert!(load.recorder().served_since(killed) > 0, "the other instance does not serve");
        crowd = load.end().await;
        crowd.reach(&[&daemons[0], &daemons[1]]);
        ledger::until_quiet(&daemons[0]).await;
        crowd.settle().await;
        if round % BETWEEN_AUDITS == 0 {
            audit(&mut crowd, &daemons[0]).await;
        }
    }
    close(crowd, &daemons[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_server_that_is_killed_under_load_loses_nothing() {
    let random = SeededRandom::new(scale::seed());
    let mut server = Postgres::start_own().await;
    let options = Options::on(Database::Postgres(server.create_database().await)).config(CONFIG);
    let daemon = Daemon::start(options).await;
    let mut crowd = Crowd::new(PEOPLE, scale::seed(), PATIENCE);
    for round in 1..=scale::of(50) {
        crowd.reach(&[&daemon]);
        let load = crowd.begin();
        tokio::time::sleep(any_below_ms(&random, 400)).await;
        match round % 3 {
            0 => server.kill_backends().await,
            1 => {
                server.kill();
                server.start_again();
            }
            _ => {
                server.crash_backend().await;
                server.until_answers();
            }
        }
        let ((), took) = timed(daemon.until_ready()).await;
        report("kill of the server", round, took);
        assert!(took <= READY, "ready after {took:?}");
        crowd = load.end().await;
        ledger::until_quiet(&daemon).await;
        crowd.settle().await;
        if round % BETWEEN_AUDITS == 0 {
            audit(&mut crowd, &daemon).await;
        }
    }
    close(crowd, &daemon).await;
}
