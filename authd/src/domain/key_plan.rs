//! When each step in the life of signing keys may be taken: pure rules over keys, heartbeats and the time.
//!
//! A key signs only after every live instance has served it for cache age + skew, and it stays published until the last
//! token it signed has expired, and for cache age + skew beyond that.

use crate::domain::{
    instance::{Heartbeat, live},
    key::{KeyState, SigningKey},
};
use shared::id::KeyId;

/// How long an instance may go on signing with a key that another one has replaced, in milliseconds: it looks more
/// often, and looks before it signs when it could not.
pub const KEYS_KNOWN_MS: i64 = 2_000;
/// Verifiers may hold a key set that was served this long ago, in milliseconds.
const CACHES_KEPT_MS: i64 = 24 * 3_600_000;

/// Times that the life of keys follows, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPlan {
    /// Age at which an active key is replaced.
    pub rotate_every_ms: i64,
    /// How long a scheduled successor is published before it signs.
    pub stage_ms: i64,
    /// The largest `max-age` served with the JWKS in the last 24 h.
    pub cache_ms: i64,
    /// Allowed difference of clocks.
    pub skew_ms: i64,
    /// The longest life of an access token.
    pub access_ttl_ms: i64,
}

impl KeyPlan {
    /// The same with the largest cache age of the last 24 h and the longest tokens of any instance: what others are
    /// configured to, or were before they were started anew, counts as well.
    #[must_use]
    pub fn over(self, instances: &[Heartbeat], now_ms: i64) -> Self {
        let lately = instances.iter().filter(|beat| now_ms.saturating_sub(beat.beat_ms) <= CACHES_KEPT_MS);
        Self {
            cache_ms: lately.map(|beat| beat.cache_ms).fold(self.cache_ms, i64::max),
            access_ttl_ms: instances.iter().map(|beat| beat.access_ttl_ms).fold(self.access_ttl_ms, i64::max),
            ..self
        }
    }

    /// How long every verifier that follows the rules may take to know a key that was published.
    #[must_use]
    pub fn known_ms(&self) -> i64 {
        self.cache_ms.saturating_add(self.skew_ms)
    }

    /// Until when tokens live that a key signed: it stopped at `retiring_ms`.
    #[must_use]
    pub fn tokens_until_ms(&self, retiring_ms: i64) -> i64 {
        retiring_ms.saturating_add(self.access_ttl_ms).saturating_add(KEYS_KNOWN_MS)
    }

    /// When a key leaves the key set that stopped signing at `retiring_ms`.
    #[must_use]
    pub fn leaves_ms(&self, retiring_ms: i64) -> i64 {
        self.tokens_until_ms(retiring_ms).saturating_add(self.known_ms())
    }
}

/// A step in the life of keys. Several instances may plan the same one; the store lets one of them do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStep {
    /// Make and publish the next key.
    Stage,
    /// Let this staged key sign, and its predecessor retire.
    Activate(KeyId),
    /// Take this one out of the JWKS.
    Retire(KeyId),
}

/// From when a staged key has been served long enough by every instance that lives now: cache age + skew after the last
/// of them began to. `None` while no instance lives, or one does not serve it yet.
#[must_use]
pub fn known_everywhere_ms(key: &SigningKey, instances: &[Heartbeat], plan: &KeyPlan, now_ms: i64) -> Option<i64> {
    let since: Option<Vec<i64>> =
        live(instances, now_ms).map(|beat| beat.serving.get(key.id.as_str()).copied()).collect();
    Some(since?.into_iter().max()?.saturating_add(plan.known_ms()))
}

/// How many live instances do not serve a key.
#[must_use]
pub fn instances_without(key: &SigningKey, instances: &[Heartbeat], now_ms: i64) -> usize {
    live(instances, now_ms).filter(|beat| !beat.serving.contains_key(key.id.as_str())).count()
}

/// When the staged key begins to sign, unless an instance starts afresh until then: an operator's rotation takes it as
/// soon as every verifier can know it, a scheduled one not before the active key is old and the staged one has been
/// published for `stage_ms`.
#[must_use]
pub fn promotes_ms(
    active: Option<&SigningKey>,
    staged: &SigningKey,
    instances: &[Heartbeat],
    plan: &KeyPlan,
    now_ms: i64,
) -> i64 {
    // The first key of an installation signs at once: nobody can have cached a set without it.
    let Some(active) = active else { return now_ms };
    let known_ms = known_everywhere_ms(staged, instances, plan, now_ms);
    let known_ms = known_ms.unwrap_or_else(|| now_ms.saturating_add(plan.known_ms()).saturating_add(1));
    let due_ms = staged.promote_after_ms.unwrap_or_else(|| {
        let old_ms = active.activated_ms.unwrap_or(active.created_ms).saturating_add(plan.rotate_every_ms);
        old_ms.max(staged.created_ms.saturating_add(plan.stage_ms))
    });
    due_ms.max(known_ms)
}

/// What is to be done now; at most one activation, retirements as they are due.
#[must_use]
pub fn plan_steps(keys: &[SigningKey], instances: &[Heartbeat], plan: &KeyPlan, now_ms: i64) -> Vec<KeyStep> {
    let mut steps = Vec::new();
    let active = keys.iter().find(|key| key.state == KeyState::Active);
    match staged(keys) {
        None => steps.push(KeyStep::Stage),
        Some(staged) if promotes_ms(active, staged, instances, plan, now_ms) <= now_ms => {
            steps.push(KeyStep::Activate(staged.id.clone()));
        }
        Some(_) => {}
    }
    let retiring = keys.iter().filter(|key| key.state == KeyState::Retiring);
    let outlived = retiring.filter(|key| key.retiring_ms.is_some_and(|since_ms| plan.leaves_ms(since_ms) <= now_ms));
    steps.extend(outlived.map(|key| KeyStep::Retire(key.id.clone())));
    steps
}

/// The key that is published and waits for its turn.
#[must_use]
pub fn staged(keys: &[SigningKey]) -> Option<&SigningKey> {
    keys.iter().filter(|key| key.state == KeyState::Staged).min_by_key(|key| key.created_ms)
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
