//! Known devices: who presents one, what bounds their attempts, and when they stop being known.

use crate::auth::{Attempt, Auth, Caller, Refusal, address::AddressLimits};
use crate::domain::{
    audit::{Action, Event},
    clock::random_bytes,
    device::{Device, DeviceFate, NewDevice, SessionDevice, issue, recognise},
    limit::{LimitKey, PolicyName, PolicyValue, Settled},
    rotation::Shadow,
    secret::Secret,
    token::TokenHash,
};
use shared::id::DeviceId;

impl Auth {
    /// The known device that an attempt comes from. A foreign, expired, dropped or malformed token is none.
    pub(super) async fn device_of(&self, attempt: &Attempt) -> Result<Option<Device>, Refusal> {
        let Some(token) = &attempt.device else { return Ok(None) };
        let Some(hash) = recognise(self.parts.sealer.as_ref(), token.reveal()) else { return Ok(None) };
        let Some((kind, canonical)) = attempt.name.key() else { return Ok(None) };
        Ok(self.parts.devices.find(hash, kind, canonical).await?)
    }

    /// `login.device` counts every attempt of a device, `login.ip` and `login.net` those of all known devices from one
    /// place, apart from strangers', unless an operator has allowed the place.
    pub(super) async fn admit_device(&self, caller: &Caller, device: &Device, event: &Event) -> Result<(), Refusal> {
        self.admit(PolicyName::LoginDevice, &LimitKey::id(device.id.as_str()), event).await?;
        if self.address_limits(caller.ip) == AddressLimits::Lifted {
            return Ok(());
        }
        let buckets = [
            (PolicyName::LoginIp, LimitKey::address(caller.ip).of_known_devices()),
            (PolicyName::LoginNet, LimitKey::network(caller.ip).of_known_devices()),
        ];
        for (policy, key) in buckets {
            self.admit(policy, &key, event).await?;
        }
        Ok(())
    }

    /// Counts a wrong password against the device it came from; the last that is allowed in a row drops it. The
    /// database counts what all instances saw, the limiter bounds what is under way on this one.
    pub(super) async fn fail_device(&self, device: &Device, settled: Settled, event: &Event) -> Result<(), Refusal> {
        let limits = self.limits();
        let max = limits.get(PolicyName::LoginDeviceFailures).filter(|policy| policy.shadow == Shadow::Enforced);
        let Some(PolicyValue::Count { max }) = max.map(|policy| policy.value) else { return Ok(()) };
        let dropped = event.clone().doing(Action::DeviceDropped).about("device", device.id.as_str());
        let dropped = dropped.with("user", &device.account).because(PolicyName::LoginDeviceFailures.as_str());
        let fate = self.parts.devices.fail(&device.id, max, Event { id: self.event_id(), ..dropped }).await?;
        if fate == DeviceFate::Kept && settled == Settled::Exhausted {
            // It got in through another instance in between.
            self.parts.limiter.forget(PolicyName::LoginDeviceFailures, &LimitKey::id(device.id.as_str())).await;
        }
        Ok(())
    }

    /// The event of a device that is known with the session of `opened`.
    pub(super) fn device_added(&self, opened: &Event, id: &DeviceId) -> Event {
        let session = opened.target.as_ref().map_or("", |target| target.id.as_str());
        let added = opened.clone().doing(Action::DeviceAdded).about("device", id.as_str()).with("session", session);
        Event { id: self.event_id(), ..added }
    }

    /// A device to remember, with the token that its owner keeps.
    pub(super) fn new_device(&self) -> (SessionDevice, Secret) {
        let secret = zeroize::Zeroizing::new(random_bytes::<32>(self.parts.random.as_ref()));
        let token = issue(self.parts.sealer.as_ref(), &secret);
        let id = DeviceId::new(self.now_ms(), self.id_entropy());
        (SessionDevice::New(NewDevice { id, token: TokenHash::of(token.reveal()) }), token)
    }
}
