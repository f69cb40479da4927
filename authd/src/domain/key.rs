//! Signing keys, the states they go through, and the store that keeps them.

use crate::domain::{
    audit::Event,
    instance::{Heartbeat, Presence},
    store_error::StoreError,
    wrap::{Item, Wrapped},
};
use shared::id::KeyId;

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
    /// The id of the key-encryption key that it is encrypted under.
    pub kek: String,
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

impl SigningKey {
    /// The private half as it is stored.
    #[must_use]
    pub fn private(&self) -> Wrapped {
        Wrapped { item: Item::SigningKey(self.id.clone()), kek: self.kek.clone(), bytes: self.wrapped.clone() }
    }
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

    /// Retires the staged key `old`, which never signed, and stages `new` in its place; `false` when `old` is not
    /// staged any more.
    async fn replace_staged(&self, old: &KeyId, new: SigningKey, events: [Event; 2]) -> Result<bool, StoreError>;

    /// Withdraws a published key and forgets its private half; `next`, which is staged, signs from then on. `false`,
    /// and nothing happens, when either is not in that state any more, or the key signs and none is to follow it.
    async fn revoke(&self, id: &KeyId, next: Option<&KeyId>, events: Vec<Event>) -> Result<bool, StoreError>;

    /// How many live sessions may hold an access token that was issued in this time.
    async fn sessions_with_tokens(&self, issued_ms: std::ops::Range<i64>) -> Result<u64, StoreError>;

    /// Says that this instance lives and what it serves; returns all heartbeats of the last three days.
    async fn beat(&self, presence: &Presence) -> Result<(Vec<Heartbeat>, i64), StoreError>;

    /// All heartbeats of the last three days, and what time it is by the clock that they are told by.
    async fn beats(&self) -> Result<(Vec<Heartbeat>, i64), StoreError>;

    /// Says that this instance ends.
    async fn leave(&self, instance: &str) -> Result<(), StoreError>;
}
