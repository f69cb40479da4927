//! The restore guard (R13), from the backup to the login after it, as an operator does it.

use super::{back_up, empty_server, move_to, people, put};
use shared::{
    admin::{Empty, db::Status, mode},
    error::ErrorCode,
};
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;
use tests::{
    client::PASSWORD,
    daemon::Daemon,
    options::{Database, Options},
    postgres::Postgres,
    wait::until,
};

async fn sealed(daemon: &Daemon, beyond: i64) {
    let look = || async { (daemon.admin().call::<Status>(&Empty {}).await.audit_seq > beyond).then_some(()) };
    until(Duration::from_secs(60), "events are sealed", look).await;
}

/// Accepts a restored database and makes sure that it is as new.
async fn accept(daemon: &Daemon, old: &str) {
    let client = daemon.client();
    client.try_login("person0@example.org", PASSWORD).await.assert_refused(ErrorCode::StorageUnavailable);
    client.try_refresh(old).await.assert_refused(ErrorCode::StorageUnavailable);
    assert!(daemon.admin().call::<mode::Show>(&Empty {}).await.restore_pending);
    let unaccepted = daemon.ctl().run(&["session", "epoch-bump", "--yes"]).await;
    assert_ne!(unaccepted.code, Some(0), "{unaccepted:?}");
    let accepted = daemon.ctl().run(&["session", "epoch-bump", "--accept-restore", "--yes", "--reason", "drill"]).await;
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
    let again = daemon.ctl().run(&["session", "epoch-bump", "--yes"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let bumps = daemon.ctl().run(&["audit", "list", "--action", "mode.changed", "-o", "json"]).await.json();
    let accepts: Vec<_> = (0..2).map(|at| bumps["data"][at]["detail"]["accept_restore"].as_str()).collect();
    assert_eq!(accepts, [None, Some("yes")], "only the first said so: {bumps}");
    client.try_refresh(old).await.assert_refused(ErrorCode::TokenInvalid);
    let tokens = client.login("person0@example.org").await;
    client.refresh(&tokens).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_backup_is_locked_down_until_it_is_accepted_and_then_works() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let people = people(&daemon, 1).await;
    let file = back_up(&daemon).await;
    let before = daemon.admin().call::<Status>(&Empty {}).await.audit_seq;
    daemon.client().register("later@example.org").await;
    sealed(&daemon, before + 1).await;
    assert_eq!(daemon.stop().code(), Some(0));
    for name in ["authd.db-wal", "authd.db-shm"] {
        let _ = std::fs::remove_file(daemon.data_dir().join(name));
    }
    std::fs::copy(&file, daemon.data_dir().join("authd.db")).unwrap();
    start_locked_down(&mut daemon).await;
    accept(&daemon, &people[0].refresh).await;
    let unknown = daemon.client().try_login("later@example.org", PASSWORD).await;
    unknown.assert_refused(ErrorCode::InvalidCredentials);
    daemon.restart().await;
    daemon.client().login("person0@example.org").await;
}

/// It listens and is not ready: the harness waits for a start in vain.
async fn start_locked_down(daemon: &mut Daemon) {
    daemon.start_again_unready().await;
    daemon.client().ready().await.assert_status(503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_backup_of_postgres_comes_back_by_a_move_and_is_locked_down_the_same() {
    let mut daemon = Daemon::start(Options::postgres().await).await;
    let people = people(&daemon, 1).await;
    let file = back_up(&daemon).await;
    let before = daemon.admin().call::<Status>(&Empty {}).await.audit_seq;
    daemon.client().register("later@example.org").await;
    sealed(&daemon, before + 1).await;
    assert_eq!(daemon.stop().code(), Some(0));
    // A daemon on the backup, with the anchor: it knows as well that the database is older.
    let helper = Daemon::start_prepared_unready(Options::sqlite(), |to| {
        put(&daemon, &file, to);
        std::fs::copy(daemon.data_dir().join("audit.anchor"), to.join("audit.anchor")).unwrap();
    })
    .await;
    accept(&helper, &people[0].refresh).await;
    let target = empty_server().await;
    assert_eq!(move_to(&helper, &target).await.code, Some(0));
    drop(helper);
    daemon.start_again_on(target).await;
    daemon.client().login("person0@example.org").await;
    daemon.client().try_refresh(&people[0].refresh).await.assert_refused(ErrorCode::TokenInvalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anchor_that_cannot_be_read_locks_down_until_somebody_has_looked() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let people = people(&daemon, 1).await;
    assert_eq!(daemon.stop().code(), Some(0));
    std::fs::write(daemon.data_dir().join("audit.anchor"), "{").unwrap();
    start_locked_down(&mut daemon).await;
    daemon.until_logged("the anchor cannot be read").await;
    accept(&daemon, &people[0].refresh).await;
    daemon.restart().await;
    daemon.client().login("person0@example.org").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anchor_that_is_deleted_does_not_open_a_daemon_that_has_seen_a_newer_database() {
    let mut server = Postgres::start_own().await;
    let url = server.create_database().await;
    let daemon = Daemon::start(Options::on(Database::Postgres(url.clone()))).await;
    people(&daemon, 1).await;
    sealed(&daemon, 3).await;
    let mut older = PgConnection::connect(&url).await.unwrap();
    daemon.pause();
    for statement in [
        "ALTER TABLE event DISABLE TRIGGER ALL",
        "DELETE FROM event WHERE seq IS NULL OR seq > 1",
        "UPDATE chain_head SET seq = 1, hash = (SELECT event.hash FROM event WHERE event.seq = 1)",
    ] {
        older.execute(statement).await.unwrap();
    }
    std::fs::remove_file(daemon.data_dir().join("audit.anchor")).unwrap();
    server.kill();
    server.start_again();
    daemon.resume();
    daemon.until_not_ready().await;
    // The look at the anchor that comes next finds no file.
    daemon.until_logged("the database is older").await;
    let refused = daemon.client().try_login("person0@example.org", PASSWORD).await;
    refused.assert_refused(ErrorCode::StorageUnavailable);
}
