//! The root secret of an installation: every key that must outlive a change of the key-encryption key comes from it.

use crate::{
    crypto::{
        derive::{self, Key},
        keks::Keks,
    },
    domain::{
        clock::{Random, random_bytes},
        wrap::{Item, Wrapped},
    },
};
use std::fmt;
use zeroize::Zeroizing;

/// The keys below the root secret, which itself is forgotten once they are made. None is used for two things.
pub struct Root {
    pub(super) token_mac: Key,
    pub(super) seal: Key,
    pub(super) tag: Key,
    pub(super) audit_mac: Key,
    pub(super) audit_seed: Key,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root(…)")
    }
}

impl Root {
    /// The keys below these 32 bytes; `None` cannot happen.
    #[must_use]
    pub fn from_bytes(secret: &[u8; 32]) -> Option<Self> {
        let below = |purpose: &str| derive::hkdf(b"authd root secret v1", secret, purpose.as_bytes());
        Some(Self {
            token_mac: below("refresh token mac")?,
            seal: below("successor seal")?,
            tag: below("tag")?,
            audit_mac: below("audit mac")?,
            audit_seed: below("audit checkpoint")?,
        })
    }

    /// A new root secret as it is stored, under the key-encryption key in force.
    #[must_use]
    pub fn generate(keks: &Keks, random: &dyn Random) -> Option<Wrapped> {
        let secret = Zeroizing::new(random_bytes::<32>(random));
        keks.wrap(keks.current().as_str(), Item::Root, secret.as_slice(), random)
    }

    /// The keys below a stored root secret; `None` when it does not open.
    #[must_use]
    pub fn open(keks: &Keks, stored: &Wrapped) -> Option<Self> {
        let secret = keks.unwrap(stored)?;
        Self::from_bytes(secret.as_slice().try_into().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{fakes::CountedRandom, kek::Kek};

    #[test]
    fn a_root_secret_opens_under_its_key_encryption_key_to_the_same_keys() {
        let random = CountedRandom::default();
        let [ours, other] = [1, 2].map(|from| Kek::from_bytes(&std::array::from_fn(|at| at as u8 + from)).unwrap());
        let (ours, other) = (Keks::new(ours, None), Keks::new(other, None));
        let stored = Root::generate(&ours, &random).unwrap();
        let (once, again) = (Root::open(&ours, &stored).unwrap(), Root::open(&ours, &stored).unwrap());
        assert_eq!(once.token_mac, again.token_mac);
        assert!(Root::open(&other, &stored).is_none());
        assert_ne!(stored, Root::generate(&ours, &random).unwrap());
    }

    #[test]
    fn no_two_purposes_share_a_key_and_debug_shows_none() {
        let root = Root::from_bytes(&std::array::from_fn(|at| at as u8)).unwrap();
        let keys = [&root.token_mac, &root.seal, &root.tag, &root.audit_mac, &root.audit_seed];
        assert!((0..keys.len()).all(|a| (0..a).all(|b| keys[a] != keys[b])));
        assert_eq!(format!("{root:?}"), "Root(…)");
    }
}
