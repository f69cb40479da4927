//! What operators are told about signing keys: where each of them is, and when its next step comes.

use crate::auth::{Auth, OperatorRefusal};
use crate::domain::{
    instance::Heartbeat,
    key::{KeyState, SigningKey},
    key_plan::{KeyPlan, known_everywhere_ms, promotes_ms, staged},
    store_error::StoreError,
};

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
pub(super) struct Found {
    pub(super) keys: Vec<SigningKey>,
    pub(super) beats: Vec<Heartbeat>,
    pub(super) plan: KeyPlan,
    pub(super) now_ms: i64,
}

impl Found {
    pub(super) fn named(&self, id: &str) -> Result<&SigningKey, OperatorRefusal> {
        let matching: Vec<&SigningKey> = self.keys.iter().filter(|key| key.id.as_str().starts_with(id)).collect();
        match matching.as_slice() {
            [] => Err(OperatorRefusal::none_called("key", id)),
            [key] => Ok(key),
            several => Err(OperatorRefusal::Ambiguous(several.iter().map(|key| key.id.to_string()).collect())),
        }
    }

    pub(super) fn active(&self) -> Option<&SigningKey> {
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
    pub(super) async fn find_keys(&self) -> Result<Found, StoreError> {
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

    /// A key by its id or an unambiguous beginning of it, with what comes next.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn show_key(&self, id: &str) -> Result<KeyFacts, OperatorRefusal> {
        let found = self.find_keys().await?;
        Ok(found.facts(found.named(id)?))
    }
}
