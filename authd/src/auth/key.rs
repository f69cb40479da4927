//! The life of signing keys as it goes by itself: staging, promotion, retirement.

use crate::auth::Auth;
use crate::domain::{
    audit::{Action, Event},
    instance::{Heartbeat, Presence, live_instances},
    key::SigningKey,
    key_plan::{KEYS_KNOWN_MS, KeyPlan, KeyStep, plan_steps},
    login::KeySet,
    store_error::StoreError,
    wrap::writes_under,
};
use shared::id::KeyId;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

/// Which of several looks at the keys was the last, and when, by the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct KeysInForce {
    next: AtomicU64,
    last: Mutex<u64>,
    seen_ms: AtomicI64,
}

impl Auth {
    /// Reads the keys and puts them into force; every instance does so twice a second.
    ///
    /// # Errors
    /// [`StoreError`]; the keys in force stay. [`StoreError::Corrupt`] for a key that does not open; it is left out.
    pub async fn poll_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let (keys, installed) = self.read_keys().await?;
        installed.map(|()| keys)
    }

    /// Reads the keys and puts those that open into force.
    async fn read_keys(&self) -> Result<(Vec<SigningKey>, Result<(), StoreError>), StoreError> {
        let look = self.keys.next.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let began_ms = self.parts.clock.monotonic_ms();
        let keys = self.parts.keys.keys().await?;
        let mut last = self.keys.last.lock().unwrap_or_else(PoisonError::into_inner);
        // A slow look must not undo what a later one has found, such as a key that was withdrawn meanwhile.
        if look < *last {
            return Ok((keys, Ok(())));
        }
        *last = look;
        let installed = self.parts.signer.install(&keys);
        self.keys.seen_ms.store(began_ms, Ordering::Relaxed);
        Ok((keys, installed))
    }

    /// Looks at the keys before a token is signed when that was not possible for a while: an instance that was halted
    /// must not go on signing with a key that others have retired.
    pub(super) async fn know_keys(&self) -> Result<(), StoreError> {
        let seen_ms = self.keys.seen_ms.load(Ordering::Relaxed);
        if self.parts.clock.monotonic_ms().saturating_sub(seen_ms) > KEYS_KNOWN_MS {
            // A key that does not open is left out; the jobs say so.
            return self.read_keys().await.map(drop);
        }
        Ok(())
    }

    /// One beat of an instance: says what it serves, then takes the steps that are due; none while the clock that says
    /// so is not believed, or keys would retire before the tokens they signed.
    ///
    /// # Errors
    /// [`StoreError`]; the current key keeps signing.
    pub async fn beat(&self, instance: &str) -> Result<(), StoreError> {
        let (mut keys, mut installed) = self.read_keys().await?;
        // A new installation takes three rounds: stage, activate, stage the next one.
        for _ in 0..4 {
            let (beats, now_ms) = self.parts.keys.beat(&self.presence(instance)).await?;
            self.count_instances(&beats, now_ms);
            if !self.is_time_believed(now_ms) {
                break;
            }
            let steps = plan_steps(&keys, &beats, &self.key_plan(&beats, now_ms), now_ms);
            if steps.is_empty() {
                break;
            }
            for step in steps {
                self.take_step(step, &beats, now_ms).await?;
            }
            (keys, installed) = self.read_keys().await?;
        }
        installed
    }

    /// What this instance says of itself.
    pub(super) fn presence(&self, instance: &str) -> Presence {
        let plan = self.settings().keys;
        Presence {
            instance: instance.to_owned(),
            serving: self.parts.signer.published(),
            keks: self.parts.wrapper.ids(),
            cache_ms: plan.cache_ms,
            access_ttl_ms: plan.access_ttl_ms,
        }
    }

    /// How the key life cycle is timed, given what all instances serve and have served lately.
    pub(super) fn key_plan(&self, beats: &[Heartbeat], now_ms: i64) -> KeyPlan {
        self.settings().keys.over(beats, now_ms)
    }

    /// Counts the instances that live: one that began a moment ago has its share from the next turn on.
    ///
    /// # Errors
    /// [`StoreError`]; as many as before are counted on.
    pub async fn follow_instances(&self) -> Result<(), StoreError> {
        let (beats, now_ms) = self.parts.keys.beats().await?;
        self.count_instances(&beats, now_ms);
        Ok(())
    }

    /// Instances on one database share the budgets that each counts by itself. SQLite has one instance: a second row
    /// there is the one before a crash.
    fn count_instances(&self, beats: &[Heartbeat], now_ms: i64) {
        let is_shared = self.parts.readiness.kind() != "sqlite";
        let live = if is_shared { live_instances(beats, now_ms) } else { 1 };
        self.instances.store(live, Ordering::Relaxed);
    }

    /// Takes this instance off the list of those that serve keys and share budgets.
    ///
    /// # Errors
    /// [`StoreError`]; it is then taken off for its silence.
    pub async fn leave(&self, instance: &str) -> Result<(), StoreError> {
        self.parts.keys.leave(instance).await
    }

    async fn take_step(&self, step: KeyStep, beats: &[Heartbeat], now_ms: i64) -> Result<(), StoreError> {
        match step {
            KeyStep::Stage => {
                let key = self.new_key(beats, now_ms)?;
                let event = self.key_event(Action::KeyStaged, &key.id);
                self.parts.keys.stage(key, event).await?;
            }
            KeyStep::Activate(id) => {
                self.parts.keys.activate(&id, self.key_event(Action::KeyActivated, &id)).await?;
            }
            KeyStep::Retire(id) => {
                self.parts.keys.retire(&id, self.key_event(Action::KeyRetired, &id)).await?;
            }
        }
        Ok(())
    }

    /// A key to be staged, which every live instance can open.
    pub(super) fn new_key(&self, beats: &[Heartbeat], now_ms: i64) -> Result<SigningKey, StoreError> {
        let ours = self.parts.wrapper.ids();
        let id = KeyId::new(self.now_ms(), self.id_entropy());
        self.parts.signer.generate(id, now_ms, writes_under(&ours, beats, now_ms))
    }

    fn key_event(&self, action: Action, id: &KeyId) -> Event {
        self.job_event("rotate", action).about("key", id.as_str())
    }

    /// The published keys, from memory.
    #[must_use]
    pub fn key_set(&self) -> KeySet {
        self.parts.signer.key_set()
    }
}
