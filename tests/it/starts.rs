//! Starts on a PostgreSQL that goes away, is slow or loses answers in their midst: they wait until
//! `database.start_timeout`, and begin nothing twice.

use serde_json::json;
use shared::admin::key::{self, State};
use std::time::{Duration, Instant};
use tests::{
    client::{PASSWORD, Tokens},
    daemon::{Daemon, Log, new_kek},
    options::{Database, Options},
    postgres::Postgres,
    process::Running,
    proxy::postgres::{Loss, PostgresProxy},
    wait::{together, until},
};

/// That it happens.
const SOON: Duration = Duration::from_secs(90);
/// Deadlines that make a slow database one that is not there.
const HASTY: &str = "[database]\nacquire_timeout = \"200ms\"\nstatement_timeout = \"500ms\"";
const WAITS: &str = "the database is not there yet";

async fn storage() -> (PostgresProxy, Options) {
    let storage = PostgresProxy::in_front_of(&Postgres::shared().await.create_database().await).await;
    let options = Options::on(Database::Postgres(storage.url()));
    (storage, options)
}

/// Waits until it has said so `count` times; it must not end before.
async fn until_said(running: &mut Running, log: &Log, part: &str, count: usize) {
    let end = Instant::now() + SOON;
    while log.lines().iter().filter(|line| line.contains(part)).count() < count {
        let ended = running.poll();
        assert!(ended.is_none(), "it ended with {ended:?}:\n{}", log.text());
        assert!(Instant::now() < end, "waited in vain for {part}:\n{}", log.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_outlasts_a_database_that_goes_away_in_its_midst_and_comes_back_slow() {
    let (storage, options) = storage().await;
    // Nobody would wait for this breaker to close by itself.
    let options = options.config(HASTY).config("[breaker]\nfailures = 1\nopen_for = \"10m\"");
    storage.lose("INSERT INTO root_secret", Loss::ReplyAfter(0));
    let dir = tempfile::tempdir().unwrap();
    let (mut running, log) = Daemon::launch(&options, dir.path(), Some(&new_kek(dir.path())));
    until(SOON, "it makes its root secret", || async { (storage.lost() == 1).then_some(()) }).await;
    storage.down();
    until_said(&mut running, &log, WAITS, 3).await;
    // More than a call waits for a connection.
    storage.delay_answers(Duration::from_millis(400));
    storage.up();
    until_said(&mut running, &log, WAITS, 8).await;
    storage.delay_answers(Duration::ZERO);
    until_said(&mut running, &log, "\"listening\"", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_in_the_midst_of_a_start_for_good_ends_it_in_its_time() {
    let (storage, options) = storage().await;
    let options = options.config(HASTY).config("[database]\nstart_timeout = \"4s\"");
    storage.lose("INSERT INTO root_secret", Loss::ReplyAfter(0));
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let (mut running, log) = Daemon::launch(&options, dir.path(), Some(&new_kek(dir.path())));
    until(SOON, "it makes its root secret", || async { (storage.lost() == 1).then_some(()) }).await;
    storage.down();
    let code = running.wait(SOON).code();
    assert_eq!(code, Some(69), "{}", log.text());
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}\n{}", began.elapsed(), log.text());
    assert!(log.text().contains(WAITS), "{}", log.text());
}

/// Loses what makes this statement durable, or the answer to it, at a start; what is there afterwards is what any
/// start leaves.
async fn lose(statement: &'static str, loss: Loss) {
    let (storage, options) = storage().await;
    let is_of_every_start = statement == "INSERT INTO event";
    let daemon = if is_of_every_start {
        // The first event of a second start is the start itself.
        let mut daemon = Daemon::start(options).await;
        assert_eq!(daemon.stop().code(), Some(0), "{}", daemon.log().text());
        storage.lose(statement, loss);
        daemon.start_again().await;
        daemon
    } else {
        storage.lose(statement, loss);
        Daemon::start(options).await
    };
    assert_eq!(storage.lost(), 1, "{statement} {loss:?}");
    assert!(daemon.log().text().contains(WAITS), "{statement} {loss:?}: {}", daemon.log().text());
    let started = daemon.admin().events("daemon.started").await.len();
    assert_eq!(started, 1 + usize::from(is_of_every_start), "{statement} {loss:?}");
    let keys = daemon.admin().call::<key::List>(&shared::admin::Empty {}).await.items;
    let active = keys.iter().filter(|key| key.state == State::Active).count();
    assert_eq!((active, keys.len()), (1, 2), "{statement} {loss:?}: {keys:?}");
    // A busy machine may be too slow for an answer in time.
    let registered = until(SOON, "a registration", || async {
        let answer = daemon.client().try_register(&json!({ "email": "ada@example.org", "password": PASSWORD })).await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    let tokens = Tokens::of(&registered);
    daemon.client().verify(&tokens.access).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_lost_at_any_step_of_a_start_is_made_again_and_none_twice() {
    const STEPS: [&str; 6] = [
        "INSERT INTO root_secret",
        "INSERT INTO audit_key",
        "INSERT INTO instance",
        "INSERT INTO signing_key",
        "UPDATE signing_key SET state = 'active'",
        "INSERT INTO event",
    ];
    for loss in [Loss::Request, Loss::ReplyAfter(0), Loss::Silence] {
        together(STEPS.len(), move |number| lose(STEPS[number], loss)).await;
    }
}
