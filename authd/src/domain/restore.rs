//! The restore guard (R13): what this instance has seen of the database, for every new connection to be compared with.

use std::sync::{
    Mutex, PoisonError,
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

    /// Remembers what was seen, and takes requests.
    pub fn saw(&self, seq: i64, epoch: i64) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((seq, epoch));
        self.is_locked.store(false, Ordering::Relaxed);
    }

    /// Takes no requests.
    pub fn lock(&self) {
        self.is_locked.store(true, Ordering::Relaxed);
    }

    /// What a new connection shows: locks when it is older than what was seen, unless an operator has accepted that.
    pub fn look(&self, seq: i64, epoch: i64) {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|(seen_seq, seen_epoch)| seq < seen_seq && epoch <= seen_epoch) {
            self.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_to_an_older_database_locks_until_its_epoch_has_moved() {
        let guard = RestoreGuard::default();
        guard.look(0, 0);
        assert!(!guard.is_locked(), "nothing was seen yet");
        guard.saw(42, 1);
        guard.look(42, 1);
        guard.look(41, 2);
        assert!(!guard.is_locked());
        guard.look(41, 1);
        assert!(guard.is_locked());
        guard.saw(41, 2);
        assert!(!guard.is_locked());
    }
}
