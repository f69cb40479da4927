//! One line of the spool: `CRC-32 LENGTH JSON`, the length in bytes of what stands behind it.

use crate::domain::audit::StoredEvent;
use serde_json::{Map, Value, json};
use shared::id::EventId;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The events of good lines, in their order.
    pub(super) events: Vec<StoredEvent>,
    /// Lines that do not check.
    pub(super) damaged: usize,
    /// Up to the end of the last line that is whole.
    pub(super) whole_bytes: u64,
}

/// An event as a line.
pub(super) fn write(event: &StoredEvent) -> serde_json::Result<Vec<u8>> {
    let text = serde_json::to_string(&json!({
        "id": event.id, "at_ms": event.at_ms, "action": event.action, "outcome": event.outcome,
        "reason": event.reason, "actor_kind": event.actor_kind, "actor_id": event.actor_id,
        "actor_uid": event.actor_uid, "actor_login_uid": event.actor_login_uid, "actor_pid": event.actor_pid,
        "target_kind": event.target_kind, "target_id": event.target_id, "network": event.network,
        "device": event.device, "request_id": event.request_id, "detail": event.detail,
    }))?;
    Ok(format!("{:08x} {} {text}\n", crc32fast::hash(text.as_bytes()), text.len()).into_bytes())
}

/// Reads every line that checks.
pub(super) fn read_all(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        found.whole_bytes += u64::try_from(line.len() + 1).unwrap_or(u64::MAX);
        match read(line) {
            Some(event) => found.events.push(event),
            None => found.damaged += 1,
        }
    }
    found
}

fn read(line: &[u8]) -> Option<StoredEvent> {
    let line = std::str::from_utf8(line).ok()?;
    let (checksum, rest) = line.split_once(' ')?;
    let (length, text) = rest.split_once(' ')?;
    let checksum = u32::from_str_radix(checksum, 16).ok()?;
    let is_whole = length.parse::<usize>().ok()? == text.len() && checksum == crc32fast::hash(text.as_bytes());
    if is_whole { event(&serde_json::from_str(text).ok()?) } else { None }
}

fn event(fields: &Map<String, Value>) -> Option<StoredEvent> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| fields.get(name).and_then(Value::as_i64);
    Some(StoredEvent {
        id: EventId::parse(fields.get("id")?.as_str()?).ok()?,
        seq: None,
        at_ms: number("at_ms")?,
        action: text("action")?,
        outcome: text("outcome")?,
        reason: text("reason"),
        actor_kind: text("actor_kind")?,
        actor_id: text("actor_id"),
        actor_uid: number("actor_uid"),
        actor_login_uid: number("actor_login_uid"),
        actor_pid: number("actor_pid"),
        target_kind: text("target_kind"),
        target_id: text("target_id"),
        network: text("network"),
        device: text("device"),
        request_id: text("request_id"),
        detail: serde_json::from_value(fields.get("detail")?.clone()).ok()?,
    })
}
