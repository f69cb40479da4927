//! Live settings and readiness.

use super::{World, on_every_store};
use authd::domain::audit::Action;

on_every_store!(
    a_setting_reads_back_and_its_version_grows,
    a_setting_counts_as_absent_after_its_life,
    removing_an_absent_setting_is_recorded_all_the_same,
    a_probe_tells_database_time,
);

async fn put(world: &World, value: &str, life_ms: Option<i64>) {
    let event = world.event(Action::LimitChanged);
    world.stores.settings.put("limit.login.ip", value, "uid 0", life_ms, event).await.unwrap();
}

async fn a_setting_reads_back_and_its_version_grows(world: World) {
    put(&world, "1", None).await;
    let first = world.stores.settings.all().await.unwrap().remove(0);
    assert_eq!(
        (first.name.as_str(), first.value.as_str(), first.changed_by.as_str()),
        ("limit.login.ip", "1", "uid 0")
    );
    assert_eq!(first.expires_ms, None);
    put(&world, "2", Some(60_000)).await;
    let all = world.stores.settings.all().await.unwrap();
    assert_eq!((all.len(), all[0].value.as_str()), (1, "2"));
    assert!(all[0].version > first.version);
    assert_eq!(all[0].expires_ms, Some(all[0].changed_ms + 60_000));
    world.clock.advance_ms(5);
    world.stores.settings.remove("limit.login.ip", world.event(Action::LimitReset)).await.unwrap();
    assert!(world.stores.settings.all().await.unwrap().is_empty());
    put(&world, "3", None).await;
    assert!(world.stores.settings.all().await.unwrap()[0].version > all[0].version);
    assert_eq!(world.events(Action::LimitChanged).await.len(), 3);
}

async fn a_setting_counts_as_absent_after_its_life(world: World) {
    put(&world, "1", Some(60_000)).await;
    world.clock.advance_secs(61);
    assert!(world.stores.settings.all().await.unwrap().is_empty());
}

async fn removing_an_absent_setting_is_recorded_all_the_same(world: World) {
    world.stores.settings.remove("limit.login.ip", world.event(Action::LimitReset)).await.unwrap();
    assert_eq!(world.events(Action::LimitReset).await.len(), 1);
}

async fn a_probe_tells_database_time(world: World) {
    let first_ms = world.stores.readiness.probe().await.unwrap();
    world.clock.advance_secs(60);
    assert!(world.stores.readiness.probe().await.unwrap() >= first_ms + 60_000);
    assert_eq!(world.stores.readiness.outages().since_ms(), None);
    let kind = if world.url.starts_with("sqlite") { "sqlite" } else { "postgres" };
    assert_eq!(world.stores.readiness.kind(), kind);
}
