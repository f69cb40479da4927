//! Making, finding and listing accounts.

use super::{DAY_MS, World, on_every_store, username};
use authd::domain::{
    account::{AccountFilter, Break, Created, Disabled, NewAccount, PasswordHash, Registered},
    audit::Action,
    identifier::IdentifierKind,
    page::PageRequest,
    session::{Opened, SessionState},
};
use shared::id::UserId;
use std::{collections::BTreeSet, sync::Arc};

on_every_store!(
    an_account_reads_back_by_each_name,
    a_registration_opens_the_first_session,
    a_taken_name_leaves_nothing_behind,
    of_parallel_registrations_one_wins,
    a_repeated_registration_is_recognised_for_a_day,
    a_better_hash_replaces_only_the_one_it_was_made_from,
    the_costs_of_passwords_are_known,
    lists_are_paged_with_live_sessions,
    filters_select,
);

async fn an_account_reads_back_by_each_name(world: World) {
    let new = NewAccount { username: username("Ada_L"), ..world.new_account("Ada@Example.org") };
    let id = new.id.clone();
    let made = world.stores.accounts.create(new, None, vec![world.event(Action::UserCreated)]).await.unwrap();
    let Created::Created { created_ms, session: None } = made else { panic!("{made:?}") };
    let by_email = world.stores.accounts.find_login(IdentifierKind::Email, "ada@example.org").await.unwrap().unwrap();
    let by_name = world.stores.accounts.find_login(IdentifierKind::Username, "ada_l").await.unwrap().unwrap();
    let by_id = world.stores.accounts.find(&id).await.unwrap().unwrap();
    for found in [&by_email, &by_name, &by_id] {
        assert_eq!(found.account, by_id.account);
        assert_eq!(found.password, Some(PasswordHash("hash 1".into())));
    }
    let account = by_id.account;
    assert_eq!((account.id, account.epoch, account.created_ms), (id, 0, created_ms));
    assert_eq!((account.email.as_deref(), account.username.as_deref()), (Some("Ada@Example.org"), Some("Ada_L")));
    assert_eq!((account.email_verified_ms, account.last_login_ms, account.disabled_ms), (None, None, None));
    assert!(world.stores.accounts.find_login(IdentifierKind::Username, "ada@example.org").await.unwrap().is_none());
    assert!(world.stores.accounts.find(&UserId::new(1, [1; 10])).await.unwrap().is_none());
}

async fn a_registration_opens_the_first_session(world: World) {
    let new = world.new_account("ada@example.org");
    let session = world.new_session(&new.id);
    let events = vec![world.event(Action::UserCreated), world.event(Action::SessionOpened)];
    let made = world.stores.accounts.create(new, Some(session.clone()), events).await.unwrap();
    let Created::Created { session: Some(Opened::Opened { created_ms, .. }), .. } = made else { panic!("{made:?}") };
    let found = world.stores.sessions.find(&session.id).await.unwrap().unwrap();
    assert_eq!((found.state, found.created_ms), (SessionState::Live, created_ms));
    assert_eq!(world.all_events().await, 2);
}

async fn a_taken_name_leaves_nothing_behind(world: World) {
    let first = NewAccount { username: username("ada"), ..world.new_account("ada@example.org") };
    world.stores.accounts.create(first, None, vec![world.event(Action::UserCreated)]).await.unwrap();
    let create = |new: NewAccount| {
        let session = world.new_session(&new.id);
        let events = vec![world.event(Action::UserCreated), world.event(Action::SessionOpened)];
        world.stores.accounts.create(new, Some(session), events)
    };
    let same_email = NewAccount { idempotency: Some([3; 32]), ..world.new_account("ADA@example.org") };
    let id = same_email.id.clone();
    assert_eq!(create(same_email).await.unwrap(), Created::DuplicateEmail);
    assert!(world.stores.accounts.find(&id).await.unwrap().is_none());
    let same_name = NewAccount { username: username("ADA"), ..world.new_account("bob@example.org") };
    assert_eq!(create(same_name).await.unwrap(), Created::DuplicateUsername);
    assert!(world.stores.accounts.find_login(IdentifierKind::Email, "bob@example.org").await.unwrap().is_none());
    assert_eq!(world.stores.accounts.find_registration([3; 32]).await.unwrap(), None);
    assert_eq!(world.all_events().await, 1);
    assert!(matches!(create(world.new_account("bob@example.org")).await.unwrap(), Created::Created { .. }));
}

async fn of_parallel_registrations_one_wins(world: World) {
    let world = Arc::new(world);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let new = world.new_account("ada@example.org");
        let (session, event) = (world.new_session(&new.id), world.event(Action::UserCreated));
        let accounts = world.stores.accounts.clone();
        calls.spawn(async move { accounts.create(new, Some(session), vec![event]).await.unwrap() });
    }
    let made = calls.join_all().await;
    let won = made.iter().filter(|made| matches!(made, Created::Created { .. })).count();
    let lost = made.iter().filter(|made| **made == Created::DuplicateEmail).count();
    assert_eq!((won, lost), (1, 49));
    assert_eq!(world.all_events().await, 1);
    let page = world.stores.accounts.list(AccountFilter::default(), PageRequest::first(9)).await.unwrap();
    assert_eq!((page.items.len(), page.items[0].sessions), (1, 1));
}

async fn a_repeated_registration_is_recognised_for_a_day(world: World) {
    let new = NewAccount { idempotency: Some([7; 32]), ..world.new_account("ada@example.org") };
    let id = new.id.clone();
    let first = world.new_session(&id);
    world.stores.accounts.create(new, Some(first.clone()), vec![world.event(Action::UserCreated)]).await.unwrap();
    let found = || async { world.stores.accounts.find_registration([7; 32]).await.unwrap() };
    assert_eq!(found().await, Some(Registered { account: id.clone(), session: Some(first.id) }));
    let second = world.new_session(&id).id;
    world.stores.accounts.note_registration([7; 32], second.clone()).await.unwrap();
    assert_eq!(found().await, Some(Registered { account: id, session: Some(second) }));
    assert_eq!(world.stores.accounts.find_registration([8; 32]).await.unwrap(), None);
    world.clock.advance_ms(DAY_MS + 1);
    assert_eq!(world.stores.accounts.find_registration([7; 32]).await.unwrap(), None);
}

async fn the_costs_of_passwords_are_known(world: World) {
    let costs = || async {
        let costs = world.stores.accounts.hash_costs().await.unwrap();
        costs.iter().map(|cost| cost.as_str().to_owned()).collect::<BTreeSet<_>>()
    };
    let expected = |costs: [&str; 3]| costs.map(str::to_owned).into_iter().collect::<BTreeSet<_>>();
    assert!(costs().await.is_empty());
    let hashes = ["$2b$12$first", "$2b$12$second", "$argon2id$v=19$m=64,t=1,p=1$salt$output", "$2b$10$third"];
    let mut accounts = Vec::new();
    for (number, hash) in hashes.into_iter().enumerate() {
        let password = Some(PasswordHash(hash.to_owned()));
        let new = NewAccount { password, ..world.new_account(&format!("ada{number}@example.org")) };
        accounts.push(new.id.clone());
        world.stores.accounts.create(new, None, vec![world.event(Action::UserCreated)]).await.unwrap();
    }
    assert_eq!(costs().await, expected(["$2b$10$", "$2b$12$", "$argon2id$v=19$m=64,t=1,p=1$"]));
    let (old, new) = (PasswordHash(hashes[3].to_owned()), PasswordHash("$2b$14$new".to_owned()));
    assert!(world.stores.accounts.rehash(&accounts[3], &old, &new, world.event(Action::UserUpdated)).await.unwrap());
    assert_eq!(costs().await, expected(["$2b$12$", "$2b$14$", "$argon2id$v=19$m=64,t=1,p=1$"]));
}

async fn a_better_hash_replaces_only_the_one_it_was_made_from(world: World) {
    let account = world.account("ada@example.org").await;
    let hash = |number: u8| PasswordHash(format!("hash {number}"));
    let rehash = |old: u8, new: u8| {
        let (old, new) = (hash(old), hash(new));
        let (id, event) = (account.clone(), world.event(Action::UserUpdated));
        let accounts = world.stores.accounts.clone();
        async move { accounts.rehash(&id, &old, &new, event).await.unwrap() }
    };
    assert!(rehash(1, 2).await);
    assert!(!rehash(1, 3).await);
    let found = world.stores.accounts.find(&account).await.unwrap().unwrap();
    assert_eq!((found.password, found.account.epoch), (Some(hash(2)), 0));
    assert_eq!(world.events(Action::UserUpdated).await.len(), 1);
}

async fn lists_are_paged_with_live_sessions(world: World) {
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(world.account(&format!("user{number}@example.org")).await);
        world.clock.advance_ms(10);
    }
    world.session(&ids[0]).await;
    world.session(&ids[0]).await;
    world.stores.accounts.break_sessions(&ids[3], Break::Delete, world.event(Action::UserDeleted)).await.unwrap();
    let first = world.stores.accounts.list(AccountFilter::default(), PageRequest::first(2)).await.unwrap();
    assert_eq!(first.total, Some(4));
    let rest = PageRequest { limit: 9, after: first.next.clone() };
    let rest = world.stores.accounts.list(AccountFilter::default(), rest).await.unwrap();
    let rows: Vec<_> = first.items.iter().chain(&rest.items).map(|row| (&row.account.id, row.sessions)).collect();
    assert_eq!(rows, [(&ids[4], 0), (&ids[2], 0), (&ids[1], 0), (&ids[0], 2)]);
    assert_eq!(rest.next, None);
}

async fn filters_select(world: World) {
    let ada = world.account("ada_l@example.org").await;
    let bob = world.account("bob@example.org").await;
    world.stores.accounts.break_sessions(&bob, Break::Disable, world.event(Action::UserDisabled)).await.unwrap();
    let all = AccountFilter::default;
    let cases = [
        (AccountFilter { id_prefix: Some(ada.to_string()), ..all() }, vec![&ada]),
        (AccountFilter { id_prefix: Some("usr_".into()), disabled: Some(Disabled::Yes), ..all() }, vec![&bob]),
        (AccountFilter { id_prefix: Some("usr_zz".into()), ..all() }, vec![]),
        (AccountFilter { name: Some("a_l@".into()), ..all() }, vec![&ada]),
        (AccountFilter { name: Some("%".into()), ..all() }, vec![]),
        (AccountFilter { disabled: Some(Disabled::No), ..all() }, vec![&ada]),
    ];
    for (filter, expected) in cases {
        let page = world.stores.accounts.list(filter.clone(), PageRequest::first(9)).await.unwrap();
        let ids: Vec<_> = page.items.iter().map(|row| &row.account.id).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
}
