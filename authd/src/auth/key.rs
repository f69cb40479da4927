//! The life of signing keys: staging, promotion, retirement, and what operators ask of it.

use crate::auth::{Auth, Operator, OperatorRefusal, Refusal};
use crate::domain::{
    audit::{Action, Event},
    key::{
        Heartbeat, KeyPlan, KeyState, KeyStep, SigningKey, is_known_everywhere, known_everywhere_ms, live_instances,
        plan_steps,
    },
    login::KeySet,
    store_error::StoreError,
};
use shared::id::KeyId;
use std::sync::atomic::Ordering;

/// What `key rotate` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRotation {
    /// The staged key signs now.
    Promoted(KeyId),
    /// The staged key will sign as soon as every instance has served it long enough.
    Scheduled {
        /// The key.
        key: KeyId,
        /// When that is, by database time, unless an instance starts afresh until then.
        at_ms: i64,
    },
}

impl Auth {
    /// Reads the keys and puts them into force; every instance does so each second.
    ///
    /// # Errors
    /// [`StoreError`]; the keys in force stay.
    pub async fn poll_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let keys = self.parts.keys.keys().await?;
        self.parts.signer.install(&keys)?;
        Ok(keys)
    }

    /// One beat of an instance: says what it serves, then takes the steps that are due; none while the clock that says
    /// so is not believed, or keys would retire before the tokens they signed.
    ///
    /// # Errors
    /// [`StoreError`]; the current key keeps signing.
    pub async fn beat(&self, instance: &str) -> Result<(), StoreError> {
        let mut keys = self.poll_keys().await?;
        let plan = self.settings().keys;
        // A new installation takes three rounds: stage, activate, stage the next one.
        for _ in 0..4 {
            let (beats, now_ms) = self.parts.keys.beat(instance, &self.parts.signer.published()).await?;
            self.count_instances(&beats, now_ms);
            if !self.is_time_believed(now_ms) {
                break;
            }
            let steps = plan_steps(&keys, &beats, &plan, now_ms);
            if steps.is_empty() {
                break;
            }
            for step in steps {
                self.take_step(step).await?;
            }
            keys = self.poll_keys().await?;
        }
        Ok(())
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

    async fn take_step(&self, step: KeyStep) -> Result<(), StoreError> {
        match step {
            KeyStep::Stage => {
                let key = self.parts.signer.generate(KeyId::new(self.now_ms(), self.id_entropy()), self.now_ms())?;
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

    fn key_event(&self, action: Action, id: &KeyId) -> Event {
        self.job_event("rotate", action).about("key", id.as_str())
    }

    /// All keys that are in use or ended lately, oldest first.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn list_keys(&self) -> Result<Vec<SigningKey>, OperatorRefusal> {
        Ok(self.parts.keys.keys().await?)
    }

    /// The published keys, from memory.
    #[must_use]
    pub fn key_set(&self) -> KeySet {
        self.parts.signer.key_set()
    }

    /// How the key life cycle is timed.
    #[must_use]
    pub fn key_plan(&self) -> KeyPlan {
        self.settings().keys
    }

    /// Lets the staged key sign: now with `force`, else as soon as every live instance has served it long enough.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn rotate_keys(
        &self,
        operator: &Operator,
        pace: RotationPace,
        instance: &str,
    ) -> Result<KeyRotation, OperatorRefusal> {
        self.beat(instance).await?;
        let keys = self.parts.keys.keys().await?;
        let staged = keys.iter().find(|key| key.state == KeyState::Staged);
        let staged = staged.ok_or(OperatorRefusal::Refused(Refusal::NotReady("no key is staged yet")))?;
        let (beats, now_ms) = self.parts.keys.beat(instance, &self.parts.signer.published()).await?;
        let plan = self.key_plan();
        let at_once = pace == RotationPace::AtOnce || is_known_everywhere(staged, &beats, &plan, now_ms);
        let scheduled = KeyRotation::Scheduled {
            key: staged.id.clone(),
            at_ms: known_everywhere_ms(staged, &beats, &plan, now_ms),
        };
        if operator.is_dry_run() {
            return Ok(if at_once { KeyRotation::Promoted(staged.id.clone()) } else { scheduled });
        }
        let action = if at_once { Action::KeyActivated } else { Action::KeyStaged };
        let event = self.operator_event(operator, action).about("key", staged.id.as_str());
        let event = event.with("pace", if pace == RotationPace::AtOnce { "at_once" } else { "safe" });
        if !at_once {
            let asked = self.parts.keys.request_promotion(&staged.id, event.with("promotion", "requested")).await?;
            return if asked { Ok(scheduled) } else { Err(OperatorRefusal::NotFound) };
        }
        if !self.parts.keys.activate(&staged.id, event).await? {
            return Err(OperatorRefusal::NotFound);
        }
        self.beat(instance).await?;
        Ok(KeyRotation::Promoted(staged.id.clone()))
    }
}

/// How fast an operator wants a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationPace {
    /// When no verifier can miss the new key.
    Safe,
    /// Now: verifiers with an older copy of the set refuse new tokens until they fetch it again.
    AtOnce,
}
