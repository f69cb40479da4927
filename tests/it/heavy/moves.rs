//! A large installation moves to PostgreSQL: killed in the middle, moved again, and every session goes on there.

use shared::admin::{Empty, db::Status};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};
use tests::{
    client::Tokens,
    ctl::Ran,
    daemon::Daemon,
    options::{Database, Options},
    postgres::Postgres,
    scale,
    wait::{timed, until},
};

/// Accounts, each with a session.
const ACCOUNTS: usize = 100_000;
/// Those of them that somebody has logged in to.
const PEOPLE: usize = 300;

/// Accounts with their names, passwords, sessions and events as they are stored; nobody knows their tokens.
async fn crowd(file: &Path, count: usize) {
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let counted = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) ");
    let id = |kind: &str| format!("printf('{kind}_00%024d', i)");
    let (account, session) = (id("usr"), id("ses"));
    for statement in [
        format!("INSERT INTO account (id, created_ms) {counted} SELECT {account}, i FROM n"),
        format!(
            "INSERT INTO identifier (kind, canonical, display, account_id, created_ms, primary_ms) {counted}
            SELECT 'email', 'crowd' || i || '@example.org', 'Crowd' || i || '@example.org', {account}, i, i FROM n"
        ),
        format!(
            "INSERT INTO credential (id, account_id, kind, data, cost, created_ms) {counted}
            SELECT printf('crd_00%024d', i), {account}, 'password', '$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA',
                'argon2id m=64 t=1 p=1', i FROM n"
        ),
        format!(
            "INSERT INTO session (id, account_id, handle, cur_hash, idle_expires_ms, expires_ms, epoch, transport, amr,
                created_ms, network, device) {counted}
            SELECT {session}, {account}, randomblob(16), randomblob(32), 9000000000000, 9000000000000, 0, 'body', 'pwd',
                i, '192.0.2.0/24', 'Firefox on Linux' FROM n"
        ),
    ] {
        conn.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
    conn.close().await.unwrap();
}

async fn handles_here(file: &Path) -> BTreeSet<Vec<u8>> {
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    sqlx::query_scalar("SELECT handle FROM session").fetch_all(&mut conn).await.unwrap().into_iter().collect()
}

async fn handles_there(url: &str) -> BTreeSet<Vec<u8>> {
    let mut conn = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("SELECT handle FROM session").fetch_all(&mut conn).await.unwrap().into_iter().collect()
}

async fn people(daemon: &Daemon) -> Vec<Tokens> {
    let mut people = Vec::new();
    for number in 0..scale::of(PEOPLE).max(10) {
        people.push(daemon.client().register(&format!("person{number}@example.org")).await);
    }
    people
}

async fn move_to(daemon: &Daemon, url: &str) -> Ran {
    let file = daemon.data_dir().join("target");
    std::fs::write(&file, url).unwrap();
    daemon.ctl().run(&["-o", "json", "db", "move", "--to-file", &file.to_string_lossy(), "--yes"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_session_of_a_large_installation_goes_on_after_a_move_that_was_killed_before() {
    let accounts = scale::of(ACCOUNTS);
    super::announce(accounts);
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let people = people(&daemon).await;
    let file = daemon.data_dir().join("authd.db");
    daemon.stop();
    crowd(&file, accounts).await;
    daemon.start_again().await;
    let url = Postgres::shared().await.create_database().await;

    let (ran, ()) = tokio::join!(move_to(&daemon, &url), async {
        let held = || async { (daemon.admin().call::<Status>(&Empty {}).await.writes == "held").then_some(()) };
        until(Duration::from_secs(60), "writes are put off", held).await;
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(daemon.pid()).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
    });
    assert_eq!(ran.code, Some(75), "{ran:?}");
    daemon.kill();
    let (_, took) = timed(daemon.start_again()).await;
    println!("in use again after {took:?}");
    let mut after_kill = daemon.client().refresh(&people[0]).await;

    let (ran, took) = timed(move_to(&daemon, &url)).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    println!("{} accounts moved in {took:?}", accounts + people.len());
    daemon.stop();
    let handles = handles_here(&file).await;
    assert_eq!(handles.len(), accounts + people.len());
    assert_eq!(handles, handles_there(&url).await);
    daemon.start_again_on(Database::Postgres(url)).await;
    let begun = Instant::now();
    after_kill = daemon.client().refresh(&after_kill).await;
    for tokens in &people[1..] {
        daemon.client().refresh(tokens).await;
    }
    println!("{} sessions refreshed in {:?}", people.len(), begun.elapsed());
    daemon.client().refresh(&after_kill).await;

    let backup = daemon.data_dir().join("backup").to_string_lossy().into_owned();
    let (ran, took) = timed(daemon.ctl().run(&["db", "backup", &backup])).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    println!("backed up in {took:?}");
    let ran = daemon.ctl().run(&["-o", "json", "db", "verify-backup", &backup]).await;
    assert_eq!(ran.code, Some(0), "the audit chain, among other things: {ran:?}");
}
