//! PostgreSQL that dies, hangs, or takes no writes.

use super::flows::People;
use authd::domain::failure::Condition;
use serde_json::json;
use shared::{
    admin::{Empty, daemon::Status, key, user},
    error::ErrorCode,
};
use std::time::Duration;
use tests::{
    client::PASSWORD,
    daemon::Daemon,
    options::{Database, Options},
    postgres::{Postgres, Writes},
    proxy::postgres::{Loss, PostgresProxy},
    wait::until,
};

async fn scene() -> (Postgres, Daemon, People) {
    let server = Postgres::start_own().await;
    let url = server.create_database().await;
    let daemon = Daemon::start(Options::on(Database::Postgres(url))).await;
    let people = People::of(&daemon).await;
    (server, daemon, people)
}

async fn assert_state(daemon: &Daemon, state: &str, exit: i32) {
    let status = daemon.admin().call::<Status>(&Empty {}).await;
    assert_eq!(status.database.state, state);
    assert_eq!(daemon.client().ready().await.status, if exit == 0 { 200 } else { 503 });
    let shown = daemon.ctl().run(&["status"]).await;
    assert_eq!(shown.code, Some(exit), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_is_away() {
    let (mut server, daemon, people) = scene().await;
    server.kill();
    people.walk(&daemon, Condition::DatabaseAway).await;
    assert_state(&daemon, "down", 3).await;
    server.start_again();
    people.assert_untouched(&daemon, Condition::DatabaseAway).await;
    assert_state(&daemon, "up", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_database_is_away() {
    let (server, daemon, people) = scene().await;
    server.pause();
    people.walk(&daemon, Condition::DatabaseAway).await;
    server.resume();
    people.assert_untouched(&daemon, Condition::DatabaseAway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_server_is_not_writable() {
    let (server, daemon, people) = scene().await;
    server.set_writes(Writes::Refused).await;
    people.walk(&daemon, Condition::DatabaseUnwritable).await;
    assert_state(&daemon, "read_only", 3).await;
    server.set_writes(Writes::Taken).await;
    people.assert_untouched(&daemon, Condition::DatabaseUnwritable).await;
    assert_state(&daemon, "up", 0).await;
}

/// Id of the key that signs, as the database has it.
async fn active(daemon: &Daemon) -> String {
    let keys = daemon.admin().call::<key::List>(&Empty {}).await.items;
    keys.iter().find(|key| key.state == key::State::Active).expect("a key signs").id.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_changed_without_hearing_of_it_is_done_with_its_event_or_not_at_all() {
    let url = Postgres::shared().await.create_database().await;
    let storage = PostgresProxy::in_front_of(&url).await;
    let daemon = Daemon::start(Options::on(Database::Postgres(storage.url()))).await;
    let (client, admin) = (daemon.client(), daemon.admin());
    let ada = client.register("ada@example.org").await;
    client.register("bob@example.org").await;
    for loss in [Loss::Request, Loss::ReplyAfter(0)] {
        let happens = usize::from(loss != Loss::Request);
        let before = active(&daemon).await;
        storage.lose("SET disabled_ms = COALESCE", loss);
        let answer = admin.post("/v1/user/disable", &json!({ "user": "bob@example.org" }).to_string()).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, ErrorCode::StorageUnavailable.as_str()), "{answer}");
        let bob = admin.call::<user::Show>(&user::ShowRequest { user: "bob@example.org".to_owned() }).await;
        assert_eq!(bob.state == user::State::Disabled, happens == 1, "{bob:?}");
        assert_eq!(admin.events("user.disabled").await.len(), happens);
        storage.lose("SET state = 'active'", loss);
        let answer = admin.post("/v1/key/rotate", &json!({ "force": true }).to_string()).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, ErrorCode::StorageUnavailable.as_str()), "{answer}");
        assert_eq!(active(&daemon).await != before, happens == 1);
        client.verify(&ada.access).await.assert_status(200);
    }
    assert_eq!(storage.lost(), 4);
    client.refresh(&ada).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_uses_up_nothing_of_what_an_address_may_register() {
    let mut server = Postgres::start_own().await;
    let url = server.create_database().await;
    let limit = "[limit.\"register.ip\"]\nrate = \"3/h\"\nburst = 3";
    let daemon = Daemon::start(Options::on(Database::Postgres(url)).config(limit)).await;
    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    server.kill();
    for _ in 0..6 {
        daemon.client().try_register(&body).await.assert_status(503);
    }
    server.start_again();
    until(Duration::from_secs(60), "the daemon is ready", || async {
        (daemon.client().ready().await.status == 200).then_some(())
    })
    .await;
    daemon.client().try_register(&body).await.assert_status(201);
}
