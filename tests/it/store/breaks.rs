//! Changes to an account that end its sessions (R11).

use super::{World, on_every_store, username};
use authd::domain::{
    account::{Break, Broken, Created, NewAccount, PasswordHash},
    audit::Action,
    identifier::IdentifierKind,
    revocation::FeedCursor,
    session::{Opened, SessionState},
};
use shared::id::{SessionId, UserId};

on_every_store!(
    a_password_change_ends_all_sessions_but_the_callers,
    a_password_changed_meanwhile_changes_nothing,
    a_change_asked_for_in_a_session_that_ended_meanwhile_changes_nothing,
    an_end_tells_also_of_sessions_that_ended_elsewhere_a_moment_ago,
    disabling_ends_everything_and_enabling_lets_in_again,
    deleting_leaves_a_tombstone_without_names,
    a_missing_account_changes_nothing,
    a_reset_is_good_once_and_until_it_ends,
    a_later_reset_replaces_the_earlier,
    a_password_change_takes_back_an_open_reset,
);

async fn state(world: &World, id: &SessionId) -> SessionState {
    world.stores.sessions.find(id).await.unwrap().unwrap().state
}

async fn account_of(world: &World, id: &UserId) -> authd::domain::account::LoginRecord {
    world.stores.accounts.find(id).await.unwrap().unwrap()
}

fn changed(expected: &str, keep: &SessionId) -> Break {
    let (expected, new) = (PasswordHash(expected.into()), PasswordHash("hash 2".into()));
    Break::ChangePassword { expected, new, keep: keep.clone() }
}

fn ended(broken: Broken) -> Vec<SessionId> {
    let Broken::Done(revoked) = broken else { panic!("{broken:?}") };
    revoked.ended
}

async fn a_password_change_ends_all_sessions_but_the_callers(world: World) {
    let account = world.account("ada@example.org").await;
    let keep = world.session(&account).await.id;
    let mut others = vec![world.session(&account).await.id, world.session(&account).await.id];
    others.sort();
    let event = world.event(Action::PasswordChanged).because("routine");
    let broken = world.stores.accounts.break_sessions(&account, changed("hash 1", &keep), event).await.unwrap();
    assert_eq!(ended(broken), others);
    assert_eq!(state(&world, &keep).await, SessionState::Live);
    for id in &others {
        let ended = world.stores.sessions.find(id).await.unwrap().unwrap();
        assert_eq!((ended.state, ended.end_reason.as_deref()), (SessionState::Ended, Some("password_changed")));
    }
    let record = account_of(&world, &account).await;
    assert_eq!((record.account.epoch, record.password), (1, Some(PasswordHash("hash 2".into()))));
    assert_eq!(world.events(Action::PasswordChanged).await.len(), 1);
    let revoked = world.events(Action::SessionRevoked).await;
    assert!(revoked.iter().all(|event| event.reason.as_deref() == Some("password_changed")));
    assert_eq!(revoked.len(), 2);
    assert_eq!(world.stores.sessions.revocations(FeedCursor::default()).await.unwrap().0.len(), 2);
}

async fn a_password_changed_meanwhile_changes_nothing(world: World) {
    let account = world.account("ada@example.org").await;
    let keep = world.session(&account).await.id;
    let before = world.all_events().await;
    let event = world.event(Action::PasswordChanged);
    let broken = world.stores.accounts.break_sessions(&account, changed("hash 0", &keep), event).await.unwrap();
    assert_eq!(broken, Broken::Changed);
    assert_eq!(account_of(&world, &account).await.account.epoch, 0);
    assert_eq!(world.all_events().await, before);
}

async fn a_change_asked_for_in_a_session_that_ended_meanwhile_changes_nothing(world: World) {
    let account = world.account("ada@example.org").await;
    let (over, other) = (world.session(&account).await.id, world.session(&account).await.id);
    world.revoke(&over).await;
    let before = world.all_events().await;
    let expected = PasswordHash("hash 1".into());
    for change in [changed("hash 1", &over), Break::DeleteOwn { expected, session: over.clone() }] {
        let event = world.event(Action::PasswordChanged);
        let broken = world.stores.accounts.break_sessions(&account, change, event).await.unwrap();
        assert_eq!(broken, Broken::SessionOver);
    }
    assert_eq!(account_of(&world, &account).await.password, Some(PasswordHash("hash 1".into())));
    assert_eq!(state(&world, &other).await, SessionState::Live);
    assert_eq!(world.all_events().await, before);
    let delete = |expected: &str| {
        let change = Break::DeleteOwn { expected: PasswordHash(expected.into()), session: other.clone() };
        world.stores.accounts.break_sessions(&account, change, world.event(Action::UserDeleted))
    };
    assert_eq!(delete("hash 0").await.unwrap(), Broken::Changed);
    assert_eq!(ended(delete("hash 1").await.unwrap()), std::slice::from_ref(&other));
    assert!(world.stores.accounts.find(&account).await.unwrap().is_none());
}

async fn an_end_tells_also_of_sessions_that_ended_elsewhere_a_moment_ago(world: World) {
    let account = world.account("ada@example.org").await;
    let (first, second) = (world.session(&account).await.id, world.session(&account).await.id);
    assert_eq!(world.revoke(&first).await.over, std::slice::from_ref(&first));
    let again = world.revoke(&first).await;
    assert_eq!((again.ended, again.over), (vec![], vec![first.clone()]));
    let disable = |event| world.stores.accounts.break_sessions(&account, Break::Disable, event);
    let Broken::Done(revoked) = disable(world.event(Action::UserDisabled)).await.unwrap() else { panic!("not done") };
    let mut over = revoked.over;
    over.sort();
    let mut both = vec![first, second.clone()];
    both.sort();
    assert_eq!((revoked.ended, over), (vec![second], both));
    world.clock.advance_secs(61);
    let Broken::Done(revoked) = disable(world.event(Action::UserDisabled)).await.unwrap() else { panic!("not done") };
    assert_eq!(revoked.over, []);
}

async fn disabling_ends_everything_and_enabling_lets_in_again(world: World) {
    let account = world.account("ada@example.org").await;
    let session = world.session(&account).await;
    let disable = |event| world.stores.accounts.break_sessions(&account, Break::Disable, event);
    let broken = disable(world.event(Action::UserDisabled)).await.unwrap();
    assert_eq!(ended(broken), std::slice::from_ref(&session.id));
    let disabled_ms = account_of(&world, &account).await.account.disabled_ms;
    assert!(disabled_ms.is_some());
    assert!(!world.stores.sessions.find_live(&session.id).await.unwrap().unwrap().account_enabled);
    world.clock.advance_secs(5);
    assert_eq!(ended(disable(world.event(Action::UserDisabled)).await.unwrap()), []);
    assert_eq!(account_of(&world, &account).await.account.disabled_ms, disabled_ms);
    assert!(world.stores.accounts.enable(&account, world.event(Action::UserEnabled)).await.unwrap());
    assert_eq!(account_of(&world, &account).await.account.disabled_ms, None);
    assert_eq!(state(&world, &session.id).await, SessionState::Ended);
    let new = authd::domain::session::NewSession { account_epoch: 2, ..world.new_session(&account) };
    assert!(matches!(world.open(&new).await, Opened::Opened { .. }));
}

async fn deleting_leaves_a_tombstone_without_names(world: World) {
    let new =
        NewAccount { username: username("ada"), idempotency: Some([7; 32]), ..world.new_account("ada@example.org") };
    let account = new.id.clone();
    world.stores.accounts.create(new, None, vec![world.event(Action::UserCreated)]).await.unwrap();
    let session = world.session(&account).await;
    let event = world.event(Action::PasswordResetIssued);
    world.stores.accounts.issue_reset(&account, [5; 32], 60_000, event).await.unwrap();
    let event = world.event(Action::UserDeleted);
    let broken = world.stores.accounts.break_sessions(&account, Break::Delete, event).await.unwrap();
    assert_eq!(ended(broken), std::slice::from_ref(&session.id));
    assert!(world.stores.accounts.find(&account).await.unwrap().is_none());
    for (kind, name) in [(IdentifierKind::Email, "ada@example.org"), (IdentifierKind::Username, "ada")] {
        assert!(world.stores.accounts.find_login(kind, name).await.unwrap().is_none());
    }
    assert_eq!(world.stores.accounts.find_registration([7; 32]).await.unwrap(), None);
    assert_eq!(world.stores.accounts.find_reset([5; 32]).await.unwrap(), None);
    let gone = world.stores.sessions.find(&session.id).await.unwrap().unwrap();
    assert_eq!((gone.state, gone.email), (SessionState::Ended, None));
    let enabled = world.stores.accounts.enable(&account, world.event(Action::UserEnabled)).await.unwrap();
    assert!(!enabled);
    assert_eq!(world.open(&world.new_session(&account)).await, Opened::AccountChanged);
    // The names are free again.
    let again = NewAccount { username: username("ada"), ..world.new_account("ada@example.org") };
    let made = world.stores.accounts.create(again, None, vec![world.event(Action::UserCreated)]).await.unwrap();
    assert!(matches!(made, Created::Created { .. }));
}

async fn a_missing_account_changes_nothing(world: World) {
    let nobody = UserId::new(1, [1; 10]);
    let event = || world.event(Action::UserDisabled);
    assert_eq!(world.stores.accounts.break_sessions(&nobody, Break::Disable, event()).await.unwrap(), Broken::Missing);
    assert!(!world.stores.accounts.enable(&nobody, event()).await.unwrap());
    assert!(!world.stores.accounts.issue_reset(&nobody, [5; 32], 1_000, event()).await.unwrap());
    assert_eq!(world.all_events().await, 0);
}

async fn a_reset_is_good_once_and_until_it_ends(world: World) {
    let account = world.account("ada@example.org").await;
    let session = world.session(&account).await;
    let issue = |token| {
        let event = world.event(Action::PasswordResetIssued);
        world.stores.accounts.issue_reset(&account, token, 60_000, event)
    };
    let redeem = |token| {
        let event = world.event(Action::PasswordReset);
        world.stores.accounts.redeem_reset(token, PasswordHash("hash 2".into()), event)
    };
    assert!(issue([5; 32]).await.unwrap());
    assert_eq!(world.stores.accounts.find_reset([5; 32]).await.unwrap(), Some(account.clone()));
    assert_eq!(redeem([6; 32]).await.unwrap(), None);
    let (of, revoked) = redeem([5; 32]).await.unwrap().unwrap();
    assert_eq!((of, revoked.over), (account.clone(), vec![session.id.clone()]));
    assert_eq!(redeem([5; 32]).await.unwrap(), None);
    let record = account_of(&world, &account).await;
    assert_eq!((record.account.epoch, record.password), (1, Some(PasswordHash("hash 2".into()))));
    let ended = world.stores.sessions.find(&session.id).await.unwrap().unwrap();
    assert_eq!(ended.end_reason.as_deref(), Some("password_reset"));
    assert!(issue([8; 32]).await.unwrap());
    world.clock.advance_secs(61);
    assert_eq!(world.stores.accounts.find_reset([8; 32]).await.unwrap(), None);
    assert_eq!(redeem([8; 32]).await.unwrap(), None);
    let events = world.events(Action::PasswordReset).await;
    assert_eq!((events.len(), events[0].target_id.as_deref()), (1, Some(account.as_str())));
}

async fn a_later_reset_replaces_the_earlier(world: World) {
    let account = world.account("ada@example.org").await;
    for token in [[5; 32], [6; 32]] {
        let event = world.event(Action::PasswordResetIssued);
        world.stores.accounts.issue_reset(&account, token, 60_000, event).await.unwrap();
    }
    assert_eq!(world.stores.accounts.find_reset([5; 32]).await.unwrap(), None);
    assert_eq!(world.stores.accounts.find_reset([6; 32]).await.unwrap(), Some(account));
}

async fn a_password_change_takes_back_an_open_reset(world: World) {
    let account = world.account("ada@example.org").await;
    let keep = world.session(&account).await.id;
    let event = world.event(Action::PasswordResetIssued);
    world.stores.accounts.issue_reset(&account, [5; 32], 60_000, event).await.unwrap();
    let event = world.event(Action::PasswordChanged);
    world.stores.accounts.break_sessions(&account, changed("hash 1", &keep), event).await.unwrap();
    assert_eq!(world.stores.accounts.find_reset([5; 32]).await.unwrap(), None);
}
