//! Bans and allowances of addresses.

use super::{World, on_every_store};
use authd::domain::{
    address_rule::{Added, AddressRule, NewRule, Ruling, VERSION_SETTING, parse_network},
    audit::Action,
};

on_every_store!(
    a_rule_reads_back_and_a_second_for_its_network_replaces_it,
    a_rule_counts_as_absent_after_its_life,
    removing_what_is_not_there_is_no_event_and_moves_nothing,
);

async fn add(world: &World, network: &str, ruling: Ruling, life_ms: Option<i64>) {
    let network = parse_network(network).unwrap();
    let new = NewRule { network, ruling, reason: Some("why".into()), created_by: "uid 7".into(), life_ms };
    let event = world.event(Action::AddressBanned);
    assert_eq!(world.stores.rules.add(new, event).await.unwrap(), Added::Done);
}

async fn version(world: &World) -> i64 {
    let settings = world.stores.settings.all().await.unwrap();
    settings.iter().find(|setting| setting.name == VERSION_SETTING).map_or(0, |setting| setting.version)
}

fn shown(rules: &[AddressRule]) -> Vec<(String, Ruling)> {
    let mut shown: Vec<_> = rules.iter().map(|rule| (rule.network.to_string(), rule.ruling)).collect();
    shown.sort();
    shown
}

async fn a_rule_reads_back_and_a_second_for_its_network_replaces_it(world: World) {
    add(&world, "::ffff:192.0.2.9/120", Ruling::Ban, None).await;
    let first = version(&world).await;
    let rule = world.stores.rules.all().await.unwrap().remove(0);
    assert_eq!((rule.reason.as_deref(), rule.created_by.as_str(), rule.expires_ms), (Some("why"), "uid 7", None));
    add(&world, "192.0.2.0/24", Ruling::Allow, None).await;
    add(&world, "192.0.2.0/24", Ruling::Ban, Some(60_000)).await;
    add(&world, "2001:db8::/32", Ruling::Ban, None).await;
    let rules = world.stores.rules.all().await.unwrap();
    let both = "192.0.2.0/24".to_owned();
    let expected = [(both.clone(), Ruling::Allow), (both, Ruling::Ban), ("2001:db8::/32".to_owned(), Ruling::Ban)];
    assert_eq!(shown(&rules), expected);
    let banned = rules.iter().find(|rule| rule.expires_ms.is_some()).unwrap();
    assert_eq!(banned.expires_ms, Some(banned.created_ms + 60_000));
    assert!(version(&world).await > first);
    assert_eq!(world.events(Action::AddressBanned).await.len(), 4);
}

async fn a_rule_counts_as_absent_after_its_life(world: World) {
    add(&world, "192.0.2.1", Ruling::Ban, Some(60_000)).await;
    world.clock.advance_secs(61);
    assert!(world.stores.rules.all().await.unwrap().is_empty());
    let network = parse_network("192.0.2.1").unwrap();
    let event = world.event(Action::AddressBanRemoved);
    assert!(!world.stores.rules.remove(network, Ruling::Ban, "uid 7", event).await.unwrap());
    add(&world, "192.0.2.1", Ruling::Ban, None).await;
    assert_eq!(world.stores.rules.all().await.unwrap().len(), 1);
}

async fn removing_what_is_not_there_is_no_event_and_moves_nothing(world: World) {
    add(&world, "192.0.2.1", Ruling::Ban, None).await;
    let before = version(&world).await;
    let network = parse_network("192.0.2.1").unwrap();
    let remove = |ruling| world.stores.rules.remove(network, ruling, "uid 7", world.event(Action::AddressBanRemoved));
    assert!(!remove(Ruling::Allow).await.unwrap());
    assert_eq!(version(&world).await, before);
    assert!(remove(Ruling::Ban).await.unwrap());
    assert!(version(&world).await > before);
    assert_eq!(world.events(Action::AddressBanRemoved).await.len(), 1);
    assert!(world.stores.rules.all().await.unwrap().is_empty());
}
