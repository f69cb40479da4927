//! Signing keys, what is encrypted under a key-encryption key, heartbeats.

use super::{DAY_MS, World, on_every_store};
use authd::domain::{
    audit::Action,
    instance::{Heartbeat, Presence},
    key::{KeyAlgorithm, KeyState, SigningKey},
    wrap::{Item, Wrapped},
};
use shared::id::KeyId;
use std::sync::Arc;

on_every_store!(
    a_key_lives_from_staged_to_retired,
    one_key_is_staged_at_a_time,
    a_promotion_is_asked_for_once_it_is_staged,
    of_parallel_activations_one_happens,
    of_several_root_secrets_the_first_is_the_one,
    a_root_secret_that_was_lost_is_not_made_anew,
    a_root_secret_is_not_made_anew_where_people_are,
    what_is_encrypted_moves_once_and_not_after_its_end,
    heartbeats_remember_since_when_a_key_is_served,
);

fn key(world: &World) -> SigningKey {
    SigningKey {
        id: KeyId::new(1, world.bytes()),
        algorithm: KeyAlgorithm::Es256,
        state: KeyState::Staged,
        public: vec![1, 2],
        wrapped: vec![3, 4],
        kek: "kek_1".into(),
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

fn root(kek: &str, byte: u8) -> Wrapped {
    Wrapped { item: Item::Root, kek: kek.into(), bytes: vec![byte; 40] }
}

async fn of_several_root_secrets_the_first_is_the_one(world: World) {
    assert_eq!(world.stores.wraps.wrapped().await.unwrap(), []);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..8 {
        let wraps = world.stores.wraps.clone();
        calls.spawn(async move { wraps.plant(root("kek_1", number)).await.unwrap() });
    }
    let planted = calls.join_all().await;
    assert!(planted.iter().all(|one| *one == planted[0]), "{planted:?}");
    assert_eq!(world.stores.wraps.wrapped().await.unwrap(), planted[..1]);
    assert!(world.stores.settings.all().await.unwrap().is_empty(), "it is no live setting");
}

async fn a_root_secret_that_was_lost_is_not_made_anew(world: World) {
    staged(&world).await;
    let refused = world.stores.wraps.plant(root("kek_1", 1)).await.unwrap_err();
    assert!(refused.to_string().contains("restore the database"), "{refused}");
    assert_eq!(world.stores.wraps.wrapped().await.unwrap().len(), 1, "the key alone");
}

async fn a_root_secret_is_not_made_anew_where_people_are(world: World) {
    world.account("ada@example.org").await;
    let refused = world.stores.wraps.plant(root("kek_1", 1)).await.unwrap_err();
    assert!(refused.to_string().contains("restore the database"), "{refused}");
    assert_eq!(world.stores.wraps.wrapped().await.unwrap(), []);
}

async fn what_is_encrypted_moves_once_and_not_after_its_end(world: World) {
    let wraps = world.stores.wraps.clone();
    let root = wraps.plant(root("kek_1", 1)).await.unwrap();
    let [first, second] = [staged(&world).await, {
        let keys = &world.stores.keys;
        let first = keys.keys().await.unwrap().remove(0);
        keys.activate(&first.id, world.event(Action::KeyActivated)).await.unwrap();
        world.clock.advance_ms(10);
        staged(&world).await
    }];
    let stored = wraps.wrapped().await.unwrap();
    assert_eq!(stored, [first.private(), second.private(), root], "the root secret is the last");
    for old in &stored {
        let new = Wrapped { kek: "kek_2".into(), bytes: vec![9; 50], ..old.clone() };
        assert!(wraps.rewrap(old, new.clone(), world.event(Action::KeyRewrapped)).await.unwrap());
        assert!(!wraps.rewrap(old, new, world.event(Action::KeyRewrapped)).await.unwrap(), "it has moved");
    }
    let moved = wraps.wrapped().await.unwrap();
    assert!(moved.iter().all(|row| row.kek == "kek_2" && row.bytes == [9; 50]), "{moved:?}");
    assert_eq!(world.events(Action::KeyRewrapped).await.len(), 3);
    world.stores.keys.activate(&second.id, world.event(Action::KeyActivated)).await.unwrap();
    world.stores.keys.retire(&first.id, world.event(Action::KeyRetired)).await.unwrap();
    let back = Wrapped { kek: "kek_1".into(), ..moved[0].clone() };
    assert!(!wraps.rewrap(&moved[0], back, world.event(Action::KeyRewrapped)).await.unwrap(), "it has ended");
    assert_eq!(wraps.wrapped().await.unwrap().len(), 2);
}

fn presence(instance: &str, serving: &[&str]) -> Presence {
    let serving = serving.iter().map(|key| (*key).to_owned()).collect();
    Presence {
        instance: instance.into(),
        serving,
        keks: vec!["kek_2".into(), "kek_1".into()],
        cache_ms: 7,
        access_ttl_ms: 8,
    }
}

async fn heartbeats_remember_since_when_a_key_is_served(world: World) {
    let keys = world.stores.keys.clone();
    let (beats, first_ms) = keys.beat(&presence("a", &["key_1"])).await.unwrap();
    assert_eq!((beats.len(), beats[0].beat_ms, beats[0].serving["key_1"]), (1, first_ms, first_ms));
    world.clock.advance_secs(5);
    keys.beat(&presence("b", &[])).await.unwrap();
    let (beats, now_ms) = keys.beat(&presence("a", &["key_1", "key_2"])).await.unwrap();
    assert_eq!(beats.iter().map(|beat| beat.instance.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let serving = [("key_1".to_owned(), first_ms), ("key_2".to_owned(), now_ms)].into();
    let Presence { instance, keks, cache_ms, access_ttl_ms, .. } = presence("a", &[]);
    let heard = Heartbeat { instance, beat_ms: now_ms, left_ms: None, serving, keks, cache_ms, access_ttl_ms };
    assert_eq!(beats[0], heard);
    assert!(now_ms >= first_ms + 5_000);
    keys.beat(&presence("a", &["key_2"])).await.unwrap();
    keys.leave("a").await.unwrap();
    let (beats, now_ms) = keys.beats().await.unwrap();
    assert!(beats[0].left_ms.is_some() && !beats[0].is_live(now_ms) && beats[1].is_live(now_ms), "{beats:?}");
    world.clock.advance_ms(3 * DAY_MS + 1_000);
    let (beats, _) = keys.beat(&presence("c", &[])).await.unwrap();
    assert_eq!(beats.len(), 1, "three days later the others are forgotten");
}
