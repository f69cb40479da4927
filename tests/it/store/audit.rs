//! Events: what is stored, how they are found, how they are sealed.

use super::{World, home, on_every_store};
use authd::domain::{
    audit::{Action, Actor, Event, EventFilter, StoredEvent},
    page::PageRequest,
};
use std::sync::Arc;

on_every_store!(
    an_event_reads_back_with_every_field,
    an_event_that_was_kept_elsewhere_is_merged_once_and_reads_back_the_same,
    lists_are_paged_newest_first,
    filters_select,
    sealing_gives_every_event_one_place,
    a_probe_says_whether_events_can_be_written_and_leaves_none,
    parallel_sealers_do_not_fork_the_chain,
);

fn full(world: &World) -> Event {
    let event = Event { network: home().network, device: home().device, ..world.event(Action::LoginDenied) };
    Event { request_id: Some("req-1".into()), ..event }
        .denied("INVALID_CREDENTIALS")
        .by(Actor::Operator { uid: 1_000, login_uid: Some(1_001), pid: Some(42) })
        .about("user", "usr_x")
        .with("b", "2\u{1b}[31m\"")
        .with("a", "1")
}

async fn an_event_reads_back_with_every_field(world: World) {
    let event = full(&world);
    world
        .stores
        .audit
        .append(vec![event.clone(), world.event(Action::AuditRead).by(Actor::Job("seal"))])
        .await
        .unwrap();
    let found = world.events(Action::LoginDenied).await.remove(0);
    assert_eq!((&found.id, found.seq, found.at_ms), (&event.id, None, event.at_ms));
    assert_eq!((found.action.as_str(), found.outcome.as_str()), ("login.denied", "denied"));
    assert_eq!((found.reason.as_deref(), found.request_id.as_deref()), (Some("INVALID_CREDENTIALS"), Some("req-1")));
    assert_eq!((found.actor_kind.as_str(), found.actor_id), ("operator", None));
    assert_eq!((found.actor_uid, found.actor_login_uid, found.actor_pid), (Some(1_000), Some(1_001), Some(42)));
    assert_eq!((found.target_kind.as_deref(), found.target_id.as_deref()), (Some("user"), Some("usr_x")));
    assert_eq!((found.network.as_deref(), found.device.as_deref()), (Some("192.0.2.0/24"), Some("Firefox on Linux")));
    let facts = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2\u{1b}[31m\"".to_owned())];
    assert_eq!(found.detail, facts);
    let job = world.events(Action::AuditRead).await.remove(0);
    assert_eq!((job.actor_kind.as_str(), job.actor_id.as_deref(), job.actor_uid), ("job", Some("seal"), None));
}

async fn an_event_that_was_kept_elsewhere_is_merged_once_and_reads_back_the_same(world: World) {
    let (kept, written) = (full(&world), full(&world));
    world.stores.audit.append(vec![written.clone()]).await.unwrap();
    let kept: Vec<StoredEvent> = [&kept, &written].map(StoredEvent::from).to_vec();
    world.stores.audit.merge(kept.clone()).await.unwrap();
    world.stores.audit.seal(100).await.unwrap();
    world.stores.audit.merge(kept.clone()).await.unwrap();
    world.stores.audit.merge(Vec::new()).await.unwrap();
    let mut found = world.events(Action::LoginDenied).await;
    found.sort_by_key(|event| event.id != kept[0].id);
    assert!(found.iter().all(|event| event.seq.is_some()), "sealed like any other");
    let unsealed: Vec<StoredEvent> = found.into_iter().map(|event| StoredEvent { seq: None, ..event }).collect();
    assert_eq!(unsealed, kept);
}

async fn lists_are_paged_newest_first(world: World) {
    for _ in 0..5 {
        world.stores.audit.append(vec![world.event(Action::AuditRead)]).await.unwrap();
        world.clock.advance_ms(3);
    }
    let first = world.stores.audit.list(EventFilter::default(), PageRequest::first(3)).await.unwrap();
    let rest = PageRequest { limit: 3, after: first.next.clone() };
    let rest = world.stores.audit.list(EventFilter::default(), rest).await.unwrap();
    let times: Vec<i64> = first.items.iter().chain(&rest.items).map(|event| event.at_ms).collect();
    assert_eq!((times.len(), rest.next), (5, None));
    assert!(times.is_sorted_by(|a, b| a > b));
}

async fn filters_select(world: World) {
    let user = world.event(Action::LoginSucceeded).by(Actor::User("usr_a".into()));
    let later = Event { at_ms: user.at_ms + 1_000, ..world.event(Action::LimitChanged) };
    let at_ms = user.at_ms;
    world.stores.audit.append(vec![Event { at_ms, ..full(&world) }, user, later]).await.unwrap();
    let all = EventFilter::default;
    let cases = [
        (EventFilter { action: Some("login".into()), ..all() }, 2),
        (EventFilter { action: Some("log".into()), ..all() }, 0),
        (EventFilter { action: Some("login.denied".into()), ..all() }, 1),
        (EventFilter { actor: Some("1000".into()), ..all() }, 1),
        (EventFilter { actor: Some("usr_a".into()), ..all() }, 1),
        (EventFilter { target: Some("usr_x".into()), ..all() }, 1),
        (EventFilter { network: Some("192.0.2.0/24".into()), ..all() }, 1),
        (EventFilter { outcome: Some("ok".into()), ..all() }, 2),
        (EventFilter { request_id: Some("req-1".into()), ..all() }, 1),
        (EventFilter { since_ms: Some(at_ms + 1), ..all() }, 1),
        (EventFilter { until_ms: Some(at_ms + 1), ..all() }, 2),
    ];
    for (filter, expected) in cases {
        let page = world.stores.audit.list(filter.clone(), PageRequest::first(9)).await.unwrap();
        assert_eq!((page.items.len(), page.total), (expected, Some(expected as u64)), "{filter:?}");
    }
}

async fn sealing_gives_every_event_one_place(world: World) {
    assert_eq!((world.stores.audit.head().await.unwrap(), world.stores.audit.seal(10).await.unwrap().count), (0, 0));
    let events: Vec<Event> = (0..607).map(|_| world.event(Action::AuditRead)).collect();
    world.stores.audit.append(events).await.unwrap();
    assert_eq!(world.stores.audit.seal(600).await.unwrap().count, 600);
    assert_eq!(world.stores.audit.seal(600).await.unwrap().count, 7);
    assert_eq!(world.stores.audit.head().await.unwrap(), 607);
    let sealed = world.stores.audit.after(605, 10).await.unwrap();
    assert_eq!(sealed.iter().map(|event| event.seq).collect::<Vec<_>>(), [Some(606), Some(607)]);
    let all = world.stores.audit.after(0, 1_000).await.unwrap();
    assert!(all.iter().enumerate().all(|(at, event)| event.seq == i64::try_from(at + 1).ok()));
    assert!(world.stores.audit.after(607, 10).await.unwrap().is_empty());
}

async fn a_probe_says_whether_events_can_be_written_and_leaves_none(world: World) {
    let event = world.event(Action::AuditRead);
    world.stores.audit.probe(event.clone()).await.unwrap();
    assert_eq!(world.all_events().await, 0);
    world.stores.audit.append(vec![event.clone()]).await.unwrap();
    // An id that the log has already: the event cannot be written.
    assert!(world.stores.audit.probe(event).await.is_err());
    assert_eq!(world.all_events().await, 1);
}

async fn parallel_sealers_do_not_fork_the_chain(world: World) {
    let world = Arc::new(world);
    let events: Vec<Event> = (0..200).map(|_| world.event(Action::AuditRead)).collect();
    world.stores.audit.append(events).await.unwrap();
    let mut sealers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let audit = world.stores.audit.clone();
        sealers.spawn(async move {
            let mut sealed = 0;
            for _ in 0..10 {
                sealed += audit.seal(30).await.unwrap().count;
            }
            sealed
        });
    }
    assert_eq!(sealers.join_all().await.iter().sum::<u32>(), 200);
    assert_eq!(world.stores.audit.head().await.unwrap(), 200);
    assert_eq!(world.stores.audit.after(0, 1_000).await.unwrap().len(), 200);
}
