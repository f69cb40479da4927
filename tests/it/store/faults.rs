//! Databases that stall, die, lie in the way or are not there: nothing hangs, nothing is half done, all heals by
//! itself.

use super::{World, on_every_store, options};
use authd::{
    domain::{
        audit::Action,
        revocation::FeedCursor,
        session::{EndReason, NewSession, Opened, SessionFilter},
        store_error::StoreError,
        token::TokenHash,
    },
    store::{OpenError, StoreOptions, open},
};
use shared::id::UserId;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use std::{
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, Instant},
};
use tests::{
    clock::{SeededRandom, TestClock},
    postgres::Postgres,
};

on_every_store!(
    a_caller_that_leaves_cancels_nothing,
    a_failing_change_leaves_its_neighbours_alone,
    a_change_that_cannot_be_audited_does_not_happen,
    a_closed_store_has_finished_and_refuses,
);

async fn a_caller_that_leaves_cancels_nothing(world: World) {
    let account = world.account("ada@example.org").await;
    let mut left = Vec::new();
    for _ in 0..20 {
        let new = world.new_session(&account);
        left.push(new.id.clone());
        let (sessions, event) = (world.stores.sessions.clone(), world.event(Action::SessionOpened));
        let call = tokio::time::timeout(Duration::from_micros(1), async move { sessions.open(new, vec![event]).await });
        let _ = call.await;
    }
    let opened = world.stores.sessions.clone();
    world.stores.close().await;
    drop(opened);
    if world.dir.is_some() || world.url.starts_with("postgres") {
        let again = open(options(&world.url, &world.clock)).await.unwrap();
        let mut found = 0;
        for id in &left {
            found += usize::from(again.sessions.find(id).await.unwrap().is_some());
        }
        assert_eq!(found, 20);
    }
}

async fn a_failing_change_leaves_its_neighbours_alone(world: World) {
    let world = Arc::new(world);
    let account = world.account("ada@example.org").await;
    let taken = world.session(&account).await;
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..40 {
        let mut new = world.new_session(&account);
        if at % 4 == 0 {
            new.id = taken.id.clone();
        }
        let (sessions, event) = (world.stores.sessions.clone(), world.event(Action::SessionOpened));
        calls.spawn(async move { sessions.open(new, vec![event]).await });
    }
    let done = calls.join_all().await;
    let opened = done.iter().filter(|done| matches!(done, Ok(Opened::Opened { .. }))).count();
    let failed = done.iter().filter(|done| matches!(done, Err(StoreError::Unavailable(_)))).count();
    assert_eq!((opened, failed), (30, 10));
    assert_eq!(world.stores.sessions.count_live(SessionFilter::default()).await.unwrap(), 31);
    assert_eq!(world.events(Action::SessionOpened).await.len(), 31);
}

async fn a_change_that_cannot_be_audited_does_not_happen(world: World) {
    let account = world.account("ada@example.org").await;
    let session = world.session(&account).await;
    let mut event = world.event(Action::SessionOpened);
    // An id that the log has already: the event cannot be written.
    event.id = world.events(Action::SessionOpened).await[0].id.clone();
    let new = world.new_session(&account);
    let refused = world.stores.sessions.open(new.clone(), vec![event.clone()]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(world.stores.sessions.find(&new.id).await.unwrap().is_none());
    let put = world.stores.settings.put("limit.login.ip", "1", "uid 0", None, event.clone()).await;
    assert!(put.is_err() && world.stores.settings.all().await.unwrap().is_empty());
    let spent = authd::domain::session::Rotate {
        recording: authd::domain::session::Recording::All,
        event,
        ..world.call(&session, session.token)
    };
    assert!(world.stores.sessions.rotate(spent).await.is_err());
    assert!(world.stores.sessions.is_current(session.handle, session.token).await.unwrap(), "not consumed");
}

async fn a_closed_store_has_finished_and_refuses(world: World) {
    world.stores.close().await;
    world.stores.close().await;
    assert!(matches!(world.stores.readiness.probe().await, Err(StoreError::Unavailable(_))));
    assert!(world.stores.readiness.outages().since_ms().is_some());
}

fn quick(url: &str, clock: &Arc<TestClock>) -> StoreOptions {
    StoreOptions { start_timeout: Duration::from_millis(700), ..options(url, clock) }
}

async fn own_postgres() -> (Postgres, World) {
    let server = Postgres::start_own().await;
    let url = server.create_database().await;
    let clock = Arc::new(TestClock::default());
    let stores = open(options(&url, &clock)).await.unwrap();
    (server, World { stores, clock, random: SeededRandom::new(7), url, dir: None })
}

/// Asks until it works again, at most a minute.
async fn healed(world: &World) {
    let start = Instant::now();
    while world.stores.readiness.probe().await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not heal");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_server_is_answered_in_time_and_heals() {
    let (server, world) = own_postgres().await;
    let account = world.account("ada@example.org").await;
    let session = world.session(&account).await;
    let first = world.call(&session, session.token);
    world.rotate(&first).await;
    let token = first.successor.hash;
    server.pause();
    for _ in 0..3 {
        let start = Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (call, sessions) = (world.call(&session, token), world.stores.sessions.clone());
            calls.spawn(async move { sessions.rotate(call).await.map(|_| ()) });
            let (id, sessions) = (session.id.clone(), world.stores.sessions.clone());
            calls.spawn(async move { sessions.find(&id).await.map(|_| ()) });
        }
        for done in calls.join_all().await {
            assert!(matches!(done, Err(StoreError::Unavailable(_) | StoreError::UnknownOutcome(_))), "{done:?}");
        }
        assert!(start.elapsed() < Duration::from_millis(2_900), "{:?}", start.elapsed());
    }
    assert!(world.stores.readiness.outages().since_ms().is_some());
    server.resume();
    healed(&world).await;
    assert_eq!(world.stores.readiness.outages().since_ms(), None);
    let found = world.stores.sessions.find(&session.id).await.unwrap().unwrap();
    assert_eq!(found.generation, 1, "what was refused did not happen later");
    assert!(world.stores.sessions.is_current(session.handle, token).await.unwrap());
    assert_eq!(world.rotate(&world.call(&session, token)).await.session.generation, 2);
}

/// Sessions that were rotated once, with their current tokens.
async fn rotated(world: &World, account: &UserId, count: usize) -> Vec<(NewSession, TokenHash)> {
    let mut families = Vec::new();
    for _ in 0..count {
        let session = world.session(account).await;
        let first = world.call(&session, session.token);
        world.rotate(&first).await;
        families.push((session, first.successor.hash));
    }
    families
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_past_its_callers_time_is_not_done_when_the_server_goes_on() {
    let (server, world) = own_postgres().await;
    let account = world.account("ada@example.org").await;
    let families = rotated(&world, &account, 40).await;
    server.pause();
    let mut calls = tokio::task::JoinSet::new();
    // They come one after the other: many wait for the statements of those before them.
    for (session, token) in &families {
        let (id, call) = (session.id.clone(), world.call(session, *token));
        let sessions = world.stores.sessions.clone();
        calls.spawn(async move { (id, sessions.rotate(call).await.is_ok()) });
        tokio::time::sleep(Duration::from_millis(90)).await;
    }
    server.resume();
    let answers = calls.join_all().await;
    healed(&world).await;
    assert!(answers.iter().any(|(_, is_done)| !is_done), "somebody waited too long");
    for (id, is_done) in answers {
        let found = world.stores.sessions.find(&id).await.unwrap().unwrap();
        assert_eq!(found.generation, if is_done { 2 } else { 1 }, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_session_fails_its_own_refresh_alone() {
    let (_server, world) = own_postgres().await;
    let account = world.account("ada@example.org").await;
    let families = rotated(&world, &account, 12).await;
    let pool = sqlx::PgPool::connect(&world.url).await.unwrap();
    let damaged = families[0].0.id.as_str();
    sqlx::query("UPDATE session SET id = 'ses_damaged' WHERE id = $1").bind(damaged).execute(&pool).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for (number, (session, token)) in families.iter().enumerate() {
        let (sessions, call) = (world.stores.sessions.clone(), world.call(session, *token));
        calls.spawn(async move { (number, sessions.rotate(call).await) });
    }
    for (number, done) in calls.join_all().await {
        assert_eq!(done.is_err(), number == 0, "{number}: {done:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_died_keeps_what_was_acknowledged_and_heals() {
    let (mut server, world) = own_postgres().await;
    let account = world.account("ada@example.org").await;
    for round in 1..=3 {
        world.session(&account).await;
        server.kill();
        assert!(world.stores.readiness.probe().await.is_err());
        tokio::task::block_in_place(|| server.start_again());
        healed(&world).await;
        let live = world.stores.sessions.count_live(SessionFilter::default()).await.unwrap();
        assert_eq!(live, round);
    }
}

#[tokio::test]
async fn the_feed_does_not_skip_what_commits_late() {
    let world = World::postgres().await;
    let mut late = PgConnection::connect(&world.url).await.unwrap();
    let slow = shared::id::SessionId::new(1, [1; 10]);
    late.execute("BEGIN").await.unwrap();
    sqlx::query("INSERT INTO revocation (session_id, at_ms, forget_ms) VALUES ($1, 1, 9000000000000)")
        .bind(slow.as_str())
        .execute(&mut late)
        .await
        .unwrap();
    let account = world.account("ada@example.org").await;
    let quick = world.session(&account).await.id;
    let event = world.event(Action::SessionRevoked);
    world.stores.sessions.revoke(SessionFilter::default(), EndReason::Logout, event).await.unwrap();
    let (first, cursor) = world.stores.sessions.revocations(FeedCursor::default()).await.unwrap();
    assert_eq!(first.iter().map(|entry| &entry.session).collect::<Vec<_>>(), [&quick]);
    late.execute("COMMIT").await.unwrap();
    let (second, _) = world.stores.sessions.revocations(cursor).await.unwrap();
    assert!(second.iter().any(|entry| entry.session == slow), "{second:?}");
}

#[tokio::test]
async fn a_locked_file_is_answered_in_time_and_heals() {
    let world = World::sqlite_file().await;
    let account = world.account("ada@example.org").await;
    let mut other = SqliteConnection::connect(&world.url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let start = Instant::now();
    let new = world.new_session(&account);
    let refused = world.stores.sessions.open(new.clone(), vec![world.event(Action::SessionOpened)]).await;
    assert!(refused.is_err(), "{refused:?}");
    assert!(start.elapsed() < Duration::from_millis(2_900), "{:?}", start.elapsed());
    assert!(world.stores.accounts.find(&account).await.unwrap().is_some(), "readers go on");
    other.execute("ROLLBACK").await.unwrap();
    healed(&world).await;
    assert!(world.stores.sessions.find(&new.id).await.unwrap().is_none());
    world.session(&account).await;
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let world = World::sqlite_file().await;
    world.account("ada@example.org").await;
    let dir = world.dir.as_ref().unwrap().path().join("new");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for name in ["authd.db", "authd.db-wal", "authd.db-shm"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn several_instances_may_start_at_once_on_an_empty_database() {
    let dir = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", dir.path().join("authd.db").display());
    let server = Postgres::shared().await.create_database().await;
    let clock = Arc::new(TestClock::default());
    for url in [file, server] {
        let mut starts = tokio::task::JoinSet::new();
        for _ in 0..5 {
            starts.spawn(open(options(&url, &clock)));
        }
        for opened in starts.join_all().await {
            opened.unwrap().readiness.probe().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_schema_newer_than_the_program_is_refused() {
    const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations";
    for world in [World::sqlite_file().await, World::postgres().await] {
        if world.dir.is_some() {
            SqliteConnection::connect(&world.url).await.unwrap().execute(NEWER).await.unwrap();
        } else {
            PgConnection::connect(&world.url).await.unwrap().execute(NEWER).await.unwrap();
        }
        let refused = open(options(&world.url, &world.clock)).await;
        assert!(matches!(refused, Err(OpenError::NewerSchema { version: 9_999 })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_database_that_never_comes_is_given_up() {
    let clock = Arc::new(TestClock::default());
    let start = Instant::now();
    let refused = open(quick("postgres://authd@127.0.0.1:9/none", &clock)).await;
    assert!(matches!(refused, Err(OpenError::NeverCame(_))), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_url_that_names_no_database_is_refused() {
    let clock = Arc::new(TestClock::default());
    for url in ["", "mysql://x", "sqlite:", "sqlite:a.db?mode=ro", "postgres://[", "/tmp/a.db"] {
        let refused = open(quick(url, &clock)).await;
        assert!(matches!(refused, Err(OpenError::BadUrl(_))), "{url}: {refused:?}");
    }
}
