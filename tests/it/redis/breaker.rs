//! Circuit breakers as operators see them, and what they do for callers.

use super::{assert_serves, registered, until_redis_is};
use shared::{
    admin::{
        Empty,
        breaker::{Breaker, List, State},
        daemon::Status,
    },
    error::ErrorCode,
};
use std::time::Duration;
use tests::{
    daemon::Daemon,
    options::{Database, Options},
    postgres::Postgres,
    redis::Redis,
    wait::{timed, until},
};

async fn breaker(daemon: &Daemon, name: &str) -> Breaker {
    let all = daemon.reader().call::<List>(&Empty {}).await.items;
    all.into_iter().find(|breaker| breaker.name == name).unwrap()
}

async fn run(daemon: &Daemon, args: &[&str]) -> String {
    let ran = daemon.ctl().run(args).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout
}

on_both! {
    async fn an_operator_opens_the_breaker_of_the_database_and_closes_it_again(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let tokens = registered(&daemon, "ada@example.org").await;
        run(&daemon, &["breaker", "open", "database", "--dry-run"]).await;
        assert_eq!(breaker(&daemon, "database").await.state, State::Closed);
        let said = run(&daemon, &["breaker", "open", "database", "--yes", "--reason", "drill"]).await;
        assert!(said.contains("held open"), "{said}");
        let held = breaker(&daemon, "database").await;
        assert_eq!((held.state, held.held), (State::Open, true));
        let (refused, took) = timed(client.try_refresh(&tokens.refresh)).await;
        refused.assert_refused(ErrorCode::StorageUnavailable);
        assert!(took < Duration::from_millis(400), "{took:?}");
        client.verify(&tokens.access).await.assert_status(200);
        assert_eq!(client.ready().await.status, 503, "a held breaker is not healed by asking");
        let status = daemon.admin().call::<Status>(&Empty {}).await;
        let part = status.degraded.iter().find(|part| part.part == "breaker database").unwrap();
        assert!(part.effect.contains("authctl breaker close database"), "{part:?}");
        run(&daemon, &["breaker", "close", "database"]).await;
        assert_eq!(breaker(&daemon, "database").await.state, State::Closed);
        daemon.until_ready().await;
        client.refresh(&tokens).await;
        for (action, how) in [("breaker.opened", "held"), ("breaker.closed", "automatic")] {
            let events = daemon.admin().events_about(action, "database").await;
            assert_eq!(events.len(), 1, "{action}: {events:?}");
            assert_eq!(events[0].detail["how"], how);
        }
        assert_eq!(daemon.ctl().run(&["breaker", "close", "nonsense"]).await.code, Some(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_refuses_at_once_and_closes_when_the_database_is_back() {
    let mut server = Postgres::start_own().await;
    let url = server.create_database().await;
    let daemon = Daemon::start(Options::on(Database::Postgres(url))).await;
    let client = daemon.client();
    let tokens = registered(&daemon, "ada@example.org").await;
    server.kill();
    let opened = until(Duration::from_secs(60), "the breaker opens", || async {
        client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::StorageUnavailable);
        Some(breaker(&daemon, "database").await).filter(|breaker| breaker.state != State::Closed)
    })
    .await;
    assert!(opened.since.is_some() && !opened.held, "{opened:?}");
    for _ in 0..10 {
        let (refused, took) = timed(client.try_refresh(&tokens.refresh)).await;
        refused.assert_refused(ErrorCode::StorageUnavailable);
        assert!(took < Duration::from_millis(300), "{took:?}");
    }
    tokio::task::block_in_place(|| server.start_again());
    let (_, took) = timed(until(Duration::from_secs(5), "a refresh", || async {
        (client.try_refresh(&tokens.refresh).await.status == 200).then_some(())
    }))
    .await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    for action in ["breaker.opened", "breaker.closed"] {
        until(Duration::from_secs(5), action, || async {
            let events = daemon.admin().events_about(action, "database").await;
            (!events.is_empty()).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_breaker_of_redis_opens_by_itself_and_closes_when_redis_is_back() {
    let redis = Redis::start().await;
    let daemon = Daemon::start(Options::sqlite().config(&redis.quick())).await;
    registered(&daemon, "ada@example.org").await;
    until_redis_is(&daemon, "up").await;
    redis.pause();
    until(Duration::from_secs(60), "the breaker opens", || async {
        assert_serves(&daemon, "ada@example.org").await;
        (breaker(&daemon, "redis").await.state == State::Open).then_some(())
    })
    .await;
    redis.resume();
    until(Duration::from_secs(5), "the breaker closes", || async {
        (breaker(&daemon, "redis").await.state == State::Closed).then_some(())
    })
    .await;
    until_redis_is(&daemon, "up").await;
    assert_serves(&daemon, "ada@example.org").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_opens_after_as_many_failures_and_for_as_long_as_configured() {
    let mut server = Postgres::start_own().await;
    let url = server.create_database().await;
    let config = "[breaker]\nfailures = 12\nwindow = \"1h\"\nopen_for = \"1h\"\n";
    let daemon = Daemon::start(Options::on(Database::Postgres(url)).config(config)).await;
    let tokens = registered(&daemon, "ada@example.org").await;
    server.kill();
    let most = std::cell::Cell::new(0);
    let opened = until(Duration::from_secs(60), "the breaker opens", || async {
        daemon.client().try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::StorageUnavailable);
        let now = breaker(&daemon, "database").await;
        if now.state == State::Closed {
            most.set(now.failures.max(most.get()));
        }
        Some(now).filter(|now| now.state == State::Open)
    })
    .await;
    assert!((6..12).contains(&most.get()), "closed after {} failures", most.get());
    let retry_in = opened.retry_in.expect("it says when").0;
    assert!(retry_in > Duration::from_secs(3_500), "{opened:?}");
}
