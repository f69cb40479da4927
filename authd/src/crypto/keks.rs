//! The key-encryption keys of an instance: the one in force and, while it is being replaced, the one before.

use crate::{
    crypto::kek::{Kek, KekId},
    domain::{
        clock::Random,
        wrap::{Item, Wrapped, Wrapper},
    },
};
use zeroize::Zeroizing;

/// Reads what is under either, and writes under the one it is told.
#[derive(Debug)]
pub struct Keks {
    current: Kek,
    previous: Option<Kek>,
}

impl Keks {
    /// These two; one that is given twice counts once.
    #[must_use]
    pub fn new(current: Kek, previous: Option<Kek>) -> Self {
        let previous = previous.filter(|previous| previous.id() != current.id());
        Self { current, previous }
    }

    /// The one in force.
    #[must_use]
    pub fn current(&self) -> &KekId {
        self.current.id()
    }

    /// Encrypts under the one with this id; `None` when it is neither.
    #[must_use]
    pub fn wrap(&self, kek: &str, item: Item, plain: &[u8], random: &dyn Random) -> Option<Wrapped> {
        let bytes = self.find(kek)?.wrap(item.owner(), item.purpose(), plain, random)?;
        Some(Wrapped { kek: kek.to_owned(), bytes, item })
    }

    /// Decrypts; `None` when it is under neither, or was changed.
    #[must_use]
    pub fn unwrap(&self, stored: &Wrapped) -> Option<Zeroizing<Vec<u8>>> {
        self.find(&stored.kek)?.unwrap(stored.item.owner(), stored.item.purpose(), &stored.bytes)
    }

    fn find(&self, id: &str) -> Option<&Kek> {
        self.each().find(|kek| kek.id().as_str() == id)
    }

    fn each(&self) -> impl Iterator<Item = &Kek> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl Wrapper for Keks {
    fn ids(&self) -> Vec<String> {
        self.each().map(|kek| kek.id().to_string()).collect()
    }

    fn rewrap(&self, old: &Wrapped, random: &dyn Random) -> Option<Wrapped> {
        let plain = self.unwrap(old)?;
        self.wrap(self.current.id().as_str(), old.item.clone(), &plain, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fakes::CountedRandom;

    fn kek(from: u8) -> Kek {
        Kek::from_bytes(&std::array::from_fn(|at| at as u8 ^ from)).unwrap()
    }

    #[test]
    fn what_moved_opens_under_the_new_key_alone_and_what_did_not_under_the_old_one() {
        let random = CountedRandom::default();
        let (old, both, new) = (Keks::new(kek(1), None), Keks::new(kek(2), Some(kek(1))), Keks::new(kek(2), None));
        let stored = old.wrap(old.current().as_str(), Item::Root, b"secret", &random).unwrap();
        assert_eq!(both.unwrap(&stored).unwrap().as_slice(), b"secret");
        assert!(new.unwrap(&stored).is_none());
        let moved = both.rewrap(&stored, &random).unwrap();
        assert_eq!((moved.kek.as_str(), &moved.item), (new.current().as_str(), &Item::Root));
        assert_eq!(new.unwrap(&moved).unwrap().as_slice(), b"secret");
        assert_eq!(both.unwrap(&moved).unwrap().as_slice(), b"secret");
        assert!(old.unwrap(&moved).is_none() && old.rewrap(&moved, &random).is_none());
        let claimed = Wrapped { kek: both.current().to_string(), ..stored };
        assert!(both.unwrap(&claimed).is_none());
    }

    #[test]
    fn the_one_in_force_is_named_first_and_twice_the_same_is_one() {
        let (one, two) = (kek(1).id().to_string(), kek(2).id().to_string());
        assert_eq!(Keks::new(kek(1), Some(kek(2))).ids(), [one.clone(), two]);
        assert_eq!(Keks::new(kek(1), Some(kek(1))).ids(), [one]);
    }
}
