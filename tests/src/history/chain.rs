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

/// `SHA-256(previous ‖ canonical event)`: every field with its length in front, absent ones apart from empty ones.
fn link(previous: &[u8; 32], event: &EventRow) -> [u8; 32] {
    let facts: Vec<(String, String)> = serde_json::from_str(&event.detail).expect("facts are JSON");
    let mut canonical = previous.to_vec();
    let text = |canonical: &mut Vec<u8>, text: &str| {
        canonical.extend(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        canonical.extend(text.as_bytes());
    };
    let number = |canonical: &mut Vec<u8>, number: Option<i64>| {
        canonical.push(u8::from(number.is_some()));
        canonical.extend(number.unwrap_or_default().to_be_bytes());
    };
    text(&mut canonical, &event.id);
    number(&mut canonical, event.seq);
    number(&mut canonical, Some(event.at_ms));
    for field in [&event.action, &event.outcome, &event.actor_kind] {
        text(&mut canonical, field);
    }
    for field in [
        &event.reason,
        &event.actor_id,
        &event.target_kind,
        &event.target_id,
        &event.network,
        &event.device,
        &event.request_id,
    ] {
        canonical.push(u8::from(field.is_some()));
        if let Some(field) = field {
            text(&mut canonical, field);
        }
    }
    for field in [event.actor_uid, event.actor_login_uid, event.actor_pid] {
        number(&mut canonical, field);
    }
    number(&mut canonical, i64::try_from(facts.len()).ok());
    for (name, value) in &facts {
        text(&mut canonical, name);
        text(&mut canonical, value);
    }
    Sha256::digest(&canonical).into()
}
