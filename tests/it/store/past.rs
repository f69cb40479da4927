//! Sessions that are over: how long they are kept, and how many of one account.

use super::{DAY_MS, World};
use authd::domain::{
    audit::Action,
    clock::Clock,
    page::{MAX_PAGE, PageRequest},
    session::{EndReason, NewSession, OnLimit, Opened, SessionCap, SessionFilter, SessionState},
};
use shared::id::{SessionId, UserId};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::{collections::BTreeSet, sync::Arc};
use tests::crowd::{Bygone, add_bygone_at, session_id};

const KEEP_MS: i64 = 30 * DAY_MS;
const MINUTE_MS: i64 = 60_000;

/// Declares each function as a test on the databases into which a test can write by itself.
macro_rules! on_reachable_stores {
    ($($name:ident),* $(,)?) => {
        mod sqlite_file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::store::World::sqlite_file().await).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::store::World::postgres().await).await; })*
        }
    };
}

on_reachable_stores!(
    what_was_over_for_long_goes_in_batches_and_all_else_stays,
    a_login_erases_the_oldest_of_very_many_and_no_live_one,
    what_expired_counts_as_what_was_ended,
    what_ended_a_moment_ago_stays_for_a_minute,
    nothing_goes_with_a_login_while_the_clock_is_not_believed,
    what_only_a_clock_that_jumped_ahead_says_is_over_stays,
    a_login_that_is_refused_erases_nothing,
    parallel_logins_of_an_account_with_a_long_past_all_get_in,
);

fn capped(world: &World, account: &UserId, max: u32, on_limit: OnLimit) -> NewSession {
    NewSession { cap: SessionCap { max, on_limit }, ..world.new_session(account) }
}

/// So many sessions of the account that are over by now.
async fn add_past(world: &World, account: &UserId, sessions: u64, ended_ms: Option<i64>) {
    let account = account.to_string();
    // Idle times count from the opening: even the newest expired a moment ago.
    let newest_ms = world.clock.now_ms() - 1_000;
    add_bygone_at(&world.url, &Bygone { account, sessions, newest_ms, ended_ms }).await;
}

/// The account's sessions that are not live.
async fn past(world: &World, account: &UserId) -> BTreeSet<SessionId> {
    let mut seen = BTreeSet::new();
    for state in [SessionState::Ended, SessionState::Expired] {
        let filter = SessionFilter { account: Some(account.clone()), state: Some(state), ..SessionFilter::default() };
        let mut request = PageRequest::first(MAX_PAGE);
        loop {
            let page = world.stores.sessions.list(filter.clone(), request.clone()).await.unwrap();
            seen.extend(page.items.into_iter().map(|session| session.id));
            let Some(next) = page.next else { break };
            request.after = Some(next);
        }
    }
    seen
}

async fn forget(world: &World, batch: u32) -> u64 {
    world.stores.sessions.forget(world.clock.now_ms() - KEEP_MS, batch).await.unwrap()
}

fn numbers(from: u64, to: u64) -> BTreeSet<SessionId> {
    (from..=to).map(|number| SessionId::parse(&session_id(number)).unwrap()).collect()
}

async fn is_there(world: &World, session: &NewSession) -> bool {
    world.stores.sessions.find(&session.id).await.unwrap().is_some()
}

async fn live(world: &World, account: &UserId) -> u64 {
    let filter = SessionFilter { account: Some(account.clone()), ..SessionFilter::default() };
    world.stores.sessions.count_live(filter).await.unwrap()
}

async fn what_was_over_for_long_goes_in_batches_and_all_else_stays(world: World) {
    let account = world.account("ada@example.org").await;
    let open = async |absolute_ms| {
        let new = NewSession { absolute_ms, idle_ms: absolute_ms.min(14 * DAY_MS), ..world.new_session(&account) };
        assert!(matches!(world.open(&new).await, Opened::Opened { .. }));
        new
    };
    let day: Vec<NewSession> = vec![open(DAY_MS).await, open(DAY_MS).await, open(DAY_MS).await];
    // Over since today too, but not for good: by inactivity, and by a logout.
    let (idle, ended) = (open(90 * DAY_MS).await, open(90 * DAY_MS).await);
    world.revoke(&day[1].id).await;
    world.revoke(&ended.id).await;
    let events = world.all_events().await;
    world.clock.advance_ms(DAY_MS + KEEP_MS - MINUTE_MS);
    let late = open(DAY_MS).await;
    assert_eq!(forget(&world, 100).await, 0, "a minute is left");
    world.clock.advance_ms(2 * MINUTE_MS);
    assert_eq!([forget(&world, 2).await, forget(&world, 2).await, forget(&world, 2).await], [2, 1, 0]);
    for gone in &day {
        assert!(!is_there(&world, gone).await);
        assert!(world.stores.sessions.find_by_handle(gone.handle).await.unwrap().is_none());
        assert!(world.stores.sessions.rotate(world.call(gone, gone.token)).await.unwrap().is_none(), "unknown");
    }
    for kept in [&idle, &ended, &late] {
        assert!(is_there(&world, kept).await);
    }
    // The opening of the late one is all that was added.
    assert_eq!(world.all_events().await, events + 1);
    world.rotate(&world.call(&late, late.token)).await;
}

async fn a_login_erases_the_oldest_of_very_many_and_no_live_one(world: World) {
    let account = world.account("ada@example.org").await;
    let cap = async || world.open(&capped(&world, &account, 5, OnLimit::EvictOldest)).await;
    let oldest = world.session(&account).await;
    world.clock.advance_ms(2 * 3_600_000);
    let ended_ms = world.clock.now_ms() - 2 * MINUTE_MS;
    add_past(&world, &account, 1_300, Some(ended_ms)).await;
    let other = world.account("bob@example.org").await;
    for opened in 2..=5 {
        assert!(matches!(cap().await, Opened::Opened { evicted, .. } if evicted.is_empty()));
        assert_eq!(live(&world, &account).await, opened);
        assert_eq!(past(&world, &account).await, numbers(301, 1_300), "the newest stay");
    }
    assert!(matches!(cap().await, Opened::Opened { evicted, .. } if evicted == [oldest.id.clone()]), "the cap holds");
    assert_eq!(live(&world, &account).await, 5);
    let mut kept = numbers(301, 1_300);
    kept.insert(oldest.id);
    assert_eq!(past(&world, &account).await, kept, "a few more are no reason to erase");
    world.session(&other).await;
    assert_eq!(world.stores.sessions.count_live(SessionFilter::default()).await.unwrap(), 6);
}

async fn what_expired_counts_as_what_was_ended(world: World) {
    let account = world.account("ada@example.org").await;
    add_past(&world, &account, 2_400, None).await;
    let mut left = Vec::new();
    for _ in 0..4 {
        world.session(&account).await;
        left.push(past(&world, &account).await);
    }
    assert_eq!(left.iter().map(BTreeSet::len).collect::<Vec<_>>(), [1_900, 1_400, 1_000, 1_000]);
    assert_eq!(left[3], numbers(1_401, 2_400));
    assert_eq!(live(&world, &account).await, 4);
}

async fn what_ended_a_moment_ago_stays_for_a_minute(world: World) {
    let account = world.account("ada@example.org").await;
    let before_ms = world.clock.now_ms();
    add_past(&world, &account, 1_300, Some(before_ms)).await;
    world.session(&account).await;
    assert_eq!(past(&world, &account).await.len(), 1_300);
    // Whoever asks to end one of them must hear that it is over.
    let id = SessionId::parse(&session_id(1)).unwrap();
    let filter = SessionFilter { id: Some(id.clone()), ..SessionFilter::default() };
    let event = world.event(Action::SessionRevoked);
    let again = world.stores.sessions.revoke(filter, EndReason::UserRevoked, event).await.unwrap();
    assert_eq!((again.matched, again.over), (0, vec![id]));
    world.clock.advance_ms(MINUTE_MS + 1);
    world.session(&account).await;
    assert_eq!(past(&world, &account).await, numbers(301, 1_300));
}

async fn nothing_goes_with_a_login_while_the_clock_is_not_believed(world: World) {
    let account = world.account("ada@example.org").await;
    add_past(&world, &account, 1_400, None).await;
    for _ in 0..5 {
        let new = NewSession { over_by_ms: None, ..capped(&world, &account, 3, OnLimit::EvictOldest) };
        assert!(matches!(world.open(&new).await, Opened::Opened { .. }));
    }
    assert_eq!((live(&world, &account).await, past(&world, &account).await.len()), (3, 1_402));
}

async fn what_only_a_clock_that_jumped_ahead_says_is_over_stays(world: World) {
    let account = world.account("ada@example.org").await;
    let live_one = world.session(&account).await;
    world.clock.advance_ms(2 * 3_600_000);
    add_past(&world, &account, 1_300, None).await;
    let believed_ms = world.clock.now_ms();
    world.clock.advance_ms(400 * DAY_MS);
    let login = async |over_by_ms| {
        let new = NewSession { over_by_ms, ..capped(&world, &account, 3, OnLimit::EvictOldest) };
        assert!(matches!(world.open(&new).await, Opened::Opened { .. }));
    };
    login(Some(believed_ms - 3_600_000)).await;
    assert_eq!(past(&world, &account).await.len(), 1_301, "none of them was over an hour before");
    login(Some(believed_ms)).await;
    assert_eq!(past(&world, &account).await.len(), 1_000);
    assert!(is_there(&world, &live_one).await, "the oldest of all: it lives by the time that was believed");
}

async fn a_login_that_is_refused_erases_nothing(world: World) {
    let account = world.account("ada@example.org").await;
    for _ in 0..2 {
        world.open(&capped(&world, &account, 2, OnLimit::Refuse)).await;
    }
    add_past(&world, &account, 1_400, None).await;
    assert_eq!(world.open(&capped(&world, &account, 2, OnLimit::Refuse)).await, Opened::Full);
    assert_eq!((live(&world, &account).await, past(&world, &account).await.len()), (2, 1_400));
}

/// Not on SQLite, whose one writer leaves nobody else a row to hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_holds_is_left_for_the_next_time() {
    let world = World::postgres().await;
    let account = world.account("ada@example.org").await;
    add_past(&world, &account, 1_300, None).await;
    let mut holder = PgConnection::connect(&world.url).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    let hold = format!("UPDATE session SET retries = 1 WHERE id = '{}'", session_id(1));
    holder.execute(AssertSqlSafe(hold)).await.unwrap();
    world.session(&account).await;
    let mut kept = numbers(301, 1_300);
    kept.insert(SessionId::parse(&session_id(1)).unwrap());
    assert_eq!(past(&world, &account).await, kept);
    world.clock.advance_ms(90 * DAY_MS + KEEP_MS + MINUTE_MS);
    // The session of the login is over too by now.
    assert_eq!(forget(&world, 9_999).await, 1_000 + 1);
    holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(forget(&world, 9_999).await, 1);
}

async fn parallel_logins_of_an_account_with_a_long_past_all_get_in(world: World) {
    let world = Arc::new(world);
    let account = world.account("ada@example.org").await;
    let mut families = Vec::new();
    for _ in 0..10 {
        let new = capped(&world, &account, 10, OnLimit::EvictOldest);
        world.open(&new).await;
        families.push(new);
    }
    add_past(&world, &account, 3_000, None).await;
    let mut calls = tokio::task::JoinSet::new();
    for family in families {
        let new = capped(&world, &account, 10, OnLimit::EvictOldest);
        let (sessions, event) = (world.stores.sessions.clone(), world.event(Action::SessionOpened));
        calls.spawn(async move { sessions.open(new, vec![event]).await.map(drop) });
        let (sessions, refresh) = (world.stores.sessions.clone(), world.call(&family, family.token));
        calls.spawn(async move { sessions.rotate(refresh).await.map(drop) });
        let (sessions, event) = (world.stores.sessions.clone(), world.event(Action::SessionRevoked));
        let filter = SessionFilter { id: Some(family.id), account: Some(account.clone()), ..SessionFilter::default() };
        calls.spawn(async move { sessions.revoke(filter, EndReason::UserRevoked, event).await.map(drop) });
    }
    for done in calls.join_all().await {
        done.unwrap();
    }
    world.open(&capped(&world, &account, 10, OnLimit::EvictOldest)).await;
    assert!(live(&world, &account).await <= 10);
    assert!(past(&world, &account).await.is_superset(&numbers(2_001 + 10, 3_000)), "the newest stay");
    assert!(past(&world, &account).await.len() <= 1_250);
}
