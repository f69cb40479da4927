//! Opening, finding, listing and ending sessions.

use super::{DAY_MS, World, home, on_every_store};
use authd::domain::{
    account::Break,
    audit::Action,
    page::PageRequest,
    revocation::FeedCursor,
    session::{EndReason, NewSession, OnLimit, Opened, SessionCap, SessionFilter, SessionState, Transport},
    token::{Handle, TokenHash},
};
use shared::id::SessionId;

on_every_store!(
    an_opened_session_reads_back,
    an_account_whose_epoch_moved_opens_nothing,
    the_cap_ends_never_refreshed_sessions_first,
    a_cap_that_refuses_changes_nothing,
    an_expired_session_does_not_count,
    lists_are_paged_newest_first,
    filters_select,
    ending_by_filter_ends_what_is_live_and_writes_an_event_each,
    many_sessions_end_in_one_call,
    an_ended_session_is_ended_once,
    ended_sessions_reach_the_feed,
    outlived_revocations_are_swept,
    the_global_epoch_ends_older_sessions,
    unknown_sessions_are_not_found,
);

fn sorted(mut ids: Vec<SessionId>) -> Vec<SessionId> {
    ids.sort();
    ids
}

async fn an_opened_session_reads_back(world: World) {
    let account = world.account("ada@example.org").await;
    let new = NewSession { transport: Transport::Cookie, ..world.new_session(&account) };
    let Opened::Opened { created_ms, idle_expires_ms, expires_ms, evicted } = world.open(&new).await else { panic!() };
    assert_eq!((idle_expires_ms - created_ms, expires_ms - created_ms), (14 * DAY_MS, 90 * DAY_MS));
    assert!(evicted.is_empty());
    let found = world.stores.sessions.find(&new.id).await.unwrap().unwrap();
    assert_eq!((&found.id, &found.account, found.state), (&new.id, &account, SessionState::Live));
    assert_eq!(
        (found.email.as_deref(), found.generation, found.transport),
        (Some("ada@example.org"), 0, Transport::Cookie)
    );
    assert_eq!((found.created_ms, found.last_seen_ms, found.expires_ms), (created_ms, created_ms, expires_ms));
    assert_eq!((found.network, found.device, found.amr), (home().network, home().device, vec!["pwd".to_owned()]));
    assert_eq!((found.ended_ms, found.end_reason), (None, None));
    assert_eq!(world.stores.sessions.find_by_handle(new.handle).await.unwrap().unwrap().id, new.id);
    let live = world.stores.sessions.find_live(&new.id).await.unwrap().unwrap();
    assert!(live.account_enabled);
    assert!(world.stores.sessions.is_current(new.handle, new.token).await.unwrap());
    assert!(!world.stores.sessions.is_current(new.handle, TokenHash([0; 32])).await.unwrap());
    assert_eq!(world.events(Action::SessionOpened).await.len(), 1);
    let login = world.stores.accounts.find(&account).await.unwrap().unwrap().account.last_login_ms;
    assert_eq!(login, Some(created_ms));
}

async fn an_account_whose_epoch_moved_opens_nothing(world: World) {
    let account = world.account("ada@example.org").await;
    let stale = world.new_session(&account);
    let logout = world.event(Action::SessionRevoked);
    world.stores.accounts.break_sessions(&account, Break::LogoutAll, logout).await.unwrap();
    let before = world.all_events().await;
    assert_eq!(world.open(&stale).await, Opened::AccountChanged);
    let fresh = NewSession { account_epoch: 1, ..world.new_session(&account) };
    assert!(matches!(world.open(&fresh).await, Opened::Opened { .. }));
    world.stores.accounts.break_sessions(&account, Break::Disable, world.event(Action::UserDisabled)).await.unwrap();
    let disabled = NewSession { account_epoch: 2, ..world.new_session(&account) };
    assert_eq!(world.open(&disabled).await, Opened::AccountChanged);
    assert!(world.stores.sessions.find(&stale.id).await.unwrap().is_none());
    // The opened session, the disabling, the session that ended with it.
    assert_eq!(world.all_events().await, before + 3);
}

fn capped(world: &World, account: &shared::id::UserId, on_limit: OnLimit) -> NewSession {
    NewSession { cap: SessionCap { max: 3, on_limit }, ..world.new_session(account) }
}

async fn the_cap_ends_never_refreshed_sessions_first(world: World) {
    let account = world.account("ada@example.org").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let new = capped(&world, &account, OnLimit::EvictOldest);
        assert!(matches!(world.open(&new).await, Opened::Opened { .. }));
        open.push(new);
        world.clock.advance_secs(5);
    }
    // The newest first: of refreshed sessions the one refreshed longest ago goes, whenever it was opened.
    for refreshed in [&open[2], &open[0]] {
        world.rotate(&world.call(refreshed, refreshed.token)).await;
        world.clock.advance_secs(5);
    }
    let newcomer = |refreshed: bool| {
        let new = capped(&world, &account, OnLimit::EvictOldest);
        let world = &world;
        async move {
            let Opened::Opened { evicted, .. } = world.open(&new).await else { panic!() };
            if refreshed {
                world.rotate(&world.call(&new, new.token)).await;
            }
            world.clock.advance_secs(5);
            (new.id, evicted)
        }
    };
    let (_, evicted) = newcomer(true).await;
    assert_eq!(evicted, std::slice::from_ref(&open[1].id), "never refreshed");
    let (young, evicted) = newcomer(false).await;
    assert_eq!(evicted, std::slice::from_ref(&open[2].id), "refreshed longest ago");
    let (_, evicted) = newcomer(false).await;
    assert_eq!(evicted, [young], "never refreshed, though the youngest");
    let gone = world.stores.sessions.find(&open[1].id).await.unwrap().unwrap();
    assert_eq!((gone.state, gone.end_reason.as_deref()), (SessionState::Ended, Some("evicted")));
    let events = world.events(Action::SessionRevoked).await;
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.reason.as_deref() == Some("evicted")));
    let filter = SessionFilter { account: Some(account), ..SessionFilter::default() };
    assert_eq!(world.stores.sessions.count_live(filter).await.unwrap(), 3);
}

async fn a_cap_that_refuses_changes_nothing(world: World) {
    let account = world.account("ada@example.org").await;
    for _ in 0..3 {
        world.open(&capped(&world, &account, OnLimit::Refuse)).await;
    }
    let login = world.stores.accounts.find(&account).await.unwrap().unwrap().account.last_login_ms;
    let before = world.all_events().await;
    world.clock.advance_secs(60);
    let refused = capped(&world, &account, OnLimit::Refuse);
    assert_eq!(world.open(&refused).await, Opened::Full);
    assert!(world.stores.sessions.find(&refused.id).await.unwrap().is_none());
    assert_eq!(world.all_events().await, before);
    assert_eq!(world.stores.accounts.find(&account).await.unwrap().unwrap().account.last_login_ms, login);
}

async fn an_expired_session_does_not_count(world: World) {
    let account = world.account("ada@example.org").await;
    for _ in 0..3 {
        world.open(&capped(&world, &account, OnLimit::Refuse)).await;
    }
    world.clock.advance_ms(14 * DAY_MS + 1_000);
    assert!(matches!(world.open(&capped(&world, &account, OnLimit::Refuse)).await, Opened::Opened { .. }));
    let filter = SessionFilter { state: Some(SessionState::Expired), ..SessionFilter::default() };
    assert_eq!(world.stores.sessions.list(filter, PageRequest::first(9)).await.unwrap().items.len(), 3);
}

async fn lists_are_paged_newest_first(world: World) {
    let account = world.account("ada@example.org").await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(world.session(&account).await.id);
        world.clock.advance_ms(10);
    }
    ids.reverse();
    let mut seen: Vec<SessionId> = Vec::new();
    let mut request = PageRequest::first(3);
    let mut pages = 0;
    loop {
        let page = world.stores.sessions.list(SessionFilter::default(), request.clone()).await.unwrap();
        assert_eq!(page.total, Some(7));
        pages += 1;
        seen.extend(page.items.into_iter().map(|session| session.id));
        let Some(next) = page.next else { break };
        request.after = Some(next);
    }
    assert_eq!((seen, pages), (ids, 3));
}

async fn filters_select(world: World) {
    let ada = world.account("ada@example.org").await;
    let bob = world.account("bob@example.org").await;
    let first = world.session(&ada).await;
    world.clock.advance_secs(100);
    let second = NewSession { origin: super::elsewhere(), ..world.new_session(&ada) };
    world.open(&second).await;
    let third = world.session(&bob).await;
    let ended = SessionFilter { id: Some(first.id.clone()), ..SessionFilter::default() };
    world.stores.sessions.revoke(ended, EndReason::Logout, world.event(Action::SessionRevoked)).await.unwrap();
    let middle_ms = world.stores.sessions.find(&first.id).await.unwrap().unwrap().created_ms + 50_000;
    let all = SessionFilter::default;
    let cases = [
        (SessionFilter { account: Some(ada.clone()), ..all() }, vec![&second.id, &first.id]),
        (SessionFilter { account: Some(ada), except: Some(second.id.clone()), ..all() }, vec![&first.id]),
        (SessionFilter { network: Some("198.51.100.0/24".parse().unwrap()), ..all() }, vec![&second.id]),
        (SessionFilter { device: Some("CURL".into()), ..all() }, vec![&second.id]),
        (SessionFilter { device: Some("%".into()), ..all() }, vec![]),
        (SessionFilter { state: Some(SessionState::Ended), ..all() }, vec![&first.id]),
        (SessionFilter { until_ms: Some(middle_ms), ..all() }, vec![&first.id]),
        (SessionFilter { since_ms: Some(middle_ms), account: Some(bob), ..all() }, vec![&third.id]),
    ];
    for (filter, expected) in cases {
        let page = world.stores.sessions.list(filter.clone(), PageRequest::first(9)).await.unwrap();
        let ids: Vec<_> = page.items.iter().map(|session| &session.id).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
    let live = SessionFilter { state: Some(SessionState::Live), ..all() };
    assert_eq!(world.stores.sessions.list(live, PageRequest::first(9)).await.unwrap().items.len(), 2);
}

async fn ending_by_filter_ends_what_is_live_and_writes_an_event_each(world: World) {
    let ada = world.account("ada@example.org").await;
    let bob = world.account("bob@example.org").await;
    let keep = world.session(&ada).await.id;
    let mut others = vec![world.session(&ada).await.id, world.session(&ada).await.id];
    let foreign = world.session(&bob).await.id;
    others.sort();
    let filter = SessionFilter { account: Some(ada), except: Some(keep.clone()), ..SessionFilter::default() };
    let event = world.event(Action::SessionRevoked).because("stolen laptop").about("user", "x");
    let done = world.stores.sessions.revoke(filter.clone(), EndReason::UserRevoked, event.clone()).await.unwrap();
    assert_eq!((done.matched, &done.ended, sorted(done.over)), (2, &others, others.clone()));
    for id in [&keep, &foreign] {
        assert_eq!(world.stores.sessions.find(id).await.unwrap().unwrap().state, SessionState::Live);
    }
    let events = world.events(Action::SessionRevoked).await;
    let mut targets: Vec<_> = events.iter().filter_map(|event| event.target_id.clone()).collect();
    targets.sort();
    assert_eq!(targets, others.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event.reason.as_deref() == Some("stolen laptop")));
    assert!(events.iter().all(|event| event.detail == [("end_reason".into(), "user_revoked".into())]));
    let again = world.stores.sessions.revoke(filter, EndReason::UserRevoked, event).await.unwrap();
    assert_eq!((again.matched, again.ended, sorted(again.over)), (0, vec![], others.clone()));
    assert_eq!(world.events(Action::SessionRevoked).await.len(), 2);
}

async fn many_sessions_end_in_one_call(world: World) {
    let account = world.account("ada@example.org").await;
    let cap = SessionCap { max: 5_000, on_limit: OnLimit::Refuse };
    let opens = (0..1_203).map(|_| {
        let new = NewSession { cap, ..world.new_session(&account) };
        world.stores.sessions.open(new, vec![world.event(Action::SessionOpened)])
    });
    for opened in opens {
        opened.await.unwrap();
    }
    let event = world.event(Action::SessionRevoked);
    let done = world.stores.sessions.revoke(SessionFilter::default(), EndReason::OperatorRevoked, event).await.unwrap();
    assert_eq!((done.matched, done.ended.len()), (1_203, 1_203));
    assert!(done.ended.is_sorted());
    assert_eq!(world.stores.sessions.count_live(SessionFilter::default()).await.unwrap(), 0);
    assert_eq!(world.stores.sessions.revocations(FeedCursor::default()).await.unwrap().0.len(), 1_203);
    let mut sealed = 0;
    while world.stores.audit.seal(1_000).await.unwrap().count > 0 {
        sealed += 1;
    }
    assert_eq!((sealed, world.stores.audit.head().await.unwrap()), (3, 1 + 2 * 1_203));
}

async fn an_ended_session_is_ended_once(world: World) {
    let account = world.account("ada@example.org").await;
    let session = world.session(&account).await;
    let filter = SessionFilter { id: Some(session.id.clone()), ..SessionFilter::default() };
    let revoke = |why| world.stores.sessions.revoke(filter.clone(), why, world.event(Action::SessionRevoked));
    assert_eq!(revoke(EndReason::Logout).await.unwrap().matched, 1);
    let first = world.stores.sessions.find(&session.id).await.unwrap().unwrap();
    world.clock.advance_secs(9);
    assert_eq!(revoke(EndReason::OperatorRevoked).await.unwrap().matched, 0);
    assert_eq!(world.stores.sessions.find(&session.id).await.unwrap().unwrap(), first);
    assert!(!world.stores.sessions.is_current(session.handle, session.token).await.unwrap());
}

async fn ended_sessions_reach_the_feed(world: World) {
    let account = world.account("ada@example.org").await;
    let (none, start) = world.stores.sessions.revocations(FeedCursor::default()).await.unwrap();
    assert!(none.is_empty());
    let session = world.session(&account).await;
    let filter = SessionFilter { id: Some(session.id.clone()), ..SessionFilter::default() };
    world.stores.sessions.revoke(filter, EndReason::Logout, world.event(Action::SessionRevoked)).await.unwrap();
    let (ended, next) = world.stores.sessions.revocations(start).await.unwrap();
    let ended_ms = world.stores.sessions.find(&session.id).await.unwrap().unwrap().ended_ms.unwrap();
    let entries: Vec<_> = ended.iter().map(|entry| (&entry.session, entry.forget_ms)).collect();
    assert_eq!(entries, [(&session.id, ended_ms + 720_000)]);
    // A cursor from a database that was replaced by an older copy reads everything again.
    assert_eq!(
        world.stores.sessions.revocations(FeedCursor::up_to(next.read + 1_000_000_000)).await.unwrap().0.len(),
        1
    );
    assert!(next.read >= start.read);
}

async fn outlived_revocations_are_swept(world: World) {
    let account = world.account("ada@example.org").await;
    world.session(&account).await;
    let event = world.event(Action::SessionRevoked);
    world.stores.sessions.revoke(SessionFilter::default(), EndReason::Logout, event).await.unwrap();
    assert_eq!(world.stores.sessions.sweep(10_000, DAY_MS, 100).await.unwrap(), 0);
    world.clock.advance_ms(721_000);
    assert_eq!(world.stores.sessions.sweep(10_000, DAY_MS, 100).await.unwrap(), 1);
    assert!(world.stores.sessions.revocations(FeedCursor::default()).await.unwrap().0.is_empty());
}

async fn the_global_epoch_ends_older_sessions(world: World) {
    let account = world.account("ada@example.org").await;
    let old = world.session(&account).await;
    world.stores.settings.put("epoch.global", "1", "uid 0", None, world.event(Action::ModeChanged)).await.unwrap();
    assert_eq!(world.stores.sessions.find(&old.id).await.unwrap().unwrap().state, SessionState::Ended);
    assert!(!world.stores.sessions.is_current(old.handle, old.token).await.unwrap());
    let refused = world.rotate(&world.call(&old, old.token)).await;
    assert_eq!(refused.decision, authd::domain::rotation::Decision::Ended);
    let new = world.session(&account).await;
    assert_eq!(world.stores.sessions.find(&new.id).await.unwrap().unwrap().state, SessionState::Live);
    assert_eq!(world.stores.sessions.count_live(SessionFilter::default()).await.unwrap(), 1);
}

async fn unknown_sessions_are_not_found(world: World) {
    let id = SessionId::new(1, [1; 10]);
    assert!(world.stores.sessions.find(&id).await.unwrap().is_none());
    assert!(world.stores.sessions.find_live(&id).await.unwrap().is_none());
    assert!(world.stores.sessions.find_by_handle(Handle([1; 16])).await.unwrap().is_none());
    let account = world.account("ada@example.org").await;
    let unknown = world.new_session(&account);
    assert!(world.stores.sessions.rotate(world.call(&unknown, unknown.token)).await.unwrap().is_none());
}
