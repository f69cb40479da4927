//! Known devices: who is known to whom, for how long, and what makes them strangers again.

use super::{DAY_MS, World, on_every_store};
use authd::domain::{
    account::{Break, PasswordHash},
    audit::Action,
    clock::Clock,
    device::{DeviceFate, LIFE_MS, MAX_PER_ACCOUNT, NewDevice, SessionDevice},
    identifier::IdentifierKind,
    session::{EndReason, NewSession, Opened, SessionFilter},
    token::TokenHash,
};
use shared::id::{DeviceId, UserId};

on_every_store!(
    a_device_is_known_to_its_account_alone,
    a_device_is_forgotten_half_a_year_after_its_last_login,
    the_last_failure_in_a_row_drops_a_device,
    devices_beyond_the_most_drop_those_that_never_came_back_first,
    what_ends_all_sessions_drops_all_devices_but_the_callers,
    devices_go_with_sessions_that_are_ended_on_purpose,
);

struct Known {
    session: NewSession,
    device: NewDevice,
}

fn new_device(world: &World) -> NewDevice {
    NewDevice { id: DeviceId::new(world.clock.now_ms(), world.bytes()), token: TokenHash(world.bytes()) }
}

/// A login from a device that is known from then on.
async fn known(world: &World, account: &UserId) -> Known {
    let epoch = world.stores.accounts.find(account).await.unwrap().unwrap().account.epoch;
    let device = new_device(world);
    let from = Some(SessionDevice::New(device.clone()));
    let session = NewSession { device: from, account_epoch: epoch, ..world.new_session(account) };
    assert!(matches!(world.open(&session).await, Opened::Opened { .. }));
    Known { session, device }
}

/// A login from a known device.
async fn back(world: &World, account: &UserId, id: &DeviceId) -> NewSession {
    let session = NewSession { device: Some(SessionDevice::Known(id.clone())), ..world.new_session(account) };
    assert!(matches!(world.open(&session).await, Opened::Opened { .. }));
    session
}

async fn is_known(world: &World, device: &NewDevice, email: &str) -> bool {
    let found = world.stores.devices.find(device.token, IdentifierKind::Email, email).await.unwrap();
    found.is_some_and(|found| found.id == device.id)
}

async fn a_device_is_known_to_its_account_alone(world: World) {
    // The first login of an instance and a later one go different ways on PostgreSQL.
    for round in 0..2 {
        let (ada, eve) = (format!("ada{round}@example.org"), format!("eve{round}@example.org"));
        let account = world.account(&ada).await;
        world.account(&eve).await;
        let device = known(&world, &account).await.device;
        let found = world.stores.devices.find(device.token, IdentifierKind::Email, &ada).await.unwrap().unwrap();
        assert_eq!((found.id, found.account), (device.id.clone(), account));
        assert!(!is_known(&world, &device, &eve).await);
        assert!(!is_known(&world, &new_device(&world), &ada).await);
        let by_name = world.stores.devices.find(device.token, IdentifierKind::Username, &ada).await.unwrap();
        assert_eq!(by_name, None);
    }
}

async fn a_device_is_forgotten_half_a_year_after_its_last_login(world: World) {
    let account = world.account("ada@example.org").await;
    let (away, regular) = (known(&world, &account).await.device, known(&world, &account).await.device);
    world.clock.advance_ms(LIFE_MS - DAY_MS);
    assert!(is_known(&world, &away, "ada@example.org").await);
    back(&world, &account, &regular.id).await;
    world.clock.advance_ms(2 * DAY_MS);
    for _ in 0..2 {
        assert!(!is_known(&world, &away, "ada@example.org").await);
        assert!(is_known(&world, &regular, "ada@example.org").await);
        world.stores.sessions.sweep(0, 0, 100).await.unwrap();
    }
}

async fn the_last_failure_in_a_row_drops_a_device(world: World) {
    let account = world.account("ada@example.org").await;
    let device = known(&world, &account).await.device;
    let fail = || async {
        let event = world.event(Action::DeviceDropped);
        world.stores.devices.fail(&device.id, 3, event).await.unwrap()
    };
    assert_eq!([fail().await, fail().await], [DeviceFate::Kept; 2]);
    back(&world, &account, &device.id).await;
    assert_eq!(
        [fail().await, fail().await, fail().await, fail().await],
        [DeviceFate::Kept, DeviceFate::Kept, DeviceFate::Dropped, DeviceFate::Kept]
    );
    assert!(!is_known(&world, &device, "ada@example.org").await);
    assert_eq!(world.events(Action::DeviceDropped).await.len(), 1);
}

async fn devices_beyond_the_most_drop_those_that_never_came_back_first(world: World) {
    let account = world.account("ada@example.org").await;
    let regular = known(&world, &account).await.device;
    world.clock.advance_secs(1);
    back(&world, &account, &regular.id).await;
    let mut once = Vec::new();
    for _ in 0..MAX_PER_ACCOUNT + 1 {
        world.clock.advance_secs(1);
        once.push(known(&world, &account).await.device);
    }
    assert!(is_known(&world, &regular, "ada@example.org").await);
    let mut remembered = Vec::new();
    for device in &once {
        remembered.push(is_known(&world, device, "ada@example.org").await);
    }
    assert_eq!(remembered.iter().filter(|known| !**known).count(), 2);
    assert_eq!(remembered[..2], [false, false], "the oldest go");
    let dropped: Vec<_> =
        world.events(Action::DeviceDropped).await.into_iter().map(|event| event.target_id.unwrap()).collect();
    assert_eq!(dropped, [once[1].id.to_string(), once[0].id.to_string()]);
}

async fn what_ends_all_sessions_drops_all_devices_but_the_callers(world: World) {
    let account = world.account("ada@example.org").await;
    let (mine, other) = (known(&world, &account).await, known(&world, &account).await);
    let (expected, new) = (PasswordHash("hash 1".into()), PasswordHash("hash 2".into()));
    let change = Break::ChangePassword { expected, new, keep: mine.session.id.clone() };
    let event = world.event(Action::PasswordChanged);
    world.stores.accounts.break_sessions(&account, change, event).await.unwrap();
    assert!(is_known(&world, &mine.device, "ada@example.org").await);
    assert!(!is_known(&world, &other.device, "ada@example.org").await);
    let dropped = world.events(Action::DeviceDropped).await;
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0].target_id.as_deref(), Some(other.device.id.as_str()));
    assert_eq!(dropped[0].reason.as_deref(), Some("password_changed"));
    for change in [Break::LogoutAll, Break::Disable] {
        let event = world.event(Action::UserUpdated);
        let device = known(&world, &account).await.device;
        world.stores.accounts.break_sessions(&account, change, event).await.unwrap();
        assert!(!is_known(&world, &device, "ada@example.org").await);
        assert!(!is_known(&world, &mine.device, "ada@example.org").await);
    }
}

async fn devices_go_with_sessions_that_are_ended_on_purpose(world: World) {
    for (why, drops) in [
        (EndReason::Logout, false),
        (EndReason::ReauthFailures, false),
        (EndReason::UserRevoked, true),
        (EndReason::OperatorRevoked, true),
        (EndReason::Superseded, true),
    ] {
        let email = format!("{}@example.org", why.as_str());
        let account = world.account(&email).await;
        let (ended, kept) = (known(&world, &account).await, known(&world, &account).await);
        // A second session of the device that is kept: its end does not take the caller's device along.
        back(&world, &account, &kept.device.id).await;
        let filter = SessionFilter {
            account: Some(account.clone()),
            except: Some(kept.session.id.clone()),
            ..SessionFilter::default()
        };
        let event = world.event(Action::SessionRevoked);
        let revoked = world.stores.sessions.revoke(filter, why, event).await.unwrap();
        assert_eq!(revoked.ended.len(), 2);
        assert_eq!(is_known(&world, &ended.device, &email).await, !drops, "{why:?}");
        assert!(is_known(&world, &kept.device, &email).await, "{why:?}");
        let one = SessionFilter { id: Some(kept.session.id.clone()), ..SessionFilter::default() };
        let event = world.event(Action::SessionRevoked);
        world.stores.sessions.revoke(one, why, event).await.unwrap();
        assert_eq!(is_known(&world, &kept.device, &email).await, !drops, "{why:?}");
    }
    assert_eq!(world.events(Action::DeviceDropped).await.len(), 6);
}
