//! The restore guard (R13): what this instance has seen of the database, for every new connection to be compared with.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// Shared by the use cases, which lock and unlock, and by the store, which looks.
#[derive(Debug, Default)]
pub struct RestoreGuard {
    seen: Mutex<Option<(i64, i64)>>,
    is_locked: AtomicBool,
}

impl RestoreGuard {
    /// Whether the public API takes no requests until a restore is accepted.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.is_locked.load(Ordering::Relaxed)
    }

    /// The last place of the chain that was seen, and the global epoch.
    #[must_use]
    pub fn seen(&self) -> Option<(i64, i64)> {
        *self.known()
    }

    fn known(&self) -> MutexGuard<'_, Option<(i64, i64)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was seen, and takes requests.
    pub fn saw(&self, seq: i64, epoch: i64) {
        let mut known = self.known();
        let same = known.filter(|(_, seen_epoch)| *seen_epoch == epoch).map_or(seq, |(seen_seq, _)| seen_seq.max(seq));
        *known = Some((same, epoch));
        drop(known);
        self.is_locked.store(false, Ordering::Relaxed);
    }

    /// Remembers that the chain has come so far.
    pub fn advance(&self, seq: i64) {
        if let Some((seen_seq, _)) = self.known().as_mut() {
            *seen_seq = seq.max(*seen_seq);
        }
    }

    /// Takes no requests.
    pub fn lock(&self) {
        self.is_locked.store(true, Ordering::Relaxed);
    }

    /// What a new connection shows: locks when it is older than what had been seen `before` it was asked, unless an
    /// operator has accepted that.
    pub fn look(&self, before: Option<(i64, i64)>, seq: i64, epoch: i64) {
        if is_older(before, seq, epoch) {
            self.lock();
        }
    }
}

/// Whether a database at `seq` and `epoch` is older than what was seen, and nobody has accepted it.
#[must_use]
pub fn is_older(seen: Option<(i64, i64)>, seq: i64, epoch: i64) -> bool {
    seen.is_some_and(|(seen_seq, seen_epoch)| seq < seen_seq && epoch <= seen_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_to_an_older_database_locks_until_its_epoch_has_moved() {
        let guard = RestoreGuard::default();
        let look = |seq, epoch| guard.look(guard.seen(), seq, epoch);
        guard.advance(7);
        look(0, 0);
        assert!(!guard.is_locked(), "nothing was seen yet");
        guard.saw(40, 1);
        guard.advance(42);
        guard.saw(41, 1);
        look(42, 1);
        look(41, 2);
        assert!(!guard.is_locked());
        let before = guard.seen();
        guard.advance(50);
        guard.look(before, 45, 1);
        assert!(!guard.is_locked(), "it was asked before the chain went on");
        look(49, 1);
        assert!(guard.is_locked());
        guard.saw(41, 2);
        assert!(!guard.is_locked() && guard.seen() == Some((41, 2)));
    }
}
