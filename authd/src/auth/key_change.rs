//! What operators do with the next signing key: stage it, let it sign.

use crate::auth::{Auth, Operator, OperatorRefusal, Refusal, key_facts::Found};
use crate::domain::{
    audit::Action,
    key::SigningKey,
    key_plan::{instances_without, known_everywhere_ms, promotes_ms, staged},
};
use shared::{
    id::KeyId,
    time::{Span, Timestamp},
};
use std::time::Duration;

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
    /// Publishes a new key now; in place of the staged one, if there is one and it may be replaced.
    ///
    /// # Errors
    /// [`OperatorRefusal::Conflict`] when a key is staged already; [`OperatorRefusal`].
    pub async fn stage_key(
        &self,
        operator: &Operator,
        replacement: Replacement,
        instance: &str,
    ) -> Result<KeyStaging, OperatorRefusal> {
        let found = self.find_keys().await?;
        let old = staged(&found.keys);
        if let (Some(old), Replacement::Refuse) = (old, replacement) {
            return Err(OperatorRefusal::Conflict(format!(
                "{} is staged since {}: it signs next, or let a new one take its place with `authctl key stage --yes`",
                old.id,
                Timestamp(old.created_ms),
            )));
        }
        let replaced = old.map(|old| old.id.clone());
        let known_ms = found.now_ms.saturating_add(found.plan.known_ms());
        if operator.is_dry_run() {
            return Ok(KeyStaging { key: None, replaced, known_ms });
        }
        let new = self.new_key(&found.beats, found.now_ms)?;
        let id = new.id.clone();
        let event = self.operator_event(operator, Action::KeyStaged).about("key", id.as_str());
        let done = match &replaced {
            None => self.parts.keys.stage(new, event).await?,
            Some(old) => {
                let retired = self.operator_event(operator, Action::KeyRetired).about("key", old.as_str());
                let events = [retired.with("replaced_by", &id), event];
                self.parts.keys.replace_staged(old, new, events).await?
            }
        };
        self.settle(done, instance).await?;
        Ok(KeyStaging { key: Some(id), replaced, known_ms })
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
        let (found, key) = self.next_key(instance).await?;
        let asked = SigningKey { promote_after_ms: Some(found.now_ms), ..key.clone() };
        let at_ms = promotes_ms(found.active(), &asked, &found.beats, &found.plan, found.now_ms);
        if pace == RotationPace::AtOnce || at_ms <= found.now_ms {
            return self.promote(operator, &key, pace, instance).await;
        }
        if !operator.is_dry_run() {
            let event = self.operator_event(operator, Action::KeyStaged).about("key", key.id.as_str());
            let event = event.with("pace", "safe").with("promotion", "requested");
            let asked = self.parts.keys.request_promotion(&key.id, event).await?;
            self.settle(asked, instance).await?;
        }
        Ok(KeyRotation::Scheduled { key: key.id, at_ms })
    }

    /// Lets the staged key sign now.
    ///
    /// # Errors
    /// [`OperatorRefusal::Conflict`], which says how long still, when a verifier may not know it yet and that is not
    /// accepted; [`OperatorRefusal`].
    pub async fn promote_key(
        &self,
        operator: &Operator,
        pace: RotationPace,
        instance: &str,
    ) -> Result<KeyRotation, OperatorRefusal> {
        let (found, key) = self.next_key(instance).await?;
        if pace == RotationPace::Safe {
            expect_known(&found, &key)?;
        }
        self.promote(operator, &key, pace, instance).await
    }

    async fn promote(
        &self,
        operator: &Operator,
        key: &SigningKey,
        pace: RotationPace,
        instance: &str,
    ) -> Result<KeyRotation, OperatorRefusal> {
        if !operator.is_dry_run() {
            let event = self.operator_event(operator, Action::KeyActivated).about("key", key.id.as_str());
            let event = event.with("pace", if pace == RotationPace::AtOnce { "at_once" } else { "safe" });
            let done = self.parts.keys.activate(&key.id, event).await?;
            self.settle(done, instance).await?;
        }
        Ok(KeyRotation::Promoted(key.id.clone()))
    }

    /// The staged key, after this instance has said what it serves.
    async fn next_key(&self, instance: &str) -> Result<(Found, SigningKey), OperatorRefusal> {
        self.beat(instance).await?;
        let found = self.find_keys().await?;
        let key = staged(&found.keys).ok_or_else(nothing_staged)?.clone();
        Ok((found, key))
    }

    /// Puts a change into force here, at once, and takes the steps that follow from it.
    pub(super) async fn settle(&self, done: bool, instance: &str) -> Result<(), OperatorRefusal> {
        if !done {
            return Err(OperatorRefusal::Conflict(
                "another change of the keys came first: look at them with `authctl key list`, then decide".to_owned(),
            ));
        }
        // The change is made; what could not follow now follows with the next beat.
        let _ = self.beat(instance).await;
        Ok(())
    }
}

pub(super) fn nothing_staged() -> OperatorRefusal {
    OperatorRefusal::Refused(Refusal::NotReady("no key is staged yet"))
}

fn expect_known(found: &Found, key: &SigningKey) -> Result<(), OperatorRefusal> {
    let force = "or promote it now with --force: verifiers that do not know it refuse new tokens until they fetch the \
                 key set";
    match known_everywhere_ms(key, &found.beats, &found.plan, found.now_ms) {
        Some(known_ms) if known_ms <= found.now_ms => Ok(()),
        Some(known_ms) => Err(OperatorRefusal::Conflict(format!(
            "verifiers may keep a key set without {} for {} still, until {}: wait; {force}",
            key.id,
            span(known_ms.saturating_sub(found.now_ms)),
            Timestamp(known_ms),
        ))),
        None => Err(OperatorRefusal::Conflict(format!(
            "{} live instances do not serve {} yet; it takes {} from when they do: wait; {force}",
            instances_without(key, &found.beats, found.now_ms),
            key.id,
            span(found.plan.known_ms()),
        ))),
    }
}

/// Whole seconds, the one begun included.
pub(super) fn span(ms: i64) -> Span {
    Span(Duration::from_secs(u64::try_from(ms).unwrap_or(0).div_ceil(1_000)))
}

/// How fast an operator wants a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationPace {
    /// When no verifier can miss the new key.
    Safe,
    /// Now: verifiers with an older copy of the set refuse new tokens until they fetch it again.
    AtOnce,
}

/// Whether a staged key may be replaced by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// No.
    Refuse,
    /// Yes.
    Allow,
}

/// What `key stage` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStaging {
    /// The new key; `None` in a dry run.
    pub key: Option<KeyId>,
    /// The staged key it takes the place of.
    pub replaced: Option<KeyId>,
    /// From when every verifier knows it, by database time.
    pub known_ms: i64,
}
