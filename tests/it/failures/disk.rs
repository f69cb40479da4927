//! SQLite on a disk that is full, and an audit log that takes no events.

use super::flows::People;
use authd::domain::failure::Condition;
use sqlx::{ConnectOptions, Executor, sqlite::SqliteConnectOptions};
use tests::{daemon::Daemon, disk::SmallDisk, options::Options};

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
    let database = SqliteConnectOptions::new().filename(daemon.data_dir().join("authd.db"));
    let mut database = database.connect().await.unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'full'); END";
    database.execute(refuse).await.unwrap();
    people.walk(&daemon, Condition::DatabaseUnwritable).await;
    database.execute("DROP TRIGGER refuse").await.unwrap();
    people.assert_untouched(&daemon, Condition::DatabaseUnwritable).await;
}
