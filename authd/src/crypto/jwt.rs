//! Access tokens: signed with a kept key pair, verified strictly (RFC 9068 §4, RFC 8725), never waiting.

mod claims;
mod keyring;
mod pair;
mod provider;
mod remembered;

use crate::{
    crypto::keks::Keks,
    domain::{
        clock::Random,
        key::{KeyAlgorithm, KeyState, SigningKey},
        login::{AccessClaims, KeySet, NoActiveKey, TokenRefusal, TokenSigner, VerifiedToken},
        store_error::StoreError,
        wrap::Item,
    },
};
use claims::{Audience, Wire};
use keyring::Keyring;
use pair::KeyPair;
use remembered::{Accepted, Remembered};
use sha2::{Digest, Sha256};
use shared::id::KeyId;
use std::sync::{Arc, PoisonError, RwLock};

/// A longer token is refused unread; ours have about 700 bytes.
const MAX_TOKEN_LEN: usize = 8 * 1_024;

/// What tokens say of this installation and how their times are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// Algorithm of new keys; every kept key keeps its own.
    pub algorithm: KeyAlgorithm,
    /// How far `iat` and `nbf` may lie ahead of this machine's clock, in milliseconds.
    pub skew_ms: i64,
    /// How long after `exp` a token still works, in milliseconds; 0 at authd's own endpoints.
    pub expiry_leeway_ms: i64,
}

/// Signs and verifies with an immutable snapshot of the published keys, replaced as a whole.
pub struct JwtSigner {
    settings: TokenSettings,
    keks: Arc<Keks>,
    random: Arc<dyn Random>,
    snapshot: RwLock<Arc<Snapshot>>,
}

/// Published keys and the tokens that were verified with them: a withdrawn key takes its tokens along.
struct Snapshot {
    keyring: Keyring,
    remembered: Remembered,
}

impl std::fmt::Debug for JwtSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JwtSigner({:?})", self.published())
    }
}

impl JwtSigner {
    /// A signer without keys; [`TokenSigner::install`] brings them.
    #[must_use]
    pub fn new(settings: TokenSettings, keks: Arc<Keks>, random: Arc<dyn Random>) -> Self {
        provider::install();
        let empty = Snapshot { keyring: Keyring::default(), remembered: Remembered::default() };
        Self { settings, keks, random, snapshot: RwLock::new(Arc::new(empty)) }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything but the times: form, header, signature, issuer, audience.
    fn accept(&self, keyring: &Keyring, token: &str) -> Option<Accepted> {
        let header = claims::read_header(token)?;
        let key = keyring.find(&header.kid)?;
        if header.alg != key.algorithm.as_str() {
            return None;
        }
        let wire = key.verify(token)?;
        if wire.iss != self.settings.issuer || !wire.aud.is_only(&self.settings.audience) {
            return None;
        }
        let not_before_s = wire.nbf;
        Some(Accepted { token: VerifiedToken { claims: Arc::new(wire.into_claims()?) }, not_before_s })
    }

    /// The times, asked at every use.
    fn check_times(&self, accepted: &Accepted, now_ms: i64) -> Result<(), TokenRefusal> {
        let claims = &accepted.token.claims;
        let ahead_ms = now_ms.saturating_add(self.settings.skew_ms);
        let begins_s = claims.issued_s.max(accepted.not_before_s.unwrap_or(i64::MIN));
        if begins_s.saturating_mul(1_000) > ahead_ms {
            return Err(TokenRefusal::Invalid);
        }
        let ends_ms = claims.expires_s.saturating_mul(1_000).saturating_add(self.settings.expiry_leeway_ms);
        if now_ms < ends_ms { Ok(()) } else { Err(TokenRefusal::Expired(Box::new(accepted.token.clone()))) }
    }
}

impl TokenSigner for JwtSigner {
    fn generate(&self, id: KeyId, now_ms: i64, kek: &str) -> Result<SigningKey, StoreError> {
        let algorithm = self.settings.algorithm;
        let made = KeyPair::generate(algorithm, self.random.as_ref()).and_then(|pair| {
            let private = pair.private();
            let item = Item::SigningKey(id.clone());
            Some((pair.public(), self.keks.wrap(kek, item, &private, self.random.as_ref())?))
        });
        let (public, wrapped) = made.ok_or_else(|| StoreError::corrupt(format_args!("{id} could not be wrapped")))?;
        Ok(SigningKey {
            id,
            algorithm,
            state: KeyState::Staged,
            public,
            wrapped: wrapped.bytes,
            kek: wrapped.kek,
            created_ms: now_ms,
            promote_after_ms: None,
            activated_ms: None,
            retiring_ms: None,
            ended_ms: None,
        })
    }

    fn install(&self, keys: &[SigningKey]) -> Result<(), StoreError> {
        let before = self.snapshot();
        let (keyring, closed) = Keyring::open(keys, &before.keyring, |key| self.keks.unwrap(&key.private()));
        // The same keys again, as every poll brings them, need not make anybody verify again.
        if !before.keyring.is_same(&keyring) {
            let mut current = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
            *current = Arc::new(Snapshot { keyring, remembered: Remembered::default() });
        }
        closed.map_or(Ok(()), |id| {
            Err(StoreError::corrupt(format_args!("signing key {id} does not open with this key-encryption key")))
        })
    }

    fn sign(&self, claims: &AccessClaims) -> Result<String, NoActiveKey> {
        let snapshot = self.snapshot();
        let (id, pair) = snapshot.keyring.active().ok_or(NoActiveKey)?;
        let audience = Audience::One(self.settings.audience.clone());
        let wire = Wire::of(claims, self.settings.issuer.clone(), audience);
        let message = claims::write(pair.algorithm(), id, &wire).ok_or(NoActiveKey)?;
        let signature = claims::encode(&pair.sign(message.as_bytes()));
        Ok(format!("{message}.{signature}"))
    }

    fn verify(&self, token: &str, now_ms: i64) -> Result<VerifiedToken, TokenRefusal> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenRefusal::Invalid);
        }
        let snapshot = self.snapshot();
        let hash: [u8; 32] = Sha256::digest(token).into();
        let accepted = match snapshot.remembered.recall(&hash) {
            Some(accepted) => accepted,
            None => {
                let accepted = Arc::new(self.accept(&snapshot.keyring, token).ok_or(TokenRefusal::Invalid)?);
                // One that has ended is not worth a place.
                self.check_times(&accepted, now_ms)?;
                snapshot.remembered.keep(hash, &accepted);
                accepted
            }
        };
        if let Err(refusal) = self.check_times(&accepted, now_ms) {
            snapshot.remembered.forget(&hash);
            return Err(refusal);
        }
        Ok(accepted.token.clone())
    }

    fn key_set(&self) -> KeySet {
        self.snapshot().keyring.key_set().clone()
    }

    fn published(&self) -> Vec<String> {
        self.snapshot().keyring.ids()
    }
}

#[cfg(test)]
mod tests;
