//! Access tokens and the traits that sign and seal: what `auth` needs of cryptography.

use crate::domain::{key::SigningKey, rotation::Sealed, secret::Secret, store_error::StoreError, token::TokenMac};
use shared::id::{KeyId, SessionId, UserId};
use std::sync::Arc;

/// Claims of an access token (RFC 9068 §2.2); times in Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// `sub`.
    pub account: UserId,
    /// `sid`.
    pub session: SessionId,
    /// `jti`.
    pub token_id: String,
    /// `iat`.
    pub issued_s: i64,
    /// `exp`.
    pub expires_s: i64,
    /// `auth_time`.
    pub auth_time_s: i64,
    /// `amr` (RFC 8176).
    pub amr: Vec<String>,
    /// `acr`.
    pub acr: String,
}

/// A verified access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// What it says.
    pub claims: Arc<AccessClaims>,
}

/// Why an access token does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenRefusal {
    /// Good but for its end; what it said, for a logout with an old token.
    Expired(Box<VerifiedToken>),
    /// Anything else.
    Invalid,
}

/// The published keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// JWKS document (RFC 7517 §5).
    pub json: String,
    /// Strong entity tag, with quotes.
    pub etag: String,
}

/// Why no token can be signed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no signing key is active")]
pub struct NoActiveKey;

/// Signs and verifies access tokens with the keys it was given; never waits.
pub trait TokenSigner: Send + Sync {
    /// Makes a key pair; the private half comes encrypted under this key-encryption key.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when wrapping fails.
    fn generate(&self, id: KeyId, now_ms: i64, kek: &str) -> Result<SigningKey, StoreError>;

    /// Replaces the keys in use by those of `keys` that open. One that was opened before is not opened again: it stays
    /// in use even when another instance has moved it to a key-encryption key that this one does not have.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] naming the first that does not open; it is left out.
    fn install(&self, keys: &[SigningKey]) -> Result<(), StoreError>;

    /// Signs with the active key.
    ///
    /// # Errors
    /// [`NoActiveKey`].
    fn sign(&self, claims: &AccessClaims) -> Result<String, NoActiveKey>;

    /// Checks form, `typ`, algorithm, signature, issuer, audience and times.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    fn verify(&self, token: &str, now_ms: i64) -> Result<VerifiedToken, TokenRefusal>;

    /// What `/.well-known/jwks.json` answers.
    fn key_set(&self) -> KeySet;

    /// Ids of the published keys.
    fn published(&self) -> Vec<String>;
}

/// Seals successors and makes keyed hashes, with keys below the key-encryption key.
pub trait Sealer: TokenMac {
    /// Seals `text` for whoever presents `parent` (and `idempotency_key`, if any) again (R6).
    fn seal(&self, parent: &Secret, idempotency_key: Option<&str>, text: &Secret) -> Option<Sealed>;

    /// Opens a seal; `None` when parent or key are not the ones it was made for.
    fn open(&self, parent: &Secret, idempotency_key: Option<&str>, sealed: &Sealed) -> Option<Secret>;

    /// HMAC-SHA-256 of `message` for this purpose; purposes never share a value.
    fn tag(&self, purpose: &'static str, message: &[u8]) -> [u8; 32];
}
