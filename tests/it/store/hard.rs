//! Counting password evaluations: the databases do what the rule says, also when many attempts come at once.

use super::{DAY_MS, World, on_every_store, options};
use authd::{
    domain::{
        account::{Break, PasswordHash},
        audit::Action,
        hard::{CEILING, HardCount, HardLimit, HardState, HardStore, Lane},
        limit::LimitKey,
    },
    store::open,
};
use shared::id::UserId;
use std::sync::Arc;

on_every_store!(
    every_history_of_charges_goes_as_the_rule_says,
    two_hundred_charges_at_once_get_what_the_lane_has,
    limits_that_change_in_between_give_no_more_than_a_hundred_in_all,
    an_operator_opens_both_lanes_and_every_instance_hears_of_it_for_a_minute,
    a_reset_opens_both_lanes,
    a_deleted_account_leaves_no_count,
    a_bucket_of_names_that_nobody_has_starts_afresh_after_a_month,
);

fn key(id: &UserId) -> LimitKey {
    LimitKey::id(id.as_str())
}

async fn counted(world: &World, id: &UserId) -> HardCount {
    world.stores.hard.counts(std::slice::from_ref(id)).await.unwrap()[0]
}

/// Charges until the lane is off.
async fn use_up(world: &World, id: &UserId, lane: Lane) -> u32 {
    let mut charged = 0;
    while world.stores.hard.charge(&key(id), lane, HardLimit::default()).await.unwrap().is_some() {
        charged += 1;
    }
    charged
}

async fn every_history_of_charges_goes_as_the_rule_says(world: World) {
    let limits = [(85, 15), (1, 1), (99, 1), (50, 50), (3, 20)].map(|(a, b)| HardLimit::new(a, b).unwrap());
    let below = |bound: u64| world.random.next() % bound;
    for _ in 0..6 {
        let account = world.account(&format!("user{}@example.org", world.random.next())).await;
        let (mut state, mut under_way) = (HardState::default(), Vec::new());
        for _ in 0..150 {
            match below(20) {
                0..15 => {
                    let lane = if below(4) == 0 { Lane::Known } else { Lane::Unknown };
                    let limit = limits[usize::try_from(below(5)).unwrap()];
                    let charge = world.stores.hard.charge(&key(&account), lane, limit).await.unwrap();
                    let next = state.charged(lane, limit);
                    assert_eq!(charge.is_some(), next.is_some(), "{state:?} {lane:?} {limit:?}");
                    let (Some(charge), Some(next)) = (charge, next) else { continue };
                    assert_eq!(charge.generation, state.generation);
                    let is_last = limit.is_off(next.count, lane);
                    assert_eq!(charge.rest == authd::domain::hard::Rest::None, is_last);
                    state = next;
                    under_way.push(charge);
                }
                15..19 if !under_way.is_empty() => {
                    let at = usize::try_from(below(1_000)).unwrap() % under_way.len();
                    let charge = under_way.remove(at);
                    world.stores.hard.give_back(&charge).await.unwrap();
                    state = state.given_back(charge.lane, charge.generation);
                }
                15..19 => {}
                _ => {
                    world.stores.hard.clear(&key(&account)).await.unwrap();
                    // An account that was never charged has no row to clear.
                    state = if under_way.is_empty() && state == HardState::default() { state } else { state.cleared() };
                }
            }
            assert_eq!(counted(&world, &account).await, state.count);
        }
    }
}

async fn two_hundred_charges_at_once_get_what_the_lane_has(world: World) {
    let account = world.account("ada@example.org").await;
    let mut instances = vec![world.stores.hard.clone()];
    if world.url.starts_with("postgres") {
        // As patient as the first: what is slow here is the machine.
        let patient = authd::store::StoreOptions {
            acquire_timeout: std::time::Duration::from_secs(20),
            statement_timeout: std::time::Duration::from_secs(20),
            ..options(&world.url, &world.clock)
        };
        instances.push(open(patient).await.unwrap().hard.clone());
    }
    for (lane, most) in [(Lane::Unknown, 85), (Lane::Known, 15)] {
        let mut charges = tokio::task::JoinSet::new();
        for number in 0..200 {
            let (hard, key): (Arc<dyn HardStore>, _) = (instances[number % instances.len()].clone(), key(&account));
            charges.spawn(async move { hard.charge(&key, lane, HardLimit::default()).await.unwrap() });
        }
        assert_eq!(charges.join_all().await.into_iter().flatten().count(), most);
    }
    let count = counted(&world, &account).await;
    assert_eq!(count.unknown + count.known, CEILING);
}

async fn limits_that_change_in_between_give_no_more_than_a_hundred_in_all(world: World) {
    let account = world.account("ada@example.org").await;
    let limit = |unknown, known| HardLimit::new(unknown, known).unwrap();
    let mut charged = 0;
    for (lane, limit) in [(Lane::Unknown, limit(70, 30)), (Lane::Known, limit(1, 99)), (Lane::Unknown, limit(99, 1))] {
        while world.stores.hard.charge(&key(&account), lane, limit).await.unwrap().is_some() {
            charged += 1;
            assert!(charged <= CEILING, "{lane:?} {limit:?}");
        }
    }
    assert_eq!(charged, CEILING);
}

async fn an_operator_opens_both_lanes_and_every_instance_hears_of_it_for_a_minute(world: World) {
    let account = world.account("ada@example.org").await;
    let none = world.stores.hard.open(&account, world.event(Action::UserUnlocked)).await.unwrap();
    assert!(none.is_zero());
    assert_eq!(world.stores.hard.opened_lately().await.unwrap(), []);
    assert_eq!(use_up(&world, &account, Lane::Unknown).await, 85);
    let before = world.stores.hard.open(&account, world.event(Action::UserUnlocked)).await.unwrap();
    assert_eq!(before, HardCount { unknown: 85, known: 0 });
    assert!(counted(&world, &account).await.is_zero());
    assert_eq!(world.events(Action::UserUnlocked).await.len(), 2);
    let opened: Vec<_> =
        world.stores.hard.opened_lately().await.unwrap().into_iter().map(|(account, _)| account).collect();
    assert_eq!(opened, [account]);
    world.clock.advance_secs(61);
    assert_eq!(world.stores.hard.opened_lately().await.unwrap(), []);
}

async fn a_reset_opens_both_lanes(world: World) {
    let account = world.account("ada@example.org").await;
    assert_eq!(use_up(&world, &account, Lane::Known).await, 15);
    let issued = world.event(Action::PasswordResetIssued);
    assert!(world.stores.accounts.issue_reset(&account, [1; 32], DAY_MS, issued).await.unwrap());
    let redeemed = world.event(Action::PasswordReset);
    assert!(counted(&world, &account).await.known == 15, "only its use opens");
    world.stores.accounts.redeem_reset([1; 32], PasswordHash("hash 2".into()), redeemed).await.unwrap().unwrap();
    assert!(counted(&world, &account).await.is_zero());
    assert_eq!(world.stores.hard.opened_lately().await.unwrap().len(), 1);
}

async fn a_deleted_account_leaves_no_count(world: World) {
    let account = world.account("ada@example.org").await;
    assert_eq!(use_up(&world, &account, Lane::Known).await, 15);
    let event = world.event(Action::UserDeleted);
    world.stores.accounts.break_sessions(&account, Break::Delete, event).await.unwrap();
    // An attempt that was under way while it was deleted.
    drop(world.stores.hard.charge(&key(&account), Lane::Unknown, HardLimit::default()).await.unwrap());
    world.clock.advance_secs(1);
    world.stores.sessions.sweep(0, 0, 100).await.unwrap();
    assert!(counted(&world, &account).await.is_zero());
}

async fn a_bucket_of_names_that_nobody_has_starts_afresh_after_a_month(world: World) {
    let (account, bucket) = (world.account("ada@example.org").await, LimitKey::id("unknown:77"));
    let limit = HardLimit::new(2, 1).unwrap();
    for key in [&key(&account), &bucket] {
        for is_open in [true, true, false] {
            let charge = world.stores.hard.charge(key, Lane::Unknown, limit).await.unwrap();
            assert_eq!(charge.is_some(), is_open);
        }
    }
    for (days, bucket_opens) in [(29, false), (2, true)] {
        world.clock.advance_ms(days * DAY_MS);
        world.stores.sessions.sweep(0, 0, 100).await.unwrap();
        let charge = world.stores.hard.charge(&bucket, Lane::Unknown, limit).await.unwrap();
        assert_eq!(charge.is_some(), bucket_opens, "{days}");
        assert!(world.stores.hard.charge(&key(&account), Lane::Unknown, limit).await.unwrap().is_none());
    }
}
