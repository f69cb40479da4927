//! What operators ask of signing keys, and what they are told about them.

use crate::auth::{Auth, Operator, OperatorRefusal, Refusal};
use crate::domain::{
    audit::Action,
    instance::Heartbeat,
    key::{KeyState, SigningKey},
    key_plan::{KeyPlan, known_everywhere_ms, promotes_ms, staged},
    store_error::StoreError,
};
use shared::id::KeyId;

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

/// A key and when its next steps come, by database time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// The key.
    pub key: SigningKey,
    /// Of a staged key: from when every verifier knows it; `None` while an instance does not serve it.
    pub known_ms: Option<i64>,
    /// When it begins to sign; of the active key: when the next one takes its place.
    pub promotes_ms: Option<i64>,
    /// Until when the last token it signed lives, once it has stopped signing.
    pub tokens_until_ms: Option<i64>,
    /// When it leaves the key set, or left it.
    pub leaves_ms: Option<i64>,
}

/// All keys, what the instances say of them, and the time.
struct Found {
    keys: Vec<SigningKey>,
    beats: Vec<Heartbeat>,
    plan: KeyPlan,
    now_ms: i64,
}

impl Found {
    fn active(&self) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.state == KeyState::Active)
    }

    fn facts(&self, key: &SigningKey) -> KeyFacts {
        let next = match key.state {
            KeyState::Staged => Some(key),
            KeyState::Active => staged(&self.keys),
            KeyState::Retiring | KeyState::Retired | KeyState::Revoked => None,
        };
        let leaves_ms = key.retiring_ms.map(|since_ms| self.plan.leaves_ms(since_ms));
        let known = Some(key).filter(|key| key.state == KeyState::Staged);
        KeyFacts {
            known_ms: known.and_then(|key| known_everywhere_ms(key, &self.beats, &self.plan, self.now_ms)),
            promotes_ms: next.map(|next| promotes_ms(self.active(), next, &self.beats, &self.plan, self.now_ms)),
            tokens_until_ms: key.retiring_ms.map(|since_ms| self.plan.tokens_until_ms(since_ms)),
            leaves_ms: key.ended_ms.or(leaves_ms),
            key: key.clone(),
        }
    }
}

impl Auth {
    async fn find_keys(&self) -> Result<Found, StoreError> {
        let keys = self.parts.keys.keys().await?;
        let (beats, now_ms) = self.parts.keys.beats().await?;
        let plan = self.key_plan(&beats, now_ms);
        Ok(Found { keys, beats, plan, now_ms })
    }

    /// All keys with what comes next, oldest first.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn describe_keys(&self) -> Result<Vec<KeyFacts>, OperatorRefusal> {
        let found = self.find_keys().await?;
        Ok(found.keys.iter().map(|key| found.facts(key)).collect())
    }

    /// All keys that are in use or ended lately, oldest first.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn list_keys(&self) -> Result<Vec<SigningKey>, OperatorRefusal> {
        Ok(self.parts.keys.keys().await?)
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
        let Some(staged) = staged(&keys) else {
            return Err(OperatorRefusal::Refused(Refusal::NotReady("no key is staged yet")));
        };
        let (beats, now_ms) = self.parts.keys.beat(&self.presence(instance)).await?;
        let plan = self.key_plan(&beats, now_ms);
        let active = keys.iter().find(|key| key.state == KeyState::Active);
        let asked = SigningKey { promote_after_ms: Some(now_ms), ..staged.clone() };
        let at_ms = promotes_ms(active, &asked, &beats, &plan, now_ms);
        let at_once = pace == RotationPace::AtOnce || at_ms <= now_ms;
        let scheduled = KeyRotation::Scheduled { key: staged.id.clone(), at_ms };
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
