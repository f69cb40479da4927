//! PostgreSQL that dies, hangs, or takes no writes.

use super::flows::People;
use authd::domain::failure::Condition;
use shared::admin::{Empty, daemon::Status};
use tests::{
    daemon::Daemon,
    options::{Database, Options},
    postgres::{Postgres, Writes},
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
