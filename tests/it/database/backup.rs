//! Backups: complete or not there, readable by their owner alone, and checked without a database of one's own.

use super::{back_up, backup_file, people, put, verify};
use shared::{
    admin::{
        Empty,
        db::{Backup, BackupRequest, Status},
    },
    error::ErrorCode,
};
use std::{
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::Path,
    time::Duration,
};
use tests::{
    daemon::Daemon,
    disk::SmallDisk,
    options::{Database, Options},
    wait::until,
};

on_both! {
    async fn a_backup_is_a_database_on_which_every_session_goes_on(options) {
        let daemon = Daemon::start(options).await;
        let people = people(&daemon, 3).await;
        let second = daemon.client().refresh(&people[0]).await;
        let file = back_up(&daemon).await;
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let found = verify(&daemon, &file).await;
        assert_eq!(found.code, Some(0), "{found:?}");
        assert!(found.json()["data"]["audit_seq"].as_i64().unwrap() > 0, "{found:?}");
        let restored = Daemon::start_prepared(Options::sqlite(), |to| put(&daemon, &file, to)).await;
        for tokens in [&second, &people[1], &people[2]] {
            restored.client().refresh(tokens).await;
        }
        restored.client().try_refresh(&people[0].refresh).await.assert_refused(ErrorCode::TokenInvalid);
        restored.client().login("person1@example.org").await;
    }
}

on_both! {
    async fn a_backup_is_recorded_and_names_the_key_that_it_needs_and_does_not_hold(options) {
        let daemon = Daemon::start(options).await;
        let before = daemon.admin().call::<Status>(&Empty {}).await;
        assert_eq!(before.backed_up_at, None);
        let file = daemon.data_dir().join("backup");
        let ran = daemon.ctl().run(&["db", "backup", &file.to_string_lossy(), "--ticket", "OPS-7"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let kek_id = before.kek_ids[0].clone();
        assert!(ran.stderr.contains(&kek_id), "{ran:?}");
        let kek = std::fs::read(daemon.data_dir().join("kek")).unwrap();
        let copy = std::fs::read(&file).unwrap();
        assert!(!copy.windows(kek.len()).any(|part| part == kek), "the backup holds the key-encryption key");
        let events = daemon.admin().events("database.backed_up").await;
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0].detail["ticket"], "OPS-7");
        assert!(daemon.admin().call::<Status>(&Empty {}).await.backed_up_at.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_exists_is_not_overwritten_and_a_dry_run_makes_none() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let file = backup_file(&daemon);
    let name = file.to_string_lossy().into_owned();
    let dry = daemon.ctl().run(&["db", "backup", &name, "--dry-run"]).await;
    assert!(dry.code == Some(0) && !file.exists(), "{dry:?}");
    std::fs::write(&file, "mine").unwrap();
    let refused = daemon.ctl().run(&["db", "backup", &name]).await;
    assert_eq!(refused.code, Some(11), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert!(daemon.admin().events("database.backed_up").await.is_empty());
    let reader = daemon.reader().try_call::<Backup>(&BackupRequest::default()).await;
    reader.assert_status(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_leaves_nothing_half_behind() {
    let disk = SmallDisk::mount(4_096);
    let daemon = Daemon::start(Options::sqlite()).await;
    people(&daemon, 2).await;
    disk.fill();
    // The operator's disk.
    let file = disk.path().join("backup");
    let ran = daemon.ctl().run(&["db", "backup", &file.to_string_lossy()]).await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_eq!(names(disk.path()), ["ballast"]);
    drop(daemon);
    disk.free();
    // The daemon's disk.
    let daemon = Daemon::start_on(&disk, Options::sqlite()).await;
    disk.fill();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("backup");
    let ran = daemon.ctl().run(&["db", "backup", &file.to_string_lossy()]).await;
    assert_eq!(ran.code, Some(75), "{ran:?}");
    assert!(names(elsewhere.path()).is_empty());
    assert!(!names(daemon.data_dir()).iter().any(|name| name.contains("partial")));
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// A client of the backup that has read its first bytes, and no more.
fn stalled(daemon: &Daemon) -> UnixStream {
    let mut stream = UnixStream::connect(daemon.admin_socket()).unwrap();
    let head =
        "POST /v1/db/backup HTTP/1.1\r\nhost: authd\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    stream
}

on_both! {
    async fn a_daemon_that_is_killed_while_it_makes_a_backup_makes_the_next_one(options) {
        let mut daemon = Daemon::start(options).await;
        people(&daemon, 2).await;
        let _client = stalled(&daemon);
        // What a kill in the middle of the copy leaves.
        std::fs::write(daemon.data_dir().join("backup.partial"), "half of it").unwrap();
        daemon.crash().await;
        assert!(!backup_file(&daemon).exists());
        let file = back_up(&daemon).await;
        assert_eq!(verify(&daemon, &file).await.code, Some(0));
        assert!(!daemon.data_dir().join("backup.partial").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_stops_the_work_and_the_next_one_gets_a_backup() {
    let daemon = Daemon::start(Options::sqlite()).await;
    people(&daemon, 1).await;
    drop(stalled(&daemon));
    let next = || async {
        let file = backup_file(&daemon);
        let ran = daemon.ctl().run(&["db", "backup", &file.to_string_lossy()]).await;
        (ran.code == Some(0)).then_some(file)
    };
    let file = until(Duration::from_secs(60), "the next backup is made", next).await;
    assert_eq!(verify(&daemon, &file).await.code, Some(0));
}

/// Runs SQL on a backup, with its guards taken away.
async fn tamper(file: &Path, statements: &[&'static str]) {
    use sqlx::{Connection, Executor, SqliteConnection};
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let triggers: Vec<(String,)> =
        sqlx::query_as("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetch_all(&mut conn).await.unwrap();
    for (name,) in triggers {
        conn.execute(sqlx::AssertSqlSafe(format!("DROP TRIGGER {name}"))).await.unwrap();
    }
    conn.execute("PRAGMA foreign_keys = OFF").await.unwrap();
    for statement in statements {
        conn.execute(*statement).await.unwrap();
    }
    conn.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_was_changed_or_damaged_is_found_out() {
    let daemon = Daemon::start(Options::sqlite()).await;
    people(&daemon, 2).await;
    let sealed = || async { (daemon.admin().call::<Status>(&Empty {}).await.audit_seq >= 6).then_some(()) };
    until(Duration::from_secs(60), "events are sealed", sealed).await;
    let file = back_up(&daemon).await;
    for (statements, word) in [
        (&["UPDATE event SET reason = 'nothing' WHERE seq = 2"][..], "event"),
        (&["DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)"], "chain"),
        (&["UPDATE chain_head SET seq = seq + 1"], "chain"),
        (&["DELETE FROM account"], "account"),
        (&["DELETE FROM root_secret", "DELETE FROM signing_key"], "key-encryption key"),
        (&["UPDATE root_secret SET kek_id = 'kek_0000000000000000'"], "key-encryption key"),
        (&["INSERT INTO _sqlx_migrations VALUES (999, 'later', 0, 1, x'00', 0)"], "newer"),
    ] {
        let copy = daemon.data_dir().join("copy");
        std::fs::copy(&file, &copy).unwrap();
        tamper(&copy, statements).await;
        let found = verify(&daemon, &copy).await;
        assert_eq!(found.code, Some(14), "{statements:?}: {found:?}");
        let document = found.stdout.lines().next().is_some().then(|| found.stdout.clone()).unwrap();
        assert!(document.contains(word), "{statements:?}: {found:?}");
    }
    let length = std::fs::metadata(&file).unwrap().len();
    let open = || std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    let mut damaged = open();
    damaged.seek(SeekFrom::Start(length / 2)).unwrap();
    damaged.write_all(&[0x5a; 8_192]).unwrap();
    assert_eq!(verify(&daemon, &file).await.code, Some(14));
    open().set_len(length / 2).unwrap();
    assert_eq!(verify(&daemon, &file).await.code, Some(14));
    std::fs::write(&file, "no database").unwrap();
    assert_eq!(verify(&daemon, &file).await.code, Some(14));
    assert_eq!(verify(&daemon, Path::new("/nonexistent")).await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_tells_where_it_is_without_its_password() {
    let options = Options::postgres().await;
    let Database::Postgres(url) = &options.database else { panic!("PostgreSQL") };
    let secret = url.replace("authd@", "authd:s3cr3t-w0rd@");
    let daemon = Daemon::start(Options::on(Database::Postgres(secret))).await;
    let ran = daemon.ctl().run(&["-o", "json", "db", "status"]).await;
    let data = &ran.json()["data"];
    assert!(data["place"].as_str().unwrap().starts_with("postgres://authd@127.0.0.1:"), "{ran:?}");
    assert!(!ran.stdout.contains("s3cr3t"), "{ran:?}");
    assert_eq!(data["schema"], data["program_schema"]);
    assert!(data["bytes"].as_u64().unwrap() > 0 && data["connections"].as_u64().unwrap() > 0, "{ran:?}");
    let migrate = daemon.ctl().run(&["db", "migrate"]).await;
    assert!(migrate.code == Some(0) && migrate.stdout.contains("nothing to do"), "{migrate:?}");
}
