//! The steps one by one, and whole histories in which no live token may lose its key.

use super::*;
use crate::domain::{instance::INSTANCE_LIVE_MS, key::KeyAlgorithm};

const PLAN: KeyPlan =
    KeyPlan { rotate_every_ms: 1_000_000, stage_ms: 50_000, cache_ms: 300, skew_ms: 60, access_ttl_ms: 600 };

pub(super) fn key(random: u8, state: KeyState, at_ms: i64) -> SigningKey {
    SigningKey {
        id: KeyId::new(at_ms, [random; 10]),
        algorithm: KeyAlgorithm::EdDsa,
        state,
        public: Vec::new(),
        wrapped: Vec::new(),
        kek: "kek_1".into(),
        created_ms: at_ms,
        promote_after_ms: None,
        activated_ms: (state >= KeyState::Active).then_some(at_ms),
        retiring_ms: (state >= KeyState::Retiring).then_some(at_ms),
        ended_ms: None,
    }
}

fn beat(key: &SigningKey, since_ms: i64, beat_ms: i64) -> Heartbeat {
    let serving = [(key.id.to_string(), since_ms)].into();
    Heartbeat { instance: "a".into(), beat_ms, serving, ..Heartbeat::default() }
}

#[test]
fn a_new_installation_stages_and_signs_at_once() {
    assert_eq!(plan_steps(&[], &[], &PLAN, 0), [KeyStep::Stage]);
    let first = key(1, KeyState::Staged, 0);
    assert_eq!(plan_steps(std::slice::from_ref(&first), &[], &PLAN, 0), [KeyStep::Activate(first.id)]);
}

#[test]
fn a_requested_rotation_waits_until_every_live_instance_served_the_key_long_enough() {
    let active = key(1, KeyState::Active, 0);
    let staged = SigningKey { promote_after_ms: Some(0), ..key(2, KeyState::Staged, 1_000) };
    let keys = [active, staged.clone()];
    let known = |beats: &[Heartbeat], now_ms| plan_steps(&keys, beats, &PLAN, now_ms).len();
    assert_eq!(known(&[beat(&staged, 1_000, 1_359)], 1_359), 0);
    assert_eq!(known(&[beat(&staged, 1_000, 1_360)], 1_360), 1);
    let late = Heartbeat { instance: "b".into(), beat_ms: 1_360, ..Heartbeat::default() };
    assert_eq!(known(&[beat(&staged, 1_000, 1_360), late.clone()], 1_360), 0);
    let from_ms = |beats: &[Heartbeat]| known_everywhere_ms(&staged, beats, &PLAN, 1_360);
    assert_eq!(from_ms(&[beat(&staged, 1_000, 1_360)]), Some(1_360));
    assert_eq!(from_ms(&[beat(&staged, 1_000, 1_360), beat(&staged, 1_200, 1_360)]), Some(1_560));
    assert_eq!(from_ms(&[beat(&staged, 1_000, 1_360), late.clone()]), None);
    assert_eq!(instances_without(&staged, &[beat(&staged, 1_000, 1_360), late.clone()], 1_360), 1);
    let dead = Heartbeat { beat_ms: 1_360 - INSTANCE_LIVE_MS - 1, ..late.clone() };
    assert_eq!(known(&[beat(&staged, 1_000, 1_360), dead], 1_360), 1);
    let ended = Heartbeat { left_ms: Some(1_350), ..late };
    assert_eq!(known(&[beat(&staged, 1_000, 1_360), ended], 1_360), 1);
    assert_eq!(known(&[], 1_000_000), 0, "nobody said that they serve it");
}

#[test]
fn a_scheduled_rotation_waits_for_age_and_stage() {
    let active = key(1, KeyState::Active, 0);
    let staged = key(2, KeyState::Staged, 990_000);
    let keys = [active, staged.clone()];
    assert!(plan_steps(&keys, &[beat(&staged, 990_000, 1_000_000)], &PLAN, 1_000_000).is_empty());
    assert_eq!(promotes_ms(keys.first(), &staged, &[beat(&staged, 990_000, 990_000)], &PLAN, 990_000), 1_040_000);
    assert_eq!(plan_steps(&keys, &[beat(&staged, 990_000, 1_040_000)], &PLAN, 1_040_000).len(), 1);
}

#[test]
fn a_retiring_key_stays_published_until_its_last_token_is_dead_everywhere() {
    let keys = [key(3, KeyState::Retiring, 0), key(1, KeyState::Active, 0), key(2, KeyState::Staged, 0)];
    let gone_ms = 960 + KEYS_KNOWN_MS;
    assert!(plan_steps(&keys, &[], &PLAN, gone_ms - 1).is_empty());
    assert_eq!(plan_steps(&keys, &[], &PLAN, gone_ms), [KeyStep::Retire(keys[0].id.clone())]);
}

#[test]
fn what_another_instance_serves_or_served_counts_as_well() {
    let beat =
        |beat_ms, cache_ms, access_ttl_ms| Heartbeat { beat_ms, cache_ms, access_ttl_ms, ..Heartbeat::default() };
    let (day, now) = (CACHES_KEPT_MS, 3 * CACHES_KEPT_MS);
    let seen = PLAN.over(&[beat(now - day, 900, 1), beat(now - day - 1, 5_000, 700)], now);
    assert_eq!((seen.cache_ms, seen.access_ttl_ms, seen.skew_ms), (900, 700, PLAN.skew_ms));
    assert_eq!(PLAN.over(&[beat(now, 1, 1)], now), PLAN);
}
