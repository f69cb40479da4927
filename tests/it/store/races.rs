//! Many calls at once: one step, no deadlock, no half.

use super::{World, elsewhere, on_every_store};
use authd::domain::{
    account::Break,
    audit::Action,
    rotation::Decision,
    session::{
        EndReason, NewSession, OnLimit, Opened, Recording, ReplayScope, Rotate, SessionCap, SessionFilter, SessionState,
    },
    token::TokenHash,
};
use std::sync::Arc;

on_every_store!(
    parallel_refreshes_of_one_token_are_one_step,
    a_revoked_session_stays_dead_under_refreshes,
    parallel_logins_of_one_account_all_get_in,
    rotations_at_the_same_moment_keep_apart,
    replays_logouts_and_logins_of_one_account_do_not_wait_for_each_other_for_ever,
);

async fn parallel_refreshes_of_one_token_are_one_step(world: World) {
    let world = Arc::new(world);
    let account = world.account("ada@example.org").await;
    let session = world.session(&account).await;
    let mut token = session.token;
    for round in 1..=20 {
        let mut calls = tokio::task::JoinSet::new();
        for at in 0..50 {
            let call = world.call(&session, token);
            // From two places, so that both ways to rotate meet.
            let call = if at % 2 == 0 { call } else { Rotate { origin: network_of(&call), ..call } };
            let sessions = world.stores.sessions.clone();
            calls.spawn(async move {
                let rotated = sessions.rotate(call.clone()).await.unwrap().unwrap();
                (call, rotated)
            });
        }
        let done = calls.join_all().await;
        let winners: Vec<_> =
            done.iter().filter(|(_, rotated)| matches!(rotated.decision, Decision::Rotate { .. })).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let (winner, first) = winners[0];
        assert_eq!(first.session.generation, round);
        for (_, other) in &done {
            assert_eq!(other.session.generation, round);
            match other.decision {
                Decision::Rotate { .. } => {}
                Decision::Retry { .. } => {
                    assert_eq!(other.sealed, winner.successor.sealed);
                    assert_eq!(other.access_expires_ms, first.access_expires_ms);
                }
                ref unexpected => panic!("{unexpected:?}"),
            }
        }
        token = winner.successor.hash;
    }
}

fn network_of(call: &Rotate) -> authd::domain::rotation::Origin {
    authd::domain::rotation::Origin { network: elsewhere().network, ..call.origin.clone() }
}

async fn a_revoked_session_stays_dead_under_refreshes(world: World) {
    let world = Arc::new(world);
    let account = world.account("ada@example.org").await;
    for _ in 0..20 {
        let session = world.session(&account).await;
        let mut refreshes = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let (call, sessions) = (world.call(&session, session.token), world.stores.sessions.clone());
            refreshes.spawn(async move { sessions.rotate(call).await.unwrap().unwrap() });
        }
        let filter = SessionFilter { id: Some(session.id.clone()), ..SessionFilter::default() };
        let event = world.event(Action::SessionRevoked);
        let revoked = world.stores.sessions.revoke(filter, EndReason::Logout, event).await.unwrap();
        assert_eq!(revoked.matched, 1);
        refreshes.join_all().await;
        assert_eq!(world.stores.sessions.find(&session.id).await.unwrap().unwrap().state, SessionState::Ended);
        let after = world.rotate(&world.call(&session, session.token)).await;
        assert_eq!(after.decision, Decision::Ended);
    }
}

async fn rotations_at_the_same_moment_keep_apart(world: World) {
    let world = Arc::new(world);
    let account = world.account("ada@example.org").await;
    let mut families = Vec::new();
    for _ in 0..40 {
        families.push(world.session(&account).await);
    }
    // The first rotation tells the store the database's time.
    let first = world.session(&account).await;
    world.rotate(&world.call(&first, first.token)).await;
    let mut calls = tokio::task::JoinSet::new();
    for (number, family) in families.iter().enumerate() {
        let mut call = Rotate { recording: Recording::All, ..world.call(family, family.token) };
        match number % 4 {
            0 => call.keyed_tag = Some([u8::try_from(number).unwrap(); 32]),
            1 => call.presented = TokenHash(world.bytes()),
            2 => call.recording = Recording::Changes,
            _ => {}
        }
        let sessions = world.stores.sessions.clone();
        calls.spawn(async move { (number, sessions.rotate(call.clone()).await.unwrap().unwrap(), call) });
    }
    for (number, rotated, call) in calls.join_all().await {
        assert_eq!((&rotated.session.id, &rotated.account.id), (&families[number].id, &account));
        assert_eq!(rotated.account.email.as_deref(), Some("ada@example.org"));
        let current = world.stores.sessions.is_current(call.handle, call.successor.hash).await.unwrap();
        assert_eq!(matches!(rotated.decision, Decision::Rotate { .. }), number % 4 != 1, "{number}");
        assert_eq!(current, number % 4 != 1, "{number}");
    }
    let mut recorded: Vec<_> =
        world.events(Action::SessionRefreshed).await.into_iter().map(|event| event.target_id.unwrap()).collect();
    recorded.sort();
    let noted = families.iter().enumerate().filter(|(number, _)| matches!(number % 4, 0 | 3));
    let mut expected: Vec<_> = noted.map(|(_, family)| family.id.as_str().to_owned()).collect();
    expected.sort();
    assert_eq!(recorded, expected);
}

async fn parallel_logins_of_one_account_all_get_in(world: World) {
    let world = Arc::new(world);
    let account = world.account("ada@example.org").await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let new =
            NewSession { cap: SessionCap { max: 10, on_limit: OnLimit::EvictOldest }, ..world.new_session(&account) };
        let (sessions, event) = (world.stores.sessions.clone(), world.event(Action::SessionOpened));
        logins.spawn(async move { sessions.open(new, vec![event]).await.unwrap() });
    }
    let opened = logins.join_all().await;
    assert!(opened.iter().all(|opened| matches!(opened, Opened::Opened { .. })));
    // Logins in flight may overshoot the cap; the next one trims.
    let last =
        NewSession { cap: SessionCap { max: 10, on_limit: OnLimit::EvictOldest }, ..world.new_session(&account) };
    assert!(matches!(world.open(&last).await, Opened::Opened { .. }));
    assert_eq!(world.stores.sessions.count_live(SessionFilter::default()).await.unwrap(), 10);
    assert_eq!(world.events(Action::SessionRevoked).await.len(), 55);
}

async fn replays_logouts_and_logins_of_one_account_do_not_wait_for_each_other_for_ever(world: World) {
    let world = Arc::new(world);
    let account = world.account("ada@example.org").await;
    for _ in 0..10 {
        let epoch = world.stores.accounts.find(&account).await.unwrap().unwrap().account.epoch;
        let mut families = Vec::new();
        for _ in 0..6 {
            let new = NewSession { account_epoch: epoch, ..world.new_session(&account) };
            world.open(&new).await;
            world.rotate(&world.call(&new, new.token)).await;
            families.push(new);
        }
        world.clock.advance_secs(13);
        let mut calls = tokio::task::JoinSet::new();
        for family in &families {
            let replay = Rotate { on_replay: ReplayScope::Account, ..world.call(family, family.token) };
            let sessions = world.stores.sessions.clone();
            calls.spawn(async move { sessions.rotate(replay).await.map(|_| ()) });
            let new = NewSession {
                account_epoch: epoch,
                cap: SessionCap { max: 2, on_limit: OnLimit::EvictOldest },
                ..world.new_session(&account)
            };
            let (sessions, event) = (world.stores.sessions.clone(), world.event(Action::SessionOpened));
            calls.spawn(async move { sessions.open(new, vec![event]).await.map(|_| ()) });
        }
        let (accounts, id, event) =
            (world.stores.accounts.clone(), account.clone(), world.event(Action::SessionRevoked));
        calls.spawn(async move { accounts.break_sessions(&id, Break::LogoutAll, event).await.map(|_| ()) });
        let (sessions, event) = (world.stores.sessions.clone(), world.event(Action::SessionRevoked));
        let filter = SessionFilter::default();
        calls.spawn(async move { sessions.revoke(filter, EndReason::OperatorRevoked, event).await.map(|_| ()) });
        for done in calls.join_all().await {
            done.unwrap();
        }
    }
}
