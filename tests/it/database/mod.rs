//! The database as a whole: backups, their check, the move to PostgreSQL, and restores.

mod backup;
mod restore;
mod rows;
mod transfer;

use std::path::{Path, PathBuf};
use tests::{
    client::Tokens,
    ctl::Ran,
    daemon::{Daemon, Log},
    options::{Database, Options},
    postgres::Postgres,
};

/// People with a session each.
async fn people(daemon: &Daemon, count: usize) -> Vec<Tokens> {
    let mut people = Vec::with_capacity(count);
    for number in 0..count {
        people.push(daemon.client().register(&format!("person{number}@example.org")).await);
    }
    people
}

fn backup_file(daemon: &Daemon) -> PathBuf {
    daemon.data_dir().join("backup")
}

/// Makes a backup of the daemon's database.
async fn back_up(daemon: &Daemon) -> PathBuf {
    let file = backup_file(daemon);
    let ran = daemon.ctl().run(&["db", "backup", &file.to_string_lossy(), "--reason", "before the upgrade"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    file
}

/// What a restored data directory holds: the backup as the database, the key-encryption key, and the anchor.
fn put(from: &Daemon, file: &Path, to: &Path) {
    std::fs::copy(file, to.join("authd.db")).unwrap();
    std::fs::copy(from.data_dir().join("kek"), to.join("kek")).unwrap();
}

/// Whether the file is a sound backup: `authd` checks its structure and walks the audit chain.
async fn verify(daemon: &Daemon, file: &Path) -> Ran {
    daemon.ctl().run(&["-o", "json", "db", "verify-backup", &file.to_string_lossy()]).await
}

pub(crate) async fn empty_server() -> Database {
    Database::Postgres(Postgres::shared().await.create_database().await)
}

pub(crate) fn url(database: &Database) -> &str {
    let Database::Postgres(url) = database else { panic!("PostgreSQL") };
    url
}

/// Moves the daemon's database, the URL in a file.
async fn move_to(daemon: &Daemon, to: &Database) -> Ran {
    let file = daemon.data_dir().join("target");
    std::fs::write(&file, url(to)).unwrap();
    daemon.ctl().run(&["-o", "json", "db", "move", "--to-file", &file.to_string_lossy(), "--yes"]).await
}

/// What a daemon says that must refuse to start on this directory.
fn refused(options: &Options, directory: &Path) -> (Option<i32>, String) {
    let (mut running, log) = Daemon::launch(options, directory, None);
    let code = running.wait(std::time::Duration::from_secs(60)).code();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(2);
    // What collects its words lets go of them when it has all.
    let is_read = || !matches!(&log, Log::Memory(lines) if std::sync::Arc::strong_count(lines) > 1);
    while !is_read() && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    (code, log.text())
}
