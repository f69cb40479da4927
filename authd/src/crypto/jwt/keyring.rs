//! The published keys of one moment: one of them signs, all of them verify, all of them stand in the JWKS.

use super::{
    claims::{self, Unique, Wire},
    pair::KeyPair,
};
use crate::domain::{
    key::{KeyAlgorithm, KeyState, SigningKey},
    login::KeySet,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::{hex, id::KeyId};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A key that verifies. Its algorithm is a property of the key, never of the token (RFC 8725 §3.1).
pub(super) struct PublicKey {
    pub(super) id: KeyId,
    pub(super) algorithm: KeyAlgorithm,
    public: Vec<u8>,
    decoding: DecodingKey,
    validation: Validation,
    pair: Arc<KeyPair>,
}

impl PublicKey {
    fn new(key: &SigningKey, pair: Arc<KeyPair>) -> Self {
        let (algorithm, decoding) = match key.algorithm {
            KeyAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_der(&key.public)),
            KeyAlgorithm::Es256 => (Algorithm::ES256, DecodingKey::from_ec_der(&key.public)),
        };
        // The crate checks form and signature. Claims are checked here: it reads its own clock and takes any audience
        // list that contains ours.
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self { id: key.id.clone(), algorithm: key.algorithm, public: key.public.clone(), decoding, validation, pair }
    }

    /// The claims of a token with a good signature of this key.
    pub(super) fn verify(&self, token: &str) -> Option<Wire> {
        let read = jsonwebtoken::decode::<Unique>(token, &self.decoding, &self.validation).ok()?;
        read.claims.into_wire()
    }
}

/// Keys in the order in which they were made.
#[derive(Default)]
pub(super) struct Keyring {
    public: Vec<PublicKey>,
    active: Option<(KeyId, Arc<KeyPair>)>,
    key_set: KeySetOf,
}

/// A key set that is there from the beginning, without keys.
struct KeySetOf(KeySet);

impl Default for KeySetOf {
    fn default() -> Self {
        Self(key_set(&[]))
    }
}

impl Keyring {
    /// Opens the published ones of `keys`; also the id of the first that does not open. Each must unwrap and its stored
    /// public half must be that of the private one: who can write the database, but lacks the key-encryption key,
    /// cannot bring in a key of their own. What `before` holds was opened already.
    pub(super) fn open(
        keys: &[SigningKey],
        before: &Self,
        unwrap: impl Fn(&SigningKey) -> Option<Zeroizing<Vec<u8>>>,
    ) -> (Self, Option<KeyId>) {
        let mut published: Vec<&SigningKey> = keys.iter().filter(|key| key.state.is_published()).collect();
        published.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        let (mut public, mut closed) = (Vec::with_capacity(published.len()), None);
        let mut active: Option<(Option<i64>, KeyId, Arc<KeyPair>)> = None;
        for key in published {
            let opened = || Some(Arc::new(KeyPair::from_private(key.algorithm, &unwrap(key)?)?));
            let pair = before.pair_of(key).or_else(opened).filter(|pair| pair.public() == key.public);
            let Some(pair) = pair else {
                closed.get_or_insert_with(|| key.id.clone());
                continue;
            };
            let is_latest = active.as_ref().is_none_or(|(since_ms, _, _)| key.activated_ms >= *since_ms);
            if key.state == KeyState::Active && is_latest {
                active = Some((key.activated_ms, key.id.clone(), pair.clone()));
            }
            public.push(PublicKey::new(key, pair));
        }
        let key_set = KeySetOf(key_set(&public));
        (Self { public, active: active.map(|(_, id, pair)| (id, pair)), key_set }, closed)
    }

    fn pair_of(&self, key: &SigningKey) -> Option<Arc<KeyPair>> {
        let same =
            |held: &&PublicKey| held.id == key.id && held.algorithm == key.algorithm && held.public == key.public;
        self.public.iter().find(same).map(|held| held.pair.clone())
    }

    pub(super) fn find(&self, kid: &str) -> Option<&PublicKey> {
        self.public.iter().find(|key| key.id.as_str() == kid)
    }

    pub(super) fn active(&self) -> Option<&(KeyId, Arc<KeyPair>)> {
        self.active.as_ref()
    }

    pub(super) fn key_set(&self) -> &KeySet {
        &self.key_set.0
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.public.iter().map(|key| key.id.to_string()).collect()
    }

    /// Whether it publishes the same keys and signs with the same one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let signs = |keyring: &Self| keyring.active.as_ref().map(|(id, _)| id.clone());
        self.key_set.0 == other.key_set.0 && signs(self) == signs(other)
    }
}

/// A public key as a JWK (RFC 7517, RFC 8037 §2, RFC 7518 §6.2.1). There is no field that could hold a private half.
#[derive(Serialize)]
struct Jwk<'a> {
    kty: &'static str,
    crv: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    kid: &'a str,
    #[serde(rename = "use")]
    used_for: &'static str,
    alg: &'static str,
}

#[derive(Serialize)]
struct Jwks<'a> {
    keys: Vec<Jwk<'a>>,
}

fn key_set(public: &[PublicKey]) -> KeySet {
    let keys = public.iter().map(jwk).collect();
    // Texts only: there is nothing in it that could fail to be written.
    let json = serde_json::to_string(&Jwks { keys }).unwrap_or_default();
    let etag = Sha256::digest(&json).first_chunk::<16>().map_or_else(String::new, |half| hex::encode(half));
    KeySet { json, etag: format!("\"{etag}\"") }
}

fn jwk(key: &PublicKey) -> Jwk<'_> {
    let (kty, crv, x, y) = match key.algorithm {
        KeyAlgorithm::EdDsa => ("OKP", "Ed25519", key.public.as_slice(), None),
        KeyAlgorithm::Es256 => {
            let (x, y) = key.public.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
            ("EC", "P-256", x, Some(y))
        }
    };
    let alg = key.algorithm.as_str();
    Jwk { kty, crv, x: claims::encode(x), y: y.map(claims::encode), kid: key.id.as_str(), used_for: "sig", alg }
}
