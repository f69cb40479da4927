//! Signing keys: their life, when each step may be taken, and the store that keeps them.

use crate::domain::{audit::Event, store_error::StoreError};
use shared::id::KeyId;
use std::collections::BTreeMap;

/// Signature algorithms of access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
}

impl KeyAlgorithm {
    /// The JOSE name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    /// The algorithm of this JOSE name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256].into_iter().find(|algorithm| algorithm.as_str() == text)
    }
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// Published, not yet signing.
    Staged,
    /// Signing.
    Active,
    /// Published until the last token it signed has expired everywhere.
    Retiring,
    /// Not published any more.
    Retired,
    /// Withdrawn at once.
    Revoked,
}

impl KeyState {
    /// The stored and shown text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }

    /// The state of this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Staged, Self::Active, Self::Retiring, Self::Retired, Self::Revoked]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// Whether verifiers find it in the JWKS.
    #[must_use]
    pub fn is_published(self) -> bool {
        matches!(self, Self::Staged | Self::Active | Self::Retiring)
    }
}

/// A stored key. The private half is encrypted under the key-encryption key.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its `kid`.
    pub id: KeyId,
    /// Bound to the `kid`.
    pub algorithm: KeyAlgorithm,
    /// State.
    pub state: KeyState,
    /// Public half: 32 bytes for Ed25519, 65 (SEC1 uncompressed) for P-256.
    pub public: Vec<u8>,
    /// Private half, encrypted; emptied when the key is retired or revoked.
    pub wrapped: Vec<u8>,
    /// When it was made and first published.
    pub created_ms: i64,
    /// Not before this may the scheduled promotion take it; `None`: as soon as it is safe.
    pub promote_after_ms: Option<i64>,
    /// When it began to sign.
    pub activated_ms: Option<i64>,
    /// When it stopped signing.
    pub retiring_ms: Option<i64>,
    /// When it left the JWKS.
    pub ended_ms: Option<i64>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({} {} {})", self.id, self.algorithm.as_str(), self.state.as_str())
    }
}

/// What an instance says of itself every few seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// A random name, new at every start.
    pub instance: String,
    /// When it was last heard, by database time.
    pub beat_ms: i64,
    /// Since when it serves each key in its JWKS, by database time.
    pub serving: BTreeMap<String, i64>,
}

/// An instance that was not heard for this long does not count, in milliseconds.
pub const INSTANCE_LIVE_MS: i64 = 15_000;

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

/// How many instances share this database now, at least one.
#[must_use]
pub fn live_instances(instances: &[Heartbeat], now_ms: i64) -> u32 {
    let live = instances.iter().filter(|beat| now_ms.saturating_sub(beat.beat_ms) <= INSTANCE_LIVE_MS).count();
    u32::try_from(live).unwrap_or(u32::MAX).max(1)
}

/// Whether a staged key has been served long enough by every live instance: cache age + skew.
#[must_use]
pub fn is_known_everywhere(key: &SigningKey, instances: &[Heartbeat], plan: &KeyPlan, now_ms: i64) -> bool {
    let known_ms = plan.cache_ms.saturating_add(plan.skew_ms);
    let mut live = instances.iter().filter(|beat| now_ms.saturating_sub(beat.beat_ms) <= INSTANCE_LIVE_MS).peekable();
    live.peek().is_some()
        && live.all(|beat| {
            beat.serving.get(key.id.as_str()).is_some_and(|since_ms| now_ms.saturating_sub(*since_ms) >= known_ms)
        })
}

/// From when a staged key will have been served long enough by every instance that lives now.
#[must_use]
pub fn known_everywhere_ms(key: &SigningKey, instances: &[Heartbeat], plan: &KeyPlan, now_ms: i64) -> i64 {
    let live = instances.iter().filter(|beat| now_ms.saturating_sub(beat.beat_ms) <= INSTANCE_LIVE_MS);
    let since_ms = live.map(|beat| beat.serving.get(key.id.as_str()).copied().unwrap_or(now_ms)).max();
    since_ms.unwrap_or(now_ms).saturating_add(plan.cache_ms).saturating_add(plan.skew_ms)
}

/// What is to be done now; at most one activation, retirements as they are due.
#[must_use]
pub fn plan_steps(keys: &[SigningKey], instances: &[Heartbeat], plan: &KeyPlan, now_ms: i64) -> Vec<KeyStep> {
    let mut steps = Vec::new();
    let active = keys.iter().find(|key| key.state == KeyState::Active);
    let staged = keys.iter().filter(|key| key.state == KeyState::Staged).min_by_key(|key| key.created_ms);
    let Some(staged) = staged else {
        steps.push(KeyStep::Stage);
        return steps;
    };
    match active {
        // The first key of an installation signs at once: nobody can have cached a set without it.
        None => steps.push(KeyStep::Activate(staged.id.clone())),
        Some(active)
            if is_due(active, staged, plan, now_ms) && is_known_everywhere(staged, instances, plan, now_ms) =>
        {
            steps.push(KeyStep::Activate(staged.id.clone()));
        }
        Some(_) => {}
    }
    let outlived_ms = plan.access_ttl_ms.saturating_add(plan.cache_ms).saturating_add(plan.skew_ms);
    for key in keys.iter().filter(|key| key.state == KeyState::Retiring) {
        if key.retiring_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= outlived_ms) {
            steps.push(KeyStep::Retire(key.id.clone()));
        }
    }
    steps
}

/// An operator's rotation takes the staged key as soon as it is safe; a scheduled one when the active key is old and
/// the staged one has been published for `stage_ms`.
fn is_due(active: &SigningKey, staged: &SigningKey, plan: &KeyPlan, now_ms: i64) -> bool {
    if let Some(promote_after_ms) = staged.promote_after_ms {
        return now_ms >= promote_after_ms;
    }
    let age_ms = now_ms.saturating_sub(active.activated_ms.unwrap_or(active.created_ms));
    age_ms >= plan.rotate_every_ms && now_ms.saturating_sub(staged.created_ms) >= plan.stage_ms
}

/// Keeps signing keys and heartbeats. Every change writes the event it is given, or does nothing.
#[async_trait::async_trait]
pub trait KeyStore: Send + Sync {
    /// All keys that are not yet ended, and those that ended in the last 30 days; oldest first.
    async fn keys(&self) -> Result<Vec<SigningKey>, StoreError>;

    /// Adds a staged key, unless one is staged already: `false` then, and no event.
    async fn stage(&self, key: SigningKey, event: Event) -> Result<bool, StoreError>;

    /// Moves a staged key to active and the active one to retiring; `false` when it is not staged any more.
    async fn activate(&self, id: &KeyId, event: Event) -> Result<bool, StoreError>;

    /// Asks for the promotion of a staged key as soon as it is safe; `false` when it is not staged any more.
    async fn request_promotion(&self, id: &KeyId, event: Event) -> Result<bool, StoreError>;

    /// Moves a retiring key to retired and forgets its private half; `false` when it is not retiring any more.
    async fn retire(&self, id: &KeyId, event: Event) -> Result<bool, StoreError>;

    /// The id of the key-encryption key that wrapped what is stored; `None` while nothing is wrapped.
    async fn kek_id(&self) -> Result<Option<String>, StoreError>;

    /// Binds an empty database to a key-encryption key: the id now stored, which is another's when it came first.
    async fn bind_kek(&self, id: &str) -> Result<String, StoreError>;

    /// Says that this instance lives and which keys it serves; returns all heartbeats younger than a day.
    async fn beat(&self, instance: &str, serving: &[String]) -> Result<(Vec<Heartbeat>, i64), StoreError>;

    /// All heartbeats younger than a day, and what time it is by the clock that they are told by.
    async fn beats(&self) -> Result<(Vec<Heartbeat>, i64), StoreError>;

    /// Says that this instance ends.
    async fn leave(&self, instance: &str) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: KeyPlan =
        KeyPlan { rotate_every_ms: 1_000_000, stage_ms: 50_000, cache_ms: 300, skew_ms: 60, access_ttl_ms: 600 };

    fn key(random: u8, state: KeyState, at_ms: i64) -> SigningKey {
        SigningKey {
            id: KeyId::new(at_ms, [random; 10]),
            algorithm: KeyAlgorithm::EdDsa,
            state,
            public: Vec::new(),
            wrapped: Vec::new(),
            created_ms: at_ms,
            promote_after_ms: None,
            activated_ms: (state >= KeyState::Active).then_some(at_ms),
            retiring_ms: (state >= KeyState::Retiring).then_some(at_ms),
            ended_ms: None,
        }
    }

    fn beat(key: &SigningKey, since_ms: i64, beat_ms: i64) -> Heartbeat {
        Heartbeat { instance: "a".into(), beat_ms, serving: [(key.id.to_string(), since_ms)].into() }
    }

    #[test]
    fn a_new_installation_stages_and_signs_at_once() {
        assert_eq!(plan_steps(&[], &[], &PLAN, 0), [KeyStep::Stage]);
        let first = key(1, KeyState::Staged, 0);
        assert_eq!(plan_steps(std::slice::from_ref(&first), &[], &PLAN, 0), [KeyStep::Activate(first.id)]);
    }

    #[test]
    fn a_requested_rotation_waits_until_every_live_instance_served_the_key_long_enough() {
        let active = key(1, KeyState::Active, 0);
        let staged = SigningKey { promote_after_ms: Some(0), ..key(2, KeyState::Staged, 1_000) };
        let keys = [active, staged.clone()];
        let known = |beats: &[Heartbeat], now_ms| plan_steps(&keys, beats, &PLAN, now_ms).len();
        assert_eq!(known(&[beat(&staged, 1_000, 1_359)], 1_359), 0);
        assert_eq!(known(&[beat(&staged, 1_000, 1_360)], 1_360), 1);
        let late = Heartbeat { instance: "b".into(), serving: BTreeMap::new(), beat_ms: 1_360 };
        assert_eq!(known(&[beat(&staged, 1_000, 1_360), late.clone()], 1_360), 0);
        let from_ms = |beats: &[Heartbeat]| known_everywhere_ms(&staged, beats, &PLAN, 1_360);
        assert_eq!(from_ms(&[beat(&staged, 1_000, 1_360)]), 1_360);
        assert_eq!(from_ms(&[beat(&staged, 1_000, 1_360), late.clone()]), 1_720);
        let dead = Heartbeat { beat_ms: 1_360 - INSTANCE_LIVE_MS - 1, ..late };
        assert_eq!(known(&[beat(&staged, 1_000, 1_360), dead], 1_360), 1);
    }

    #[test]
    fn a_scheduled_rotation_waits_for_age_and_stage() {
        let active = key(1, KeyState::Active, 0);
        let staged = key(2, KeyState::Staged, 990_000);
        let keys = [active, staged.clone()];
        assert!(plan_steps(&keys, &[beat(&staged, 990_000, 1_000_000)], &PLAN, 1_000_000).is_empty());
        assert_eq!(plan_steps(&keys, &[beat(&staged, 990_000, 1_040_000)], &PLAN, 1_040_000).len(), 1);
    }

    #[test]
    fn a_retiring_key_stays_published_until_its_last_token_is_dead_everywhere() {
        let keys = [key(3, KeyState::Retiring, 0), key(1, KeyState::Active, 0), key(2, KeyState::Staged, 0)];
        assert!(plan_steps(&keys, &[], &PLAN, 959).is_empty());
        assert_eq!(plan_steps(&keys, &[], &PLAN, 960), [KeyStep::Retire(keys[0].id.clone())]);
    }
}
