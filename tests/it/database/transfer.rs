//! `db move`: everything arrives and goes on, or nothing has happened.

use super::{back_up, empty_server, move_to, people, refused, url, verify};
use serde_json::json;
use shared::{
    admin::{Empty, daemon, db::Status, mode},
    error::ErrorCode,
};
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;
use tests::{
    client::{PASSWORD, Tokens},
    daemon::Daemon,
    options::{Database, Options},
    postgres::Postgres,
    wait::until,
};

async fn connect(database: &Database) -> PgConnection {
    PgConnection::connect(url(database)).await.unwrap()
}

async fn tables(database: &Database) -> i64 {
    let count = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    sqlx::query_scalar(count).fetch_one(&mut connect(database).await).await.unwrap()
}

/// What the daemon does while, and after, its database is moved.
async fn assert_read_only(daemon: &Daemon, ada: &Tokens) {
    let client = daemon.client();
    client.try_refresh(&ada.refresh).await.assert_refused(ErrorCode::ReadOnly);
    client.try_login("person0@example.org", PASSWORD).await.assert_refused(ErrorCode::ReadOnly);
    client.verify(&ada.access).await.assert_status(200);
    client.profile(&ada.access).await.assert_status(200);
    client.ready().await.assert_status(200);
    assert_eq!(daemon.admin().call::<mode::Show>(&Empty {}).await.mode, mode::Mode::ReadOnly);
    assert_eq!(daemon.ctl().run(&["mode", "set", "normal"]).await.code, Some(75));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_move_every_session_goes_on_and_the_old_database_is_given_up() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let mut people = people(&daemon, 4).await;
    people[0] = daemon.client().refresh(&people[0]).await;
    daemon.client().logout(&people[3].refresh).await.assert_status(204);
    let target = empty_server().await;
    let ran = move_to(&daemon, &target).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let data = &ran.json()["data"];
    assert!(data["configuration"].as_str().unwrap().contains("encryption_key"), "{ran:?}");
    let sessions = data["tables"].as_array().unwrap().iter().find(|table| table["name"] == "session").unwrap();
    assert_eq!(sessions["rows"], 4);
    assert_read_only(&daemon, &people[0]).await;
    let status = daemon.admin().call::<Status>(&Empty {}).await;
    assert_eq!((status.writes.as_str(), status.moved_to.is_some()), ("moved", true));
    assert!(daemon.admin().call::<daemon::Status>(&Empty {}).await.problems.iter().any(|line| line.contains("moved")));
    assert_eq!(daemon.stop().code(), Some(0));
    let (code, said) = refused(&Options::sqlite(), daemon.data_dir());
    assert_eq!(code, Some(78), "{said}");
    for word in ["[database]", "encryption_key", "undo-move"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    daemon.start_again_on(target).await;
    for tokens in &people[..3] {
        daemon.client().refresh(tokens).await;
    }
    daemon.client().try_refresh(&people[3].refresh).await.assert_refused(ErrorCode::TokenInvalid);
    let moved = daemon.admin().events("database.moved").await;
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert_eq!(daemon.admin().events("database.move_begun").await.len(), 1);
    let file = back_up(&daemon).await;
    let found = verify(&daemon, &file).await;
    assert_eq!(found.code, Some(0), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_killed_leaves_both_sides_as_they_were_and_can_be_run_again() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let people = people(&daemon, 2).await;
    let target = empty_server().await;
    // A made schema whose sessions somebody holds: the move stands still in its middle.
    drop(Daemon::start(Options::on(target.clone())).await);
    let mut holder = connect(&target).await;
    holder.execute("BEGIN; DROP SCHEMA public CASCADE; CREATE SCHEMA public; COMMIT").await.unwrap();
    migrate(&target).await;
    holder.execute("BEGIN; LOCK TABLE session IN ACCESS SHARE MODE").await.unwrap();
    let (ctl, file) = (daemon.ctl(), daemon.data_dir().join("target"));
    std::fs::write(&file, url(&target)).unwrap();
    let file = file.to_string_lossy().into_owned();
    let moving = tokio::spawn(async move { ctl.run(&["db", "move", "--to-file", &file, "--yes"]).await });
    let held = || async { (daemon.admin().call::<Status>(&Empty {}).await.writes == "held").then_some(()) };
    until(Duration::from_secs(60), "writes are put off", held).await;
    assert_read_only(&daemon, &people[0]).await;
    daemon.crash().await;
    let ran = moving.await.unwrap();
    assert_eq!(ran.code, Some(75), "{ran:?}");
    holder.execute("COMMIT").await.unwrap();
    let first = daemon.client().refresh(&people[0]).await;
    let empty: i64 = sqlx::query_scalar("SELECT count(*) FROM account").fetch_one(&mut holder).await.unwrap();
    assert_eq!(empty, 0);
    let ran = move_to(&daemon, &target).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    daemon.stop();
    daemon.start_again_on(target).await;
    daemon.client().refresh(&first).await;
    daemon.client().refresh(&people[1]).await;
}

/// Makes the schema and nothing else.
async fn migrate(database: &Database) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(tests::process::program("authd"));
    command.env_clear().arg("--data-dir").arg(directory.path()).arg("migrate");
    let kek = tests::daemon::new_kek(directory.path());
    command.env("AUTHD_DATABASE__URL", url(database)).env("AUTHD_KEY__ENCRYPTION_KEY", kek);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_during_a_move_leaves_this_database_in_use() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let people = people(&daemon, 1).await;
    let mut server = Postgres::start_own().await;
    let target = Database::Postgres(server.create_database().await);
    migrate(&target).await;
    let mut holder = connect(&target).await;
    holder.execute("BEGIN; LOCK TABLE session IN ACCESS SHARE MODE").await.unwrap();
    let (moved, ()) = tokio::join!(move_to(&daemon, &target), async {
        let held = || async { (daemon.admin().call::<Status>(&Empty {}).await.writes == "held").then_some(()) };
        until(Duration::from_secs(60), "writes are put off", held).await;
        server.kill();
    });
    assert_eq!(moved.code, Some(75), "{moved:?}");
    let next = daemon.client().refresh(&people[0]).await;
    server.start_again();
    assert_eq!(move_to(&daemon, &target).await.code, Some(0));
    daemon.client().try_refresh(&next.refresh).await.assert_refused(ErrorCode::ReadOnly);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_is_compared_row_by_row_before_this_database_is_given_up() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let mut ada = people(&daemon, 1).await.remove(0);
    for rule in [
        "CREATE RULE lose AS ON INSERT TO event DO INSTEAD NOTHING",
        "CREATE RULE change AS ON INSERT TO account DO ALSO UPDATE account SET created_ms = created_ms + 1",
    ] {
        let target = empty_server().await;
        migrate(&target).await;
        connect(&target).await.execute(rule).await.unwrap();
        let refused = move_to(&daemon, &target).await;
        assert_eq!(refused.code, Some(75), "{rule}: {refused:?}");
        assert!(refused.stdout.contains("is not the same there"), "{rule}: {refused:?}");
        ada = daemon.client().refresh(&ada).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asked_for_a_move_and_goes_away_ends_it() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let people = people(&daemon, 1).await;
    let target = empty_server().await;
    migrate(&target).await;
    let mut holder = connect(&target).await;
    holder.execute("BEGIN; LOCK TABLE session IN ACCESS SHARE MODE").await.unwrap();
    let asking = tokio::time::timeout(Duration::from_secs(2), move_to(&daemon, &target)).await;
    assert!(asking.is_err(), "{asking:?}");
    let taken = || async { (daemon.admin().call::<Status>(&Empty {}).await.writes == "taken").then_some(()) };
    until(Duration::from_secs(60), "writes are taken again", taken).await;
    daemon.client().refresh(&people[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_in_use_or_somebody_elses_is_refused_and_left_alone() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let ada = daemon.client().register("ada@example.org").await;
    let used = empty_server().await;
    let other = Daemon::start(Options::on(used.clone())).await;
    let grace = other.client().register("grace@example.org").await;
    let refused = move_to(&daemon, &used).await;
    assert_eq!(refused.code, Some(11), "{refused:?}");
    other.client().refresh(&grace).await;
    let strange = empty_server().await;
    connect(&strange).await.execute("CREATE TABLE shop (id int)").await.unwrap();
    let refused = move_to(&daemon, &strange).await;
    assert_eq!(refused.code, Some(11), "{refused:?}");
    assert_eq!(tables(&strange).await, 1);
    let away = Database::Postgres("postgres://authd:s3cr3t@127.0.0.1:1/authd".to_owned());
    let refused = move_to(&daemon, &away).await;
    assert!(refused.code == Some(75) && !format!("{refused:?}").contains("s3cr3t"), "{refused:?}");
    let none = Database::Postgres("mysql://authd:s3cr3t@127.0.0.1/authd".to_owned());
    let refused = move_to(&daemon, &none).await;
    assert!(refused.code == Some(2) && !format!("{refused:?}").contains("s3cr3t"), "{refused:?}");
    assert_eq!(move_to(&other, &empty_server().await).await.code, Some(2));
    daemon.client().refresh(&ada).await;
    assert!(!daemon.log().text().contains("s3cr3t"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_counts_and_leaves_nothing_there() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let people = people(&daemon, 2).await;
    let target = empty_server().await;
    let file = daemon.data_dir().join("target");
    std::fs::write(&file, url(&target)).unwrap();
    let ran = daemon.ctl().run(&["-o", "json", "db", "move", "-n", "--to-file", &file.to_string_lossy()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let tables_there = ran.json()["data"]["tables"].as_array().unwrap().clone();
    assert!(tables_there.contains(&json!({"name": "account", "rows": 2})), "{tables_there:?}");
    assert_eq!(tables(&target).await, 0);
    daemon.client().refresh(&people[0]).await;
    let unasked = daemon.ctl().run(&["db", "move", "--to-file", &file.to_string_lossy()]).await;
    assert_eq!(unasked.code, Some(13), "{unasked:?}");
    let printed = daemon.ctl().run(&["db", "move", "--print-request", "--to-file", &file.to_string_lossy()]).await;
    assert!(printed.stdout.contains("<target_url>") && !printed.stdout.contains("127.0.0.1"), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_was_undone_can_be_repeated_until_a_daemon_has_run_on_its_target() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let people = people(&daemon, 2).await;
    let target = empty_server().await;
    assert_eq!(move_to(&daemon, &target).await.code, Some(0));
    daemon.stop();
    let undone = daemon.command("undo-move");
    assert!(undone.status.success(), "{undone:?}");
    daemon.start_again().await;
    let next = daemon.client().refresh(&people[0]).await;
    assert_eq!(daemon.admin().events("database.move_undone").await.len(), 1);
    // Nobody has used what is there: it is replaced by what is here now.
    assert_eq!(move_to(&daemon, &target).await.code, Some(0));
    daemon.stop();
    daemon.start_again_on(target.clone()).await;
    daemon.client().refresh(&next).await;
    daemon.stop();
    assert!(daemon.command("undo-move").status.success());
    daemon.point_to(Database::Sqlite);
    daemon.start_again_unready().await;
    // What the other has seen since is not here: as a restored database, it is locked down until that is accepted.
    daemon.client().try_refresh(&people[1].refresh).await.assert_refused(ErrorCode::StorageUnavailable);
    let refused = move_to(&daemon, &target).await;
    assert_eq!(refused.code, Some(11), "{refused:?}");
}
