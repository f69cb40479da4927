//! Refusals while the database is away: answered as what they are, kept on disk, in the audit once it is back.

use authd::{
    domain::audit::{Action, Actor, Event, EventOutcome, Spool, StoredEvent},
    spool::FileSpool,
};
use serde_json::json;
use shared::{admin::audit, error::ErrorCode, id::EventId};
use sqlx::{ConnectOptions, Executor, sqlite::SqliteConnectOptions};
use std::{collections::BTreeSet, time::Duration};
use tests::{
    client::PASSWORD,
    daemon::Daemon,
    disk::SmallDisk,
    options::{Database, Options},
    postgres::Postgres,
    wait::{timed, until},
    wire::Answer,
};

const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: &str = r#"
[server]
trusted_proxies = ["127.0.0.0/8"]

[limit."login.ip"]
rate = "1/h"
burst = 1
"#;

struct Scene {
    server: Postgres,
    daemon: Daemon,
}

async fn scene() -> Scene {
    let server = Postgres::start_own().await;
    let url = server.create_database().await;
    let daemon = Daemon::start(Options::on(Database::Postgres(url)).config(CONFIG)).await;
    Scene { server, daemon }
}

impl Scene {
    /// Presents a token that no daemon ever made, from a network of its own.
    async fn present_nonsense(&self, network: u8) -> Answer {
        let body = json!({ "refresh_token": format!("art1_{}", "x".repeat(100)) });
        let call = self.daemon.client().post("/api/auth/refresh", &body);
        call.header("x-forwarded-for", format!("198.51.{network}.7")).send().await
    }

    async fn refused_refreshes(&self) -> Vec<audit::Event> {
        let events = self.daemon.admin().events("session.refreshed").await;
        events.into_iter().filter(|event| event.reason.as_deref() == Some("unknown_token")).collect()
    }

    async fn until_recorded(&self, count: usize) -> Vec<audit::Event> {
        until(PATIENCE, "the spool is merged", || async {
            let answer = self.daemon.admin().post("/v1/audit/list", "{}").await;
            if answer.status != 200 {
                return None;
            }
            let events = self.refused_refreshes().await;
            (events.len() >= count).then_some(events)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_needs_no_storage_is_no_503_while_storage_is_away_and_is_in_the_audit_later() {
    let mut scene = scene().await;
    scene.server.kill();
    let login = json!({ "email": "ada@example.org", "password": PASSWORD });
    scene.daemon.client().post("/api/auth/login", &login).send().await.assert_refused(ErrorCode::StorageUnavailable);
    scene.daemon.client().post("/api/auth/login", &login).send().await.assert_refused(ErrorCode::RateLimited);
    let (answer, took) = timed(scene.present_nonsense(1)).await;
    answer.assert_refused(ErrorCode::TokenInvalid);
    assert!(took < Duration::from_millis(400), "nobody is kept waiting for a database known to be away: {took:?}");
    let refused = scene.daemon.reader().post("/v1/session/revoke", "{}").await;
    assert_eq!(refused.status, 403, "{refused}");

    scene.server.start_again();
    let events = scene.until_recorded(1).await;
    assert_eq!(events[0].outcome, audit::Outcome::Denied);
    assert_eq!(events[0].network.as_deref(), Some("198.51.1.0/24"));
    let admin = scene.daemon.admin();
    assert_eq!(admin.events("limit.exceeded").await.len(), 1);
    assert_eq!(admin.events("admin.refused").await.len(), 1);
    until(PATIENCE, "the spool is empty", || async {
        let page = scene.daemon.reader().get("/metrics").await;
        String::from_utf8_lossy(&page.body).lines().any(|line| line == "authd_spool_events 0").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_while_storage_is_away_loses_no_refusal_that_it_had_answered() {
    let mut scene = scene().await;
    scene.server.kill();
    let mut answered = BTreeSet::new();
    for network in 1..=40 {
        if scene.present_nonsense(network).await.status == 401 {
            answered.insert(format!("198.51.{network}.0/24"));
        }
    }
    scene.daemon.kill();
    assert_eq!(answered.len(), 40);
    // What a crash may leave behind a line that was acknowledged.
    let spool = scene.daemon.data_dir().join("denials.spool");
    let mut bytes = std::fs::read(&spool).unwrap();
    bytes.extend_from_within(..30);
    std::fs::write(&spool, bytes).unwrap();

    scene.server.start_again();
    scene.daemon.start_again().await;
    let events = scene.until_recorded(answered.len()).await;
    let recorded: Vec<String> = events.into_iter().filter_map(|event| event.network).collect();
    assert_eq!(recorded.len(), answered.len(), "none twice");
    assert_eq!(recorded.into_iter().collect::<BTreeSet<_>>(), answered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_does_not_take_stays_in_the_spool_until_it_does() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let database = SqliteConnectOptions::new().filename(daemon.data_dir().join("authd.db"));
    let mut database = database.connect().await.unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'full'); END";
    database.execute(refuse).await.unwrap();
    daemon.client().try_refresh("art1_nonsense").await.assert_refused(ErrorCode::TokenInvalid);
    let merging = daemon.data_dir().join("denials.spool.merging");
    until(PATIENCE, "the spool is to be merged", || async { merging.exists().then_some(()) }).await;
    // The log is offered it again and again.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(merging.exists());
    database.execute("DROP TRIGGER refuse").await.unwrap();
    until(PATIENCE, "the refusal is recorded", || async {
        let events = daemon.admin().events("session.refreshed").await;
        (!events.is_empty()).then_some(())
    })
    .await;
    until(PATIENCE, "the spool is empty", || async { (!merging.exists()).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_for_which_the_spool_has_no_room_are_counted_and_their_counts_are_written() {
    let mut scene = scene().await;
    scene.daemon.stop();
    // Lines that do not read back take room like any other.
    std::fs::write(scene.daemon.data_dir().join("denials.spool"), "x\n".repeat(4 << 20)).unwrap();
    scene.daemon.start_again().await;
    scene.server.kill();
    for network in [1, 2, 1, 2, 3] {
        scene.present_nonsense(network).await.assert_refused(ErrorCode::TokenInvalid);
    }
    scene.server.start_again();
    scene.daemon.until_ready().await;
    // A stop writes what is counted so far.
    scene.daemon.restart().await;
    let events = scene.until_recorded(3).await;
    let mut counts: Vec<_> =
        events.iter().map(|event| (event.network.as_deref(), event.detail["count"].as_str())).collect();
    counts.sort_by_key(|(network, _)| *network);
    let expected = [("198.51.1.0/24", "2"), ("198.51.2.0/24", "2"), ("198.51.3.0/24", "1")];
    assert_eq!(counts, expected.map(|(network, count)| (Some(network), Some(count))), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_while_storage_is_away_is_counted_and_its_count_is_written() {
    let mut scene = scene().await;
    scene.server.kill();
    for _ in 0..30 {
        scene.present_nonsense(9).await.assert_refused(ErrorCode::TokenInvalid);
    }
    scene.server.start_again();
    scene.until_recorded(1).await;
    // A stop writes what is counted so far.
    scene.daemon.restart().await;
    let events = scene.until_recorded(2).await;
    let counts: Vec<Option<&str>> = events.iter().map(|event| event.detail["count"].as_str()).collect();
    assert_eq!(counts, [Some("29"), None]);
}

fn kept(number: u8) -> StoredEvent {
    StoredEvent::from(&Event {
        id: EventId::new(i64::from(number), [number; 10]),
        at_ms: i64::from(number),
        action: Action::LoginDenied,
        outcome: EventOutcome::Denied,
        reason: None,
        actor: Actor::Anonymous,
        target: None,
        network: None,
        device: None,
        request_id: None,
        detail: Vec::new(),
    })
}

#[tokio::test]
async fn a_disk_without_room_for_one_more_file_costs_no_refusal_that_was_kept() {
    let disk = SmallDisk::of_few_files(3);
    let spool = FileSpool::open(&disk.path().join("denials.spool"), 1 << 20).unwrap();
    spool.keep(vec![kept(1)]).await.unwrap();
    let other = disk.path().join("other");
    std::fs::write(&other, "").unwrap();
    assert!(spool.take().await.is_err(), "there is no room for a new file beside the one set aside");
    spool.keep(vec![kept(2)]).await.unwrap();
    std::fs::remove_file(other).unwrap();
    assert_eq!(spool.take().await.unwrap(), [kept(1), kept(2)]);
    spool.keep(vec![kept(3)]).await.unwrap();
    spool.merged().await.unwrap();
    assert_eq!((spool.depth(), spool.take().await.unwrap()), (1, vec![kept(3)]));
}
