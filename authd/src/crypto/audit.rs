//! The audit key: MACs of events and signatures of checkpoints, below the root secret.

use crate::{
    crypto::{
        derive::{self, Key},
        root::Root,
    },
    domain::chain::Notary,
};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest, Sha256};
use shared::hex;

/// The keys of the audit log.
pub struct AuditKeys {
    mac: Key,
    signing: SigningKey,
    id: String,
}

impl std::fmt::Debug for AuditKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditKeys({})", self.id)
    }
}

impl AuditKeys {
    /// The keys below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let signing = SigningKey::from_bytes(&root.audit_seed);
        let name: [u8; 32] = Sha256::digest(signing.verifying_key().as_bytes()).into();
        let id = format!("aud_{}", hex::encode(name.first_chunk::<8>().unwrap_or(&[0; 8])));
        Self { mac: root.audit_mac.clone(), signing, id }
    }
}

impl Notary for AuditKeys {
    fn keyed(&self, bytes: &[u8]) -> [u8; 32] {
        derive::hmac(&self.mac, bytes)
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.signing.sign(message).to_bytes().to_vec()
    }

    fn public(&self) -> Vec<u8> {
        self.signing.verifying_key().to_bytes().to_vec()
    }

    fn key_id(&self) -> &str {
        &self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::chain::AuditKey;

    fn keys(secret: u8) -> AuditKeys {
        AuditKeys::new(&Root::from_bytes(&std::array::from_fn(|at| at as u8 ^ secret)).unwrap())
    }

    #[test]
    fn a_signature_is_this_installations_and_shows_nothing_of_the_key() {
        let ours = keys(0);
        let public = AuditKey { id: ours.key_id().to_owned(), public: ours.public(), created_ms: 0 };
        assert!(public.verifies(b"message", &ours.sign(b"message")));
        assert!(!public.verifies(b"messagf", &ours.sign(b"message")));
        assert!(!public.verifies(b"message", &keys(1).sign(b"message")));
        assert_ne!(ours.keyed(b"event"), keys(1).keyed(b"event"));
        assert_ne!(ours.key_id(), keys(1).key_id());
        assert_eq!(format!("{ours:?}"), format!("AuditKeys({})", ours.key_id()));
    }
}
