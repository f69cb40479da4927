//! Key pairs of the two algorithms: made, kept and used in one place.

use crate::domain::{
    clock::{Random, random_bytes},
    key::KeyAlgorithm,
};
use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

/// A private key with its public half ready; signing parses nothing.
pub(super) enum KeyPair {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    P256(Box<p256::ecdsa::SigningKey>),
}

impl KeyPair {
    /// A new pair; `None` only when randomness keeps naming numbers outside of P-256's order.
    pub(super) fn generate(algorithm: KeyAlgorithm, random: &dyn Random) -> Option<Self> {
        (0..8).find_map(|_| Self::from_private(algorithm, Zeroizing::new(random_bytes::<32>(random)).as_slice()))
    }

    /// Reads the private half: 32 bytes, seed or big-endian scalar.
    pub(super) fn from_private(algorithm: KeyAlgorithm, private: &[u8]) -> Option<Self> {
        match algorithm {
            KeyAlgorithm::EdDsa => {
                let seed: Zeroizing<[u8; 32]> = Zeroizing::new(private.try_into().ok()?);
                Some(Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed))))
            }
            KeyAlgorithm::Es256 => Some(Self::P256(Box::new(p256::ecdsa::SigningKey::from_slice(private).ok()?))),
        }
    }

    pub(super) fn private(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Ed25519(key) => Zeroizing::new(key.as_bytes().to_vec()),
            Self::P256(key) => Zeroizing::new(key.to_bytes().to_vec()),
        }
    }

    pub(super) fn public(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.verifying_key().to_bytes().to_vec(),
            Self::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
        }
    }

    pub(super) fn algorithm(&self) -> KeyAlgorithm {
        match self {
            Self::Ed25519(_) => KeyAlgorithm::EdDsa,
            Self::P256(_) => KeyAlgorithm::Es256,
        }
    }

    /// The signature as JWS carries it: 64 bytes (RFC 8037 §3.1, RFC 7518 §3.4). ES256 signatures have a low `s`, so
    /// that one token has one text.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().to_bytes().to_vec()
            }
        }
    }
}
