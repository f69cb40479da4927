//! The HMAC in refresh tokens, the seal on a token's successor (rule R6) and keyed hashes for tables and limits.

use crate::{
    crypto::{
        aead,
        derive::{self, Key},
        root::Root,
    },
    domain::{
        clock::Random,
        login::Sealer,
        rotation::{Keying, Sealed},
        secret::Secret,
        token::{MAC_LEN, TokenMac},
    },
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The id of the only key there is; it stands in every token, so that another one can follow.
const MAC_KEY: u8 = 1;

/// The keys below the root secret that requests need.
pub struct Keys {
    token_mac: Key,
    seal: Key,
    tag: Key,
    random: Arc<dyn Random>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// The keys below `root`; nonces come from `random`.
    #[must_use]
    pub fn new(root: &Root, random: Arc<dyn Random>) -> Self {
        Self { token_mac: root.token_mac.clone(), seal: root.seal.clone(), tag: root.tag.clone(), random }
    }

    /// The key of one seal: only who holds the token, its idempotency key *and* the server's key can make it.
    fn seal_key(&self, parent: &Secret, idempotency_key: Option<&str>) -> Option<Key> {
        let token = parent.reveal().as_bytes();
        let ikm = match idempotency_key {
            Some(key) => derive::frame(&[token, key.as_bytes()]),
            None => derive::frame(&[token]),
        };
        derive::hkdf(self.seal.as_slice(), &ikm, b"authd successor seal v1")
    }
}

fn keying(idempotency_key: Option<&str>) -> Keying {
    if idempotency_key.is_some() { Keying::Keyed } else { Keying::Plain }
}

impl TokenMac for Keys {
    fn current_key(&self) -> u8 {
        MAC_KEY
    }

    fn mac(&self, key: u8, message: &[u8]) -> Option<[u8; MAC_LEN]> {
        if key != MAC_KEY {
            return None;
        }
        derive::hmac(&self.token_mac, message).first_chunk().copied()
    }
}

impl Sealer for Keys {
    fn seal(&self, parent: &Secret, idempotency_key: Option<&str>, text: &Secret) -> Option<Sealed> {
        let key = self.seal_key(parent, idempotency_key)?;
        let aad = Sha256::digest(parent.reveal());
        let bytes = aead::encrypt(&key, &aad, text.reveal().as_bytes(), self.random.as_ref())?;
        Some(Sealed { bytes, keying: keying(idempotency_key) })
    }

    fn open(&self, parent: &Secret, idempotency_key: Option<&str>, sealed: &Sealed) -> Option<Secret> {
        if sealed.keying != keying(idempotency_key) {
            return None;
        }
        let key = self.seal_key(parent, idempotency_key)?;
        let opened = aead::decrypt(&key, &Sha256::digest(parent.reveal()), &sealed.bytes)?;
        std::str::from_utf8(&opened).ok().map(Secret::new)
    }

    fn tag(&self, purpose: &'static str, message: &[u8]) -> [u8; 32] {
        derive::hmac(&self.tag, &derive::frame(&[purpose.as_bytes(), message]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::fakes::CountedRandom,
        domain::token::{Handle, Recognised, issue, recognise},
    };

    fn keys(root: u8) -> Keys {
        let root = Root::from_bytes(&std::array::from_fn(|at| at as u8 ^ root)).unwrap();
        Keys::new(&root, Arc::new(CountedRandom::default()))
    }

    #[test]
    fn a_token_is_recognised_by_the_installation_that_issued_it_only() {
        let ours = keys(0);
        let token = issue(&ours, Handle([3; 16]), &[4; 32]).unwrap();
        assert_eq!(recognise(&ours, token.text().reveal()), Recognised::Issued(token.clone()));
        assert_eq!(recognise(&keys(1), token.text().reveal()), Recognised::Foreign);
        assert_eq!(ours.mac(2, b"any"), None);
    }

    #[test]
    fn a_seal_opens_for_the_same_token_key_and_server_only() {
        let (ours, parent, text) = (keys(0), Secret::new("art1_parent"), Secret::new("art1_child"));
        for key in [None, Some("0123456789abcdef"), Some("")] {
            let sealed = ours.seal(&parent, key, &text).unwrap();
            assert_eq!(ours.open(&parent, key, &sealed), Some(text.clone()), "{key:?}");
            assert_eq!(keys(1).open(&parent, key, &sealed), None);
            assert_eq!(ours.open(&Secret::new("art1_parenu"), key, &sealed), None);
            for other in [None, Some("0123456789abcdeg"), Some("0")] {
                assert_eq!(ours.open(&parent, other, &sealed).is_some(), other == key);
            }
        }
    }

    #[test]
    fn a_stored_keying_that_was_tampered_with_opens_nothing() {
        let (ours, parent) = (keys(0), Secret::new("art1_parent"));
        let keyed = ours.seal(&parent, Some("0123456789abcdef"), &Secret::new("child")).unwrap();
        let claimed = Sealed { keying: Keying::Plain, ..keyed };
        assert_eq!(ours.open(&parent, None, &claimed), None);
        assert_eq!(ours.open(&parent, Some("0123456789abcdef"), &claimed), None);
    }

    #[test]
    fn the_border_between_token_and_key_cannot_be_moved() {
        let ours = keys(0);
        let sealed = ours.seal(&Secret::new("ab"), Some("c"), &Secret::new("child")).unwrap();
        assert_eq!(ours.open(&Secret::new("a"), Some("bc"), &sealed), None);
    }

    #[test]
    fn purposes_never_share_a_tag() {
        let ours = keys(0);
        assert_ne!(ours.tag("limit", b"ab"), ours.tag("limita", b"b"));
        assert_ne!(ours.tag("limit", b"ab"), keys(1).tag("limit", b"ab"));
        assert_eq!(ours.tag("limit", b"ab"), ours.tag("limit", b"ab"));
    }
}
