//! The audit chain where it is stored: every event is written with its MAC, and what is stored verifies.

use super::{World, notary, on_every_store};
use authd::domain::{
    audit::{Action, Actor, Event, StoredEvent},
    chain::{Notary as _, Purged},
    session::Recording,
};
use shared::chain::{AuditKey, Authenticity, Checkpoint, Entry, GENESIS, Tombstone, Verifier};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

on_every_store!(
    every_way_to_write_an_event_gives_it_its_mac,
    what_is_sealed_verifies_and_an_intruder_is_sealed_and_told_of,
    a_chain_whose_next_places_are_taken_or_whose_head_was_moved_goes_on_and_tells_of_it,
    a_checkpoint_has_one_place,
    events_go_only_where_a_tombstone_covers_them,
);

fn is_authentic(entry: &Entry) -> bool {
    entry.fields().mac(|known| notary().keyed(known)).as_slice() == entry.mac
}

async fn unsealed(world: &World) -> Vec<Entry> {
    world.stores.chain.unsealed("", 1_000).await.unwrap()
}

async fn every_way_to_write_an_event_gives_it_its_mac(world: World) {
    let account = world.account("ada@example.org").await;
    let session = world.session(&account).await;
    let mut call = world.call(&session, session.token);
    call.recording = Recording::All;
    world.rotate(&call).await;
    // The answer was lost: it is asked for again.
    call.event = world.event(Action::SessionRefreshed);
    world.rotate(&call).await;
    let others: Vec<Event> = (0..3).map(|_| world.event(Action::LoginDenied)).collect();
    world.stores.audit.append(others).await.unwrap();
    let operator = Actor::Operator { uid: 1_000, login_uid: Some(u32::MAX), pid: Some(-1) };
    world.stores.audit.append(vec![world.event(Action::AuditRead).by(operator).with("ä", "\u{1b}\"")]).await.unwrap();
    let kept = StoredEvent::from(&world.event(Action::LoginDenied).denied("x").about("user", "-"));
    world.stores.audit.merge(vec![kept]).await.unwrap();
    world.revoke(&session.id).await;
    let written = unsealed(&world).await;
    let actions: Vec<&str> = written.iter().map(|entry| entry.action.as_str()).collect();
    for action in ["user.created", "session.opened", "session.refreshed", "session.retried", "session.revoked"] {
        assert!(actions.contains(&action), "{action} in {actions:?}");
    }
    let refreshed = written.iter().find(|entry| entry.action == "session.refreshed").unwrap();
    assert_eq!(
        (refreshed.actor_id.as_deref(), refreshed.target_id.as_deref()),
        (Some(account.as_str()), Some(session.id.as_str()))
    );
    for entry in &written {
        assert!(is_authentic(entry), "{entry:?}");
    }
}

const INTRUDER: &str = "INSERT INTO event (id, at_ms, action, outcome, actor_kind, detail, mac)
    VALUES ('no id at all', 5, 'login.succeeded', 'ok', 'anonymous', 'no JSON', X'00')";

async fn execute(world: &World, statement: &str) {
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    if world.dir.is_some() {
        SqliteConnection::connect(&world.url).await.unwrap().execute(sqlx::query(statement)).await.unwrap();
    } else {
        PgConnection::connect(&world.url).await.unwrap().execute(sqlx::query(statement)).await.unwrap();
    }
}

async fn what_is_sealed_verifies_and_an_intruder_is_sealed_and_told_of(world: World) {
    let audit = &world.stores.audit;
    audit.append((0..5).map(|_| world.event(Action::AuditRead)).collect()).await.unwrap();
    let sealed = audit.seal(10).await.unwrap();
    assert_eq!((sealed.count, sealed.forged.len()), (5, 0));
    let check = |entries: Vec<Entry>| {
        let mut verifier = Verifier::default();
        for entry in &entries {
            verifier.event(entry, if is_authentic(entry) { Authenticity::Good } else { Authenticity::Bad });
        }
        verifier.finish()
    };
    let report = check(world.stores.chain.sealed(0, i64::MAX, 100).await.unwrap());
    assert_eq!((report.found, report.events, report.last_seq), (0, 5, Some(5)), "{report:?}");
    if world.url == "sqlite::memory:" {
        return;
    }
    let intruder = if world.dir.is_some() { INTRUDER.to_owned() } else { INTRUDER.replace("X'00'", "'\\x00'") };
    execute(&world, &intruder).await;
    audit.append(vec![world.event(Action::AuditRead)]).await.unwrap();
    let sealed = audit.seal(10).await.unwrap();
    assert_eq!((sealed.count, sealed.forged), (2, vec!["no id at all".to_owned()]));
    let report = check(world.stores.chain.sealed(0, i64::MAX, 100).await.unwrap());
    assert_eq!((report.found, report.findings[0].id.as_deref()), (1, Some("no id at all")), "{report:?}");
    assert_eq!(audit.after(0, 100).await.unwrap().len(), 6, "what does not read hides nothing else");
}

async fn a_chain_whose_next_places_are_taken_or_whose_head_was_moved_goes_on_and_tells_of_it(world: World) {
    if world.url == "sqlite::memory:" {
        return;
    }
    let audit = &world.stores.audit;
    let some = |count| (0..count).map(|_| world.event(Action::AuditRead)).collect::<Vec<_>>();
    audit.append(some(3)).await.unwrap();
    audit.seal(10).await.unwrap();
    for (id, seq) in [("a", 4), ("b", 6), ("c", 9), ("far", i64::MAX)] {
        let bytes = if world.dir.is_some() { "X'00'" } else { "'\\x00'" };
        let intruder = format!(
            "INSERT INTO event (id, seq, hash, at_ms, action, outcome, actor_kind, detail, mac)
            VALUES ('{id}', {seq}, {bytes}, 5, 'login.succeeded', 'ok', 'anonymous', '[]', {bytes})"
        );
        execute(&world, &intruder).await;
    }
    audit.append(some(2)).await.unwrap();
    let sealed = audit.seal(10).await.unwrap();
    assert_eq!((sealed.count, sealed.misplaced, sealed.head), (2, vec!["a".to_owned(), "b".to_owned()], 7));
    execute(&world, "UPDATE chain_head SET seq = 2").await;
    let sealed = audit.seal(10).await.unwrap();
    assert_eq!(
        (sealed.count, sealed.misplaced.len(), sealed.head),
        (0, 6, 7),
        "the third to the seventh, and the head"
    );
    audit.append(some(2)).await.unwrap();
    assert_eq!(audit.seal(10).await.unwrap().head, 10);
    assert_eq!(audit.head().await.unwrap(), 10);
    let seen = audit.after(0, 100).await.unwrap();
    assert_eq!(seen.last().unwrap().seq, Some(10), "nobody who follows the log jumps to the end of numbers");
    let mut verifier = Verifier::default();
    for entry in &world.stores.chain.sealed(0, 10, 100).await.unwrap() {
        verifier.event(entry, if is_authentic(entry) { Authenticity::Good } else { Authenticity::Bad });
    }
    let found: Vec<_> = verifier.finish().findings.into_iter().filter_map(|finding| finding.id).collect();
    assert_eq!(found, ["a", "b", "c"], "and nothing that is genuine");
}

fn checkpoint(number: i64, seq: i64, hash: &[u8]) -> Checkpoint {
    let mut checkpoint = Checkpoint {
        number,
        seq,
        hash: hash.to_vec(),
        at_ms: 5,
        anchored_seq: 0,
        key: notary().key_id().to_owned(),
        signature: Vec::new(),
    };
    checkpoint.signature = notary().sign(&checkpoint.message());
    checkpoint
}

async fn a_checkpoint_has_one_place(world: World) {
    let chain = &world.stores.chain;
    world.stores.audit.append(vec![world.event(Action::AuditRead)]).await.unwrap();
    world.stores.audit.seal(10).await.unwrap();
    let tail = chain.tail().await.unwrap();
    assert_eq!(tail.last, Some((1, Some(tail.head_hash.clone()))));
    let first = checkpoint(1, 1, &tail.head_hash);
    assert!(chain.add_checkpoint(first.clone()).await.unwrap());
    assert!(!chain.add_checkpoint(checkpoint(1, 1, &GENESIS)).await.unwrap());
    assert_eq!(chain.last_checkpoint().await.unwrap(), Some(first.clone()));
    assert_eq!(chain.checkpoints(0, 10).await.unwrap(), [(first, Some(tail.head_hash))]);
    let key = AuditKey { id: "aud_1".into(), public: notary().public(), created_ms: 3 };
    chain.add_key(key.clone(), [1; 32]).await.unwrap();
    chain.add_key(AuditKey { created_ms: 4, ..key.clone() }, [2; 32]).await.unwrap();
    assert_eq!(chain.keys().await.unwrap(), [(key, vec![1; 32])], "the first stays");
}

fn tombstone(number: i64, up_to_seq: i64, count: i64) -> Tombstone {
    Tombstone {
        number,
        from_seq: 1,
        up_to_seq,
        hash: GENESIS.to_vec(),
        count,
        checkpoint: 1,
        cut_off_ms: 1,
        at_ms: 2,
        key: "aud_1".into(),
        signature: vec![1],
    }
}

async fn events_go_only_where_a_tombstone_covers_them(world: World) {
    let (audit, chain) = (&world.stores.audit, &world.stores.chain);
    audit.append((0..6).map(|_| world.event(Action::AuditRead)).collect()).await.unwrap();
    audit.seal(10).await.unwrap();
    assert!(chain.add_checkpoint(checkpoint(1, 4, &GENESIS)).await.unwrap());
    assert!(chain.add_checkpoint(checkpoint(2, 6, &GENESIS)).await.unwrap());
    let event = || world.event(Action::AuditPurged);
    assert_eq!(chain.purge(tombstone(1, 4, 5), event()).await.unwrap(), Purged::Differs { found: 4 });
    assert!(chain.tombstones().await.unwrap().is_empty(), "nothing has changed");
    assert_eq!(chain.purge(tombstone(1, 4, 4), event()).await.unwrap(), Purged::Done);
    assert_eq!(chain.purge(tombstone(1, 6, 2), event()).await.unwrap(), Purged::Overtaken);
    assert_eq!(chain.tombstones().await.unwrap(), [tombstone(1, 4, 4)]);
    let left: Vec<Option<i64>> = audit.after(0, 10).await.unwrap().iter().map(|event| event.seq).collect();
    assert_eq!(left, [Some(5), Some(6)]);
    assert_eq!(chain.checkpoints(0, 10).await.unwrap().len(), 1);
    assert_eq!(world.events(Action::AuditPurged).await.len(), 1);
}
