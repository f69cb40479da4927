//! Signing keys, the binding to a key-encryption key, heartbeats.

use super::{DAY_MS, World, on_every_store};
use authd::domain::{
    audit::Action,
    key::{KeyAlgorithm, KeyState, SigningKey},
};
use shared::id::KeyId;
use std::sync::Arc;

on_every_store!(
    a_key_lives_from_staged_to_retired,
    one_key_is_staged_at_a_time,
    a_promotion_is_asked_for_once_it_is_staged,
    of_parallel_activations_one_happens,
    the_first_key_encryption_key_binds,
    heartbeats_remember_since_when_a_key_is_served,
);

fn key(world: &World) -> SigningKey {
    SigningKey {
        id: KeyId::new(1, world.bytes()),
        algorithm: KeyAlgorithm::Es256,
        state: KeyState::Staged,
        public: vec![1, 2],
        wrapped: vec![3, 4],
        created_ms: 0,
        promote_after_ms: None,
        activated_ms: None,
        retiring_ms: None,
        ended_ms: None,
    }
}

async fn staged(world: &World) -> SigningKey {
    let key = key(world);
    assert!(world.stores.keys.stage(key.clone(), world.event(Action::KeyStaged)).await.unwrap());
    key
}

async fn states(world: &World) -> Vec<(KeyId, KeyState)> {
    world.stores.keys.keys().await.unwrap().into_iter().map(|key| (key.id, key.state)).collect()
}

async fn a_key_lives_from_staged_to_retired(world: World) {
    let first = staged(&world).await;
    let stored = world.stores.keys.keys().await.unwrap().remove(0);
    let expected = SigningKey { created_ms: stored.created_ms, ..first.clone() };
    assert_eq!(stored, expected);
    assert!(stored.created_ms > 1_600_000_000_000, "database time");
    let activate = |id: KeyId| {
        let event = world.event(Action::KeyActivated);
        let keys = world.stores.keys.clone();
        async move { keys.activate(&id, event).await.unwrap() }
    };
    assert!(activate(first.id.clone()).await);
    assert!(!activate(first.id.clone()).await);
    world.clock.advance_ms(10);
    let second = staged(&world).await;
    assert!(activate(second.id.clone()).await);
    let expected = [(first.id.clone(), KeyState::Retiring), (second.id.clone(), KeyState::Active)];
    assert_eq!(states(&world).await, expected);
    let retire = |id: KeyId| {
        let event = world.event(Action::KeyRetired);
        let keys = world.stores.keys.clone();
        async move { keys.retire(&id, event).await.unwrap() }
    };
    assert!(retire(first.id.clone()).await);
    assert!(!retire(first.id.clone()).await && !retire(second.id.clone()).await);
    let retired = world.stores.keys.keys().await.unwrap().remove(0);
    assert!(retired.wrapped.is_empty() && retired.ended_ms.is_some() && retired.retiring_ms.is_some());
    world.clock.advance_ms(31 * DAY_MS);
    assert_eq!(states(&world).await, [(second.id, KeyState::Active)]);
    assert_eq!(world.events(Action::KeyStaged).await.len(), 2);
    assert_eq!(world.events(Action::KeyActivated).await.len(), 2);
    assert_eq!(world.events(Action::KeyRetired).await.len(), 1);
}

async fn one_key_is_staged_at_a_time(world: World) {
    let world = Arc::new(world);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (keys, key, event) = (world.stores.keys.clone(), key(&world), world.event(Action::KeyStaged));
        calls.spawn(async move { keys.stage(key, event).await.unwrap() });
    }
    assert_eq!(calls.join_all().await.iter().filter(|staged| **staged).count(), 1);
    assert_eq!((states(&world).await.len(), world.all_events().await), (1, 1));
}

async fn a_promotion_is_asked_for_once_it_is_staged(world: World) {
    let key = staged(&world).await;
    let ask = |id: KeyId| {
        let event = world.event(Action::KeyStaged);
        let keys = world.stores.keys.clone();
        async move { keys.request_promotion(&id, event).await.unwrap() }
    };
    assert!(!ask(KeyId::new(1, [1; 10])).await);
    assert!(ask(key.id).await);
    let stored = world.stores.keys.keys().await.unwrap().remove(0);
    assert!(stored.promote_after_ms.is_some_and(|at_ms| at_ms >= stored.created_ms));
}

async fn of_parallel_activations_one_happens(world: World) {
    let world = Arc::new(world);
    let first = staged(&world).await;
    world.stores.keys.activate(&first.id, world.event(Action::KeyActivated)).await.unwrap();
    let second = staged(&world).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (keys, id, event) = (world.stores.keys.clone(), second.id.clone(), world.event(Action::KeyActivated));
        calls.spawn(async move { keys.activate(&id, event).await.unwrap() });
    }
    assert_eq!(calls.join_all().await.iter().filter(|done| **done).count(), 1);
    let found = states(&world).await;
    assert!(found.contains(&(first.id, KeyState::Retiring)) && found.contains(&(second.id, KeyState::Active)));
}

async fn the_first_key_encryption_key_binds(world: World) {
    assert_eq!(world.stores.keys.kek_id().await.unwrap(), None);
    assert_eq!(world.stores.keys.bind_kek("kek-a").await.unwrap(), "kek-a");
    assert_eq!(world.stores.keys.bind_kek("kek-b").await.unwrap(), "kek-a");
    assert_eq!(world.stores.keys.kek_id().await.unwrap().as_deref(), Some("kek-a"));
    assert!(world.stores.settings.all().await.unwrap().is_empty(), "it is no live setting");
}

async fn heartbeats_remember_since_when_a_key_is_served(world: World) {
    let serving = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    let (beats, first_ms) = world.stores.keys.beat("a", &serving(&["key_1"])).await.unwrap();
    assert_eq!((beats.len(), beats[0].beat_ms, beats[0].serving["key_1"]), (1, first_ms, first_ms));
    world.clock.advance_secs(5);
    world.stores.keys.beat("b", &[]).await.unwrap();
    let (beats, now_ms) = world.stores.keys.beat("a", &serving(&["key_1", "key_2"])).await.unwrap();
    assert_eq!(beats.iter().map(|beat| beat.instance.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((beats[0].serving["key_1"], beats[0].serving["key_2"], beats[0].beat_ms), (first_ms, now_ms, now_ms));
    assert!(now_ms >= first_ms + 5_000);
    world.stores.keys.beat("a", &serving(&["key_2"])).await.unwrap();
    world.clock.advance_ms(DAY_MS + 1_000);
    let (beats, _) = world.stores.keys.beat("c", &[]).await.unwrap();
    assert_eq!(beats.len(), 1, "a day later the others are forgotten");
}
