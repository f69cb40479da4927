//! The sealed order of events, computed again from what is stored: no number missing or twice, every hash right.

use super::snapshot::{EventRow, Snapshot};
use sha2::{Digest, Sha256};

/// Follows the chain from its first event to its head.
///
/// # Panics
/// Where it breaks.
pub(super) fn check(snapshot: &Snapshot) {
    let mut sealed: Vec<&EventRow> = snapshot.events.iter().filter(|event| event.seq.is_some()).collect();
    sealed.sort_by_key(|event| event.seq);
    let (mut seq, mut hash) = (0, [0; 32]);
    for event in sealed {
        seq += 1;
        assert_eq!(event.seq, Some(seq), "a gap or a double before {event:?}");
        hash = link(&hash, event);
        assert_eq!(event.hash.as_deref(), Some(hash.as_slice()), "the chain breaks at {event:?}");
    }
    assert_eq!((snapshot.head.seq, snapshot.head.hash.as_slice()), (seq, hash.as_slice()), "the head is another");
    assert!(snapshot.events.iter().all(|event| event.seq.is_some() == event.hash.is_some()));
}

/// `SHA-256(previous ‖ seq ‖ what is known ‖ actor ‖ target ‖ MAC)`, as authctl-audit(1) describes it: written a second time,
/// so that the daemon is not compared with itself.
fn link(previous: &[u8; 32], event: &EventRow) -> [u8; 32] {
    let mut bytes = previous.to_vec();
    number(&mut bytes, event.seq);
    for field in [&event.id, &event.tenant_id] {
        text(&mut bytes, Some(field.as_bytes()));
    }
    number(&mut bytes, Some(event.at_ms));
    for field in [&event.action, &event.outcome] {
        text(&mut bytes, Some(field.as_bytes()));
    }
    text(&mut bytes, event.reason.as_deref().map(str::as_bytes));
    text(&mut bytes, Some(event.actor_kind.as_bytes()));
    for field in [event.actor_uid, event.actor_login_uid, event.actor_pid] {
        number(&mut bytes, field);
    }
    for field in [&event.target_kind, &event.network, &event.device, &event.request_id] {
        text(&mut bytes, field.as_deref().map(str::as_bytes));
    }
    text(&mut bytes, Some(event.detail.as_bytes()));
    for field in [&event.actor_id, &event.target_id] {
        text(&mut bytes, field.as_deref().map(str::as_bytes));
    }
    text(&mut bytes, Some(&event.mac));
    Sha256::digest(&bytes).into()
}

fn text(bytes: &mut Vec<u8>, field: Option<&[u8]>) {
    let Some(field) = field else { return bytes.push(0) };
    bytes.push(1);
    bytes.extend(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
    bytes.extend(field);
}

fn number(bytes: &mut Vec<u8>, field: Option<i64>) {
    let Some(field) = field else { return bytes.push(0) };
    bytes.push(2);
    bytes.extend(field.to_be_bytes());
}
