//! SQLite on a disk that is full, or locked by somebody else, an audit log that takes no events; PostgreSQL on a disk
//! that is full.

use super::flows::People;
use authd::domain::failure::Condition;
use serde_json::json;
use shared::error::ErrorCode;
use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use std::time::Duration;
use tests::{
    client::PASSWORD,
    daemon::Daemon,
    disk::SmallDisk,
    options::{Database, Options},
    postgres::Postgres,
    wait::until,
};

/// Another program's connection to the daemon's database.
async fn other_program(daemon: &Daemon) -> SqliteConnection {
    SqliteConnectOptions::new().filename(daemon.data_dir().join("authd.db")).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_not_writable() {
    let disk = SmallDisk::mount(8 * 1024);
    let daemon = Daemon::start_on(&disk, Options::sqlite()).await;
    let people = People::of(&daemon).await;
    disk.fill();
    // What the log of SQLite has allocated already is used up first.
    daemon.until_not_ready().await;
    disk.fill();
    people.walk(&daemon, Condition::DatabaseUnwritable).await;
    disk.free();
    people.assert_untouched(&daemon, Condition::DatabaseUnwritable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_log_that_takes_nothing_closes_changes() {
    let daemon = Daemon::start(Options::sqlite().config("audit.refresh = \"all\"")).await;
    let people = People::of(&daemon).await;
    let mut database = other_program(&daemon).await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'full'); END";
    database.execute(refuse).await.unwrap();
    people.walk(&daemon, Condition::DatabaseUnwritable).await;
    database.execute("DROP TRIGGER refuse").await.unwrap();
    people.assert_untouched(&daemon, Condition::DatabaseUnwritable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_program_has_locked_is_not_writable() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let people = People::of(&daemon).await;
    let mut other = other_program(&daemon).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    people.walk(&daemon, Condition::DatabaseUnwritable).await;
    other.execute("ROLLBACK").await.unwrap();
    people.assert_untouched(&daemon, Condition::DatabaseUnwritable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_for_data_is_an_outage_of_changes_and_heals_by_itself() {
    let disk = SmallDisk::mount(96 * 1024);
    let server = Postgres::start_on(&disk).await;
    let url = server.create_database().await;
    let daemon = Daemon::start(Options::on(Database::Postgres(url))).await;
    let client = daemon.client();
    let ada = client.register("ada@example.org").await;
    disk.fill();
    let register = |number: usize| json!({ "email": format!("user{number}@example.org"), "password": PASSWORD });
    // What the tables have taken already is used up first.
    let mut made = 0;
    loop {
        let answer = client.try_register(&register(made)).await;
        if answer.status != 201 {
            answer.assert_refused(ErrorCode::StorageUnavailable);
            break;
        }
        made += 1;
        assert!(made < 900, "there is still room");
    }
    daemon.until_not_ready().await;
    client.verify(&ada.access).await.assert_status(200);
    client.jwks().await.assert_status(200);
    client.profile(&ada.access).await.assert_status(200);
    client.sessions(&ada.access).await.assert_status(200);
    let refresh = client.try_refresh(&ada.refresh).await;
    assert!(matches!(refresh.status, 200 | 503), "{refresh}");
    disk.free();
    daemon.until_ready().await;
    until(Duration::from_secs(5), "an account", || async {
        (client.try_register(&register(made)).await.status == 201).then_some(())
    })
    .await;
    client.refresh(&ada).await;
    for number in 0..=made {
        client.login(&format!("user{number}@example.org")).await;
    }
    assert_eq!(daemon.admin().events("user.created").await.len(), made + 2);
}
