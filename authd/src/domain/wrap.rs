//! What the key-encryption key encrypts — the root secret and the private halves of signing keys — and how it moves to
//! another key-encryption key: row by row, each of them readable under the old one or the new one at any moment.

use crate::domain::{
    audit::Event,
    clock::Random,
    instance::{Heartbeat, live},
    store_error::StoreError,
};
use shared::id::KeyId;

/// What is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The root secret.
    Root,
    /// The private half of this signing key.
    SigningKey(KeyId),
}

impl Item {
    /// Whose secret it is: `root`, or the key's id.
    #[must_use]
    pub fn owner(&self) -> &str {
        match self {
            Self::Root => "root",
            Self::SigningKey(id) => id.as_str(),
        }
    }

    /// What it is used for; the encryption is bound to owner and purpose.
    #[must_use]
    pub fn purpose(&self) -> &'static str {
        match self {
            Self::Root => "root secret",
            Self::SigningKey(_) => "access token signing",
        }
    }
}

/// A secret as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// What it is.
    pub item: Item,
    /// The id of the key-encryption key it is under.
    pub kek: String,
    /// The encrypted bytes.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wrapped({} under {})", self.item.owner(), self.kek)
    }
}

/// How far a change of the key-encryption key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewrapping {
    /// Everything is under the key-encryption key in force.
    Done,
    /// So many secrets are still under the one before.
    Left(usize),
    /// So many live instances do not have the new one in force yet; until all have, nothing is moved.
    Waiting(usize),
}

/// How far the change has come, for an instance that has these key-encryption keys, the one in force first.
///
/// Nothing is moved before every live instance has the same one in force: an instance that knows only the old one goes
/// on as before, and two that disagree about which is new never move anything back and forth.
#[must_use]
pub fn rewrapping(ours: &[String], stored: &[Wrapped], instances: &[Heartbeat], now_ms: i64) -> Rewrapping {
    let Some(current) = ours.first() else { return Rewrapping::Done };
    match stored.iter().filter(|row| row.kek != *current).count() {
        0 => Rewrapping::Done,
        left => match live(instances, now_ms).filter(|beat| beat.keks.first() != Some(current)).count() {
            0 => Rewrapping::Left(left),
            behind => Rewrapping::Waiting(behind),
        },
    }
}

/// Under which of its key-encryption keys, the one in force first, an instance encrypts something new: the first that
/// every live instance can read with.
#[must_use]
pub fn writes_under<'a>(ours: &'a [String], instances: &[Heartbeat], now_ms: i64) -> &'a str {
    let everywhere = |kek: &&String| live(instances, now_ms).all(|beat| beat.keks.contains(kek));
    ours.iter().find(everywhere).or(ours.first()).map_or("", String::as_str)
}

/// Keeps what is encrypted under the key-encryption key.
#[async_trait::async_trait]
pub trait WrapStore: Send + Sync {
    /// Everything, the root secret last: who finds that moved finds everything moved.
    async fn wrapped(&self) -> Result<Vec<Wrapped>, StoreError>;

    /// Stores the root secret of a new installation: the one now stored, which is another's when it came first.
    /// [`StoreError::Corrupt`] when there are keys, events or accounts already, so that the root secret must have been lost.
    async fn plant(&self, root: Wrapped) -> Result<Wrapped, StoreError>;

    /// Replaces `old` by `new` and writes the event; `false`, and nothing happens, when `old` is not stored any more.
    async fn rewrap(&self, old: &Wrapped, new: Wrapped, event: Event) -> Result<bool, StoreError>;
}

/// The key-encryption keys of this instance.
pub trait Wrapper: Send + Sync {
    /// Their ids, the one in force first.
    fn ids(&self) -> Vec<String>;

    /// The same secret under the key-encryption key in force; `None` when it does not open.
    fn rewrap(&self, old: &Wrapped, random: &dyn Random) -> Option<Wrapped>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kek: &str) -> Wrapped {
        Wrapped { item: Item::Root, kek: kek.into(), bytes: vec![1] }
    }

    fn knows(keks: &[&str]) -> Heartbeat {
        Heartbeat { keks: ours(keks), ..Heartbeat::default() }
    }

    fn ours(keks: &[&str]) -> Vec<String> {
        keks.iter().map(|kek| (*kek).to_owned()).collect()
    }

    #[test]
    fn nothing_is_moved_before_every_live_instance_has_the_new_key_in_force() {
        let (stored, ours) = ([row("old"), row("new"), row("old")], ours(&["new", "old"]));
        let at = |instances: &[Heartbeat]| rewrapping(&ours, &stored, instances, 0);
        assert_eq!(at(&[knows(&["new", "old"])]), Rewrapping::Left(2));
        assert_eq!(at(&[knows(&["new", "old"]), knows(&["new"])]), Rewrapping::Left(2));
        assert_eq!(at(&[knows(&["new", "old"]), knows(&["old"])]), Rewrapping::Waiting(1));
        assert_eq!(at(&[knows(&["new", "old"]), knows(&["old", "new"])]), Rewrapping::Waiting(1));
        let gone = Heartbeat { left_ms: Some(0), ..knows(&["old"]) };
        assert_eq!(at(&[knows(&["new", "old"]), gone]), Rewrapping::Left(2));
        assert_eq!(rewrapping(&ours, &[row("new")], &[knows(&["old"])], 0), Rewrapping::Done);
    }

    #[test]
    fn what_is_new_is_written_so_that_every_live_instance_can_read_it() {
        let ours = ours(&["new", "old"]);
        assert_eq!(writes_under(&ours, &[knows(&["new", "old"])], 0), "new");
        assert_eq!(writes_under(&ours, &[knows(&["new", "old"]), knows(&["old"])], 0), "old");
        assert_eq!(writes_under(&ours, &[knows(&["old", "new"])], 0), "new");
        assert_eq!(writes_under(&ours, &[], 0), "new");
        assert_eq!(writes_under(&ours[..1], &[knows(&["old"])], 0), "new", "there is no other");
    }
}
