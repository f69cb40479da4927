//! More than one statement looks at: the feed in pages, sessions in slices.

use super::{DAY_MS, World};
use authd::domain::{
    audit::Action,
    clock::Clock,
    revocation::FeedCursor,
    session::{EndReason, SessionFilter, SessionState},
};
use shared::id::SessionId;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use std::collections::BTreeSet;
use tests::crowd::{Crowd, gather_at, session_id};

/// More than two slices.
const CROWD: Crowd = Crowd { sessions: 120_000, relics: 0, ended_each: 0 };

async fn add_ends(world: &World, first: u32, last: u32) {
    let id = if world.dir.is_some() { "printf('%025d', i)" } else { "lpad(i::text, 25, '0')" };
    let statement = format!(
        "INSERT INTO revocation (session_id, at_ms, forget_ms)
        WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
        SELECT 'ses_0' || {id}, 1, 9000000000000 FROM n"
    );
    execute(world, statement).await;
}

async fn a_long_feed_comes_in_pages_and_skips_nothing(world: World) {
    let sessions = &world.stores.sessions;
    add_ends(&world, 1, 15_000).await;
    add_ends(&world, 15_001, 25_000).await;
    let (mut cursor, mut seen, mut pages) = (FeedCursor::default(), BTreeSet::new(), Vec::new());
    loop {
        let (page, next) = sessions.revocations(cursor).await.unwrap();
        pages.push(page.len());
        seen.extend(page.into_iter().map(|end| end.session));
        if pages.len() == 1 {
            assert!(next.has_more(), "the first page is not all of them");
            add_ends(&world, 25_001, 25_002).await;
        }
        cursor = next;
        if !cursor.has_more() {
            break;
        }
    }
    assert!(pages.len() >= 3 && pages.iter().all(|page| *page <= 10_000), "{pages:?}");
    while !seen.contains(&SessionId::parse(&session_id(25_002)).unwrap()) {
        // Where others have transactions open, more than this is read again.
        let (page, next) = sessions.revocations(cursor).await.unwrap();
        assert!(!page.is_empty(), "nothing is skipped");
        seen.extend(page.into_iter().map(|end| end.session));
        cursor = next;
    }
    assert_eq!(seen.len(), 25_002);
}

async fn many_sessions_are_counted_and_ended_in_slices(world: World) {
    let sessions = &world.stores.sessions;
    gather_at(&world.url, CROWD).await;
    let network = |text: &str| SessionFilter { network: Some(text.parse().unwrap()), ..SessionFilter::default() };
    let (all, tenth) = (SessionFilter::default(), network("10.2.0.0/15"));
    assert_eq!(sessions.count_live(all.clone()).await.unwrap(), CROWD.sessions);
    assert_eq!(sessions.count_live(tenth.clone()).await.unwrap(), CROWD.sessions / 10);
    let live = SessionFilter { state: Some(SessionState::Live), ..tenth.clone() };
    let end = |expected| {
        let event = world.event(Action::SessionRevoked).because("drill");
        sessions.revoke_if(live.clone(), expected, EndReason::OperatorRevoked, event)
    };
    let refused = end(0..=11_999).await.unwrap();
    assert_eq!((refused.matched, refused.ended.len()), (12_000, 0));
    assert_eq!(sessions.count_live(all.clone()).await.unwrap(), CROWD.sessions, "all or none");
    let done = end(12_000..=12_000).await.unwrap();
    assert_eq!((done.matched, done.ended.len()), (12_000, 12_000));
    assert_eq!(sessions.count_live(tenth).await.unwrap(), 0);
    assert_eq!(sessions.count_live(all).await.unwrap(), CROWD.sessions - 12_000);
    assert_eq!(ends_told_of(&world).await, 12_000, "an event each");
    let stats = sessions.stats(3).await.unwrap();
    let of = |state| stats.tallies.iter().filter(|tally| tally.state == state).map(|tally| tally.count).sum::<u64>();
    assert_eq!((of(SessionState::Ended), of(SessionState::Live)), (12_000, CROWD.sessions - 12_000));
    assert_eq!((stats.accounts.len(), stats.networks.len()), (3, 3));
}

async fn a_walk_in_turns_erases_every_seal_that_is_due(world: World) {
    let sessions = &world.stores.sessions;
    gather_at(&world.url, CROWD).await;
    let seal = async |numbers: [u64; 3], keying: &str, rotated_ms: i64| {
        let ids = numbers.map(|number| format!("'{}'", session_id(number))).join(", ");
        let bytes = if world.dir.is_some() { "x'00'" } else { "'\\x00'::bytea" };
        let change = format!(
            "UPDATE session SET sealed = {bytes}, sealed_keying = '{keying}', rotated_ms = {rotated_ms} WHERE id IN ({ids})"
        );
        execute(&world, change).await;
    };
    let now_ms = world.clock.now_ms();
    seal([1, 2, 119_999], "plain", 1).await;
    seal([3, 60_000, 119_998], "plain", now_ms).await;
    seal([4, 60_001, 119_997], "keyed", now_ms - 3_600_000).await;
    assert_eq!(sealed(&world).await, 9);
    // One a turn at the most, then the rest of the first slice, the second, the third; then from the beginning.
    let mut erased = Vec::new();
    for _ in 0..6 {
        erased.push(sessions.sweep(10_000, DAY_MS, 1).await.unwrap());
    }
    assert_eq!((erased.iter().sum::<u64>(), sealed(&world).await), (3, 6), "{erased:?}");
    assert_eq!(erased[..2], [1, 1], "as many as are asked for");
    world.clock.advance_secs(3_600);
    for left in [5, 4, 3] {
        sessions.sweep(10_000, DAY_MS, 100).await.unwrap();
        assert_eq!(sealed(&world).await, left);
    }
    world.clock.advance_ms(DAY_MS);
    for _ in 0..3 {
        sessions.sweep(10_000, DAY_MS, 100).await.unwrap();
    }
    assert_eq!(sealed(&world).await, 0);
}

async fn execute(world: &World, statement: String) {
    let statement = AssertSqlSafe(statement);
    match world.dir {
        Some(_) => SqliteConnection::connect(&world.url).await.unwrap().execute(statement).await.map(drop),
        None => PgConnection::connect(&world.url).await.unwrap().execute(statement).await.map(drop),
    }
    .unwrap();
}

async fn sealed(world: &World) -> i64 {
    const SEALED: &str = "SELECT count(*) FROM session WHERE sealed IS NOT NULL";
    match world.dir {
        Some(_) => {
            sqlx::query_scalar(SEALED).fetch_one(&mut SqliteConnection::connect(&world.url).await.unwrap()).await
        }
        None => sqlx::query_scalar(SEALED).fetch_one(&mut PgConnection::connect(&world.url).await.unwrap()).await,
    }
    .unwrap()
}

async fn ends_told_of(world: &World) -> i64 {
    const TOLD: &str = "SELECT count(DISTINCT target_id) FROM event WHERE action = 'session.revoked' AND outcome = 'ok'
        AND reason = 'drill' AND target_kind = 'session'";
    match world.dir {
        Some(_) => sqlx::query_scalar(TOLD).fetch_one(&mut SqliteConnection::connect(&world.url).await.unwrap()).await,
        None => sqlx::query_scalar(TOLD).fetch_one(&mut PgConnection::connect(&world.url).await.unwrap()).await,
    }
    .unwrap()
}

mod sqlite_file {
    use crate::store::World;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_feed_comes_in_pages_and_skips_nothing() {
        super::a_long_feed_comes_in_pages_and_skips_nothing(World::sqlite_file().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_walk_in_turns_erases_every_seal_that_is_due() {
        super::a_walk_in_turns_erases_every_seal_that_is_due(World::sqlite_file().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_sessions_are_counted_and_ended_in_slices() {
        super::many_sessions_are_counted_and_ended_in_slices(World::sqlite_file().await).await;
    }
}

mod postgres {
    use crate::store::World;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_feed_comes_in_pages_and_skips_nothing() {
        super::a_long_feed_comes_in_pages_and_skips_nothing(World::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_walk_in_turns_erases_every_seal_that_is_due() {
        super::a_walk_in_turns_erases_every_seal_that_is_due(World::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_sessions_are_counted_and_ended_in_slices() {
        super::many_sessions_are_counted_and_ended_in_slices(World::postgres().await).await;
    }
}
