//! Refused peers in the audit: one event a minute for each user and rule, so that a loop cannot fill the disk.

use super::{Admin, call::Caller, peer::Why};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

const WINDOW_MS: i64 = 60_000;
/// Users and rules kept apart; beyond it the memory starts anew.
const MAX_KINDS: usize = 1_000;

/// Learns who was refused.
#[async_trait::async_trait]
pub(super) trait Witness: Send + Sync {
    /// Records a refused peer.
    async fn refused(&self, caller: &Caller, why: Why);

    /// An id for a request.
    fn request_id(&self) -> String;
}

/// When a kind of refusal was last recorded.
#[derive(Debug, Default)]
pub(crate) struct Reported(Mutex<HashMap<(u32, &'static str), i64>>);

impl Reported {
    fn is_due(&self, uid: u32, why: Why, now_ms: i64) -> bool {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= MAX_KINDS {
            kinds.clear();
        }
        let last = kinds.entry((uid, why.name())).or_insert(i64::MIN);
        let is_due = !(0..WINDOW_MS).contains(&now_ms.saturating_sub(*last));
        if is_due {
            *last = now_ms;
        }
        is_due
    }
}

#[async_trait::async_trait]
impl Witness for Admin {
    async fn refused(&self, caller: &Caller, why: Why) {
        let socket = caller.policy.door.name();
        if !self.reported.is_due(caller.peer.uid, why, self.auth.parts.clock.now_ms()) {
            return;
        }
        tracing::warn!(uid = caller.peer.uid, pid = caller.peer.pid, socket, rule = why.name(), "refused a peer");
        if let Err(fault) = self.auth.note_refused_peer(&caller.reader(), socket, why.name()).await {
            tracing::warn!(%fault, "a refused peer could not be recorded in the audit");
        }
    }

    fn request_id(&self) -> String {
        let bytes: [u8; 12] = crate::domain::clock::random_bytes(self.auth.parts.random.as_ref());
        bytes.iter().fold("adm_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_of_a_kind_is_recorded_a_minute() {
        let reported = Reported::default();
        assert!(reported.is_due(1, Why::NoRule, 0));
        assert!(!reported.is_due(1, Why::NoRule, 59_999));
        assert!(reported.is_due(2, Why::NoRule, 1));
        assert!(reported.is_due(1, Why::Unknown, 1));
        assert!(reported.is_due(1, Why::NoRule, 60_000));
    }
}
