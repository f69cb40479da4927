//! Rotation on a real row: what is stored, what is written, what stays (R1–R5, R14, R16).

use super::{DAY_MS, OpensNothing, World, elsewhere, home, on_every_store, policy, quota};
use authd::domain::{
    audit::{Action, EventFilter},
    page::PageRequest,
    revocation::FeedCursor,
    rotation::{Decision, Keying, Origin, ReplayKind, RotationPolicy, Sealed, Shadow, Successor},
    session::{NewSession, Recording, ReplayScope, Rotate, SessionState, Transport},
    token::TokenHash,
};
use std::sync::Arc;

on_every_store!(
    a_rotation_spends_the_token,
    a_routine_rotation_writes_an_event_only_when_all_are_recorded,
    a_rotation_from_elsewhere_is_recorded_with_what_changed,
    a_lost_reply_is_answered_with_the_same_successor,
    a_late_parent_ends_the_session,
    a_token_spent_long_ago_ends_the_session,
    a_replay_may_end_the_whole_account,
    nothing_is_kept_for_a_retry_without_a_grace,
    a_key_is_remembered_for_the_keyed_grace,
    a_seal_that_does_not_open_is_a_conflict_and_then_a_replay,
    the_quota_limits_rotations_and_not_retries,
    a_shadowed_quota_only_counts,
    refusals_change_nothing,
    a_follower_is_stopped,
    seals_are_swept_when_no_grace_can_need_them,
);

fn keyed(mut call: Rotate, tag: u8) -> Rotate {
    call.keying = Keying::Keyed;
    call.keyed_tag = Some([tag; 32]);
    call.successor.sealed = Some(Sealed { bytes: vec![tag], keying: Keying::Keyed });
    call
}

async fn started(world: &World) -> NewSession {
    let account = world.account("ada@example.org").await;
    world.session(&account).await
}

async fn a_rotation_spends_the_token(world: World) {
    let session = started(&world).await;
    world.clock.advance_secs(60);
    let call = world.call(&session, session.token);
    let rotated = world.rotate(&call).await;
    assert!(matches!(rotated.decision, Decision::Rotate { .. }), "{:?}", rotated.decision);
    let seen_ms = rotated.session.last_seen_ms;
    assert_eq!(rotated.access_expires_ms, seen_ms + 600_000);
    assert_eq!(rotated.session.idle_expires_ms, seen_ms + 14 * DAY_MS);
    assert_eq!(rotated.session.generation, 1);
    assert!(rotated.ended.is_empty());
    assert!(seen_ms - rotated.session.created_ms >= 60_000);
    assert!(world.stores.sessions.is_current(session.handle, call.successor.hash).await.unwrap());
    assert!(!world.stores.sessions.is_current(session.handle, session.token).await.unwrap());
    let found = world.stores.sessions.find(&session.id).await.unwrap().unwrap();
    assert_eq!(found, rotated.session);
}

async fn a_routine_rotation_writes_an_event_only_when_all_are_recorded(world: World) {
    let session = started(&world).await;
    let first = world.call(&session, session.token);
    world.rotate(&first).await;
    assert!(world.events(Action::SessionRefreshed).await.is_empty());
    let second = Rotate { recording: Recording::All, ..world.call(&session, first.successor.hash) };
    world.rotate(&second).await;
    let events = world.events(Action::SessionRefreshed).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].target_id.as_deref(), Some(session.id.as_str()));
}

async fn a_rotation_from_elsewhere_is_recorded_with_what_changed(world: World) {
    let session = started(&world).await;
    let moved = Origin { network: elsewhere().network, ..home() };
    let call = Rotate { origin: moved, ..world.call(&session, session.token) };
    let rotated = world.rotate(&call).await;
    assert_eq!((rotated.session.network, rotated.session.device), (elsewhere().network, home().device));
    let events = world.events(Action::SessionRefreshed).await;
    assert_eq!(events[0].detail, [("network_before".to_owned(), "192.0.2.0/24".to_owned())]);
    let unknown = Rotate { origin: Origin::default(), ..world.call(&session, call.successor.hash) };
    assert_eq!(world.rotate(&unknown).await.session.device, None);
    assert_eq!(world.events(Action::SessionRefreshed).await.len(), 2);
}

async fn a_lost_reply_is_answered_with_the_same_successor(world: World) {
    let session = started(&world).await;
    let call = world.call(&session, session.token);
    let first = world.rotate(&call).await;
    world.clock.advance_secs(8);
    for _ in 0..3 {
        let retry = world.rotate(&world.call(&session, session.token)).await;
        assert!(matches!(retry.decision, Decision::Retry { .. }), "{:?}", retry.decision);
        assert_eq!(retry.sealed.as_ref(), call.successor.sealed.as_ref());
        assert_eq!(retry.access_expires_ms, first.access_expires_ms);
        assert_eq!((retry.session.generation, retry.session.last_seen_ms), (1, first.session.last_seen_ms));
    }
    assert_eq!(world.events(Action::SessionRetried).await.len(), 3);
    assert!(world.stores.sessions.is_current(session.handle, call.successor.hash).await.unwrap());
}

async fn a_late_parent_ends_the_session(world: World) {
    let session = started(&world).await;
    let call = world.call(&session, session.token);
    world.rotate(&call).await;
    world.clock.advance_secs(13);
    let replay = world.rotate(&world.call(&session, session.token)).await;
    assert_eq!(replay.decision, Decision::Replay(ReplayKind::LateParent));
    assert_eq!((replay.session.state, replay.ended), (SessionState::Ended, vec![session.id.clone()]));
    assert_eq!(replay.session.end_reason.as_deref(), Some("replay"));
    let after = world.rotate(&world.call(&session, call.successor.hash)).await;
    assert_eq!(after.decision, Decision::Ended);
    let events = world.events(Action::SessionReplayed).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].outcome.as_str(), events[0].reason.as_deref()), ("denied", Some("parent_after_grace")));
    assert_eq!(world.stores.sessions.revocations(FeedCursor::default()).await.unwrap().0.len(), 1);
    // Once ended, the spent token has no effect any more.
    assert_eq!(world.rotate(&world.call(&session, session.token)).await.decision, Decision::Ended);
    assert_eq!(world.events(Action::SessionReplayed).await.len(), 1);
}

async fn a_token_spent_long_ago_ends_the_session(world: World) {
    let session = started(&world).await;
    let first = world.call(&session, session.token);
    world.rotate(&first).await;
    world.rotate(&world.call(&session, first.successor.hash)).await;
    let replay = world.rotate(&world.call(&session, session.token)).await;
    assert_eq!(replay.decision, Decision::Replay(ReplayKind::Spent));
}

async fn a_replay_may_end_the_whole_account(world: World) {
    let account = world.account("ada@example.org").await;
    let stranger = world.account("bob@example.org").await;
    let session = world.session(&account).await;
    let other = world.session(&account).await;
    let foreign = world.session(&stranger).await;
    world.rotate(&world.call(&session, session.token)).await;
    world.clock.advance_secs(13);
    let call = Rotate { on_replay: ReplayScope::Account, ..world.call(&session, session.token) };
    let replay = world.rotate(&call).await;
    assert_eq!(replay.decision, Decision::Replay(ReplayKind::LateParent));
    assert_eq!(replay.ended, [session.id.clone(), other.id.clone()]);
    for (id, state) in
        [(session.id, SessionState::Ended), (other.id, SessionState::Ended), (foreign.id, SessionState::Live)]
    {
        assert_eq!(world.stores.sessions.find(&id).await.unwrap().unwrap().state, state);
    }
    assert_eq!(world.events(Action::SessionReplayed).await.len(), 1);
    let revoked = world.events(Action::SessionRevoked).await;
    assert_eq!((revoked.len(), revoked[0].reason.as_deref()), (1, Some("replay")));
}

async fn nothing_is_kept_for_a_retry_without_a_grace(world: World) {
    let session = started(&world).await;
    let strict = RotationPolicy { grace_ms: 0, keyed_grace_ms: 0, ..policy() };
    world.rotate(&Rotate { policy: strict.clone(), ..world.call(&session, session.token) }).await;
    let late = world.rotate(&Rotate { policy: policy(), ..world.call(&session, session.token) }).await;
    assert_eq!(late.decision, Decision::Replay(ReplayKind::LateParent));
}

async fn a_key_is_remembered_for_the_keyed_grace(world: World) {
    let session = started(&world).await;
    let first = keyed(world.call(&session, session.token), 1);
    world.rotate(&first).await;
    world.clock.advance_secs(3_600);
    let retry = world.rotate(&keyed(world.call(&session, session.token), 1)).await;
    assert!(matches!(retry.decision, Decision::Retry { .. }), "{:?}", retry.decision);
    assert_eq!(retry.sealed.unwrap().keying, Keying::Keyed);
    assert!(retry.access_expires_ms > retry.session.last_seen_ms + 3_600_000);
    world.rotate(&world.call(&session, first.successor.hash)).await;
    let used = world.rotate(&keyed(world.call(&session, session.token), 1)).await;
    assert_eq!(used.decision, Decision::Conflict);
    world.clock.advance_ms(DAY_MS);
    let forgotten = world.rotate(&keyed(world.call(&session, session.token), 1)).await;
    assert_eq!(forgotten.decision, Decision::Replay(ReplayKind::Spent));
}

async fn a_seal_that_does_not_open_is_a_conflict_and_then_a_replay(world: World) {
    let session = started(&world).await;
    world.rotate(&keyed(world.call(&session, session.token), 1)).await;
    let other = || {
        let call = keyed(world.call(&session, session.token), 2);
        Rotate { unseal: Arc::new(OpensNothing), ..call }
    };
    assert_eq!(world.rotate(&other()).await.decision, Decision::Conflict);
    world.clock.advance_secs(13);
    assert_eq!(world.rotate(&other()).await.decision, Decision::Replay(ReplayKind::LateParent));
}

async fn the_quota_limits_rotations_and_not_retries(world: World) {
    let session = started(&world).await;
    let strict = RotationPolicy { quota: quota("6/h", 3), ..policy() };
    let mut token = session.token;
    for _ in 0..3 {
        let call = Rotate { policy: strict.clone(), ..world.call(&session, token) };
        assert!(matches!(world.rotate(&call).await.decision, Decision::Rotate { .. }));
        let retry = Rotate { policy: strict.clone(), ..world.call(&session, token) };
        assert!(matches!(world.rotate(&retry).await.decision, Decision::Retry { .. }));
        token = call.successor.hash;
    }
    let before = world.all_events().await;
    let over = Rotate { policy: strict.clone(), ..world.call(&session, token) };
    let Decision::Limited { retry_after_ms } = world.rotate(&over).await.decision else { panic!() };
    assert!((590_000..=600_000).contains(&retry_after_ms), "{retry_after_ms}");
    assert_eq!(world.all_events().await, before);
    assert!(world.stores.sessions.is_current(session.handle, token).await.unwrap());
    world.clock.advance_ms(retry_after_ms);
    assert!(matches!(world.rotate(&over).await.decision, Decision::Rotate { .. }));
}

async fn a_shadowed_quota_only_counts(world: World) {
    let session = started(&world).await;
    let shadow = RotationPolicy { quota: quota("1/h", 1), shadow: Shadow::Counted, ..policy() };
    let mut token = session.token;
    for _ in 0..3 {
        let call = Rotate { policy: shadow.clone(), ..world.call(&session, token) };
        assert!(matches!(world.rotate(&call).await.decision, Decision::Rotate { .. }));
        token = call.successor.hash;
    }
}

async fn refusals_change_nothing(world: World) {
    let session = started(&world).await;
    let found = world.stores.sessions.find(&session.id).await.unwrap();
    let before = world.all_events().await;
    let cookie = Rotate { transport: Transport::Cookie, ..world.call(&session, session.token) };
    assert_eq!(world.rotate(&cookie).await.decision, Decision::WrongTransport);
    assert_eq!(world.stores.sessions.find(&session.id).await.unwrap(), found);
    world.clock.advance_ms(14 * DAY_MS + 1_000);
    assert_eq!(world.rotate(&world.call(&session, session.token)).await.decision, Decision::Expired);
    let spent = world.call(&session, TokenHash([9; 32]));
    assert_eq!(world.rotate(&spent).await.decision, Decision::Ended);
    assert_eq!(world.all_events().await, before);
    assert!(world.stores.sessions.revocations(FeedCursor::default()).await.unwrap().0.is_empty());
}

async fn a_follower_is_stopped(world: World) {
    let session = started(&world).await;
    let mut token = session.token;
    for generation in 1..=3 {
        let call = world.call(&session, token);
        assert!(matches!(world.rotate(&call).await.decision, Decision::Rotate { .. }));
        let stray = Rotate { origin: elsewhere(), ..world.call(&session, token) };
        let decision = world.rotate(&stray).await.decision;
        if generation < 3 {
            assert!(matches!(decision, Decision::Retry { .. }), "{generation} {decision:?}");
        } else {
            assert_eq!(decision, Decision::Replay(ReplayKind::Follower));
        }
        token = call.successor.hash;
    }
    let filter = EventFilter { action: Some("session.retried".into()), ..EventFilter::default() };
    let retried = world.stores.audit.list(filter, PageRequest::first(9)).await.unwrap().items;
    assert!(retried.iter().all(|event| event.detail.contains(&("remark".into(), "elsewhere".into()))));
}

async fn seals_are_swept_when_no_grace_can_need_them(world: World) {
    let session = started(&world).await;
    let sibling = world.session(&world.account("bob@example.org").await).await;
    world.rotate(&world.call(&session, session.token)).await;
    world.rotate(&keyed(world.call(&sibling, sibling.token), 1)).await;
    world.clock.advance_secs(125);
    assert_eq!(world.stores.sessions.sweep(super::GRACE_MS, DAY_MS, 100).await.unwrap(), 0);
    world.clock.advance_secs(10);
    assert_eq!(world.stores.sessions.sweep(super::GRACE_MS, DAY_MS, 100).await.unwrap(), 1);
    world.clock.advance_ms(DAY_MS);
    // The keyed seal and the row that remembers its key.
    assert_eq!(world.stores.sessions.sweep(super::GRACE_MS, DAY_MS, 100).await.unwrap(), 2);
    let late = Successor { hash: TokenHash([1; 32]), sealed: None };
    let call = Rotate { successor: late, ..world.call(&session, session.token) };
    assert_eq!(world.rotate(&call).await.decision, Decision::Replay(ReplayKind::LateParent));
}
