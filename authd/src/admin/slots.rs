//! How many connections a socket holds at once, and how many of them one user may have.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections in all.
const TOTAL: usize = 64;
/// Connections of one user: nobody can keep the others out alone.
const PER_USER: usize = 32;

/// The places of a socket.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(Arc<Mutex<HashMap<u32, usize>>>);

/// A place; free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    uid: u32,
}

impl Slots {
    fn users(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection of this user, if there is one.
    pub(super) fn take(&self, uid: u32) -> Option<Slot> {
        let mut users = self.users();
        if users.values().sum::<usize>() >= TOTAL || users.get(&uid).is_some_and(|count| *count >= PER_USER) {
            return None;
        }
        *users.entry(uid).or_default() += 1;
        Some(Slot { slots: self.clone(), uid })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut users = self.slots.users();
        if let Some(count) = users.get_mut(&self.uid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                users.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_keep_the_others_out() {
        let slots = Slots::default();
        let mut held: Vec<Slot> = std::iter::from_fn(|| slots.take(1)).take(1_000).collect();
        assert_eq!(held.len(), PER_USER);
        assert!(slots.take(0).is_some());
        held.pop();
        assert!(slots.take(1).is_some(), "a place is free again when its connection ends");
    }

    #[test]
    fn there_is_an_end_to_all_connections() {
        let slots = Slots::default();
        let held: Vec<Slot> = (0..1_000).filter_map(|uid| slots.take(uid)).collect();
        assert_eq!(held.len(), TOTAL);
    }
}
