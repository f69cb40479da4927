//! An export of the audit log: JSON lines that hold everything a check needs.
//!
//! First a `header`, then `key`s and `tombstone`s, then `event`s in their order with each `checkpoint` after its event,
//! last an `end`, so that a file that was cut off is noticed.

use super::record::{AuditKey, Checkpoint, Entry, Tombstone};
use crate::{hex, time::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The form of these lines.
pub const FORMAT: &str = "authd-audit-export/1";

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Line {
    /// What follows.
    Header(Header),
    /// A public half of the audit key.
    Key(AuditKey),
    /// Events that were purged.
    Tombstone(Tombstone),
    /// An event.
    Event(Box<EventLine>),
    /// A checkpoint.
    Checkpoint(Checkpoint),
    /// Nothing follows.
    End(End),
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// When it was made.
    pub at: String,
    /// Events after this one follow.
    pub after_seq: i64,
    /// The hash they follow.
    #[serde(with = "hex")]
    pub after_hash: Vec<u8>,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How many events there are.
    pub events: u64,
    /// The last sealed event.
    pub seq: i64,
    /// The hash at the head of the chain.
    #[serde(with = "hex")]
    pub hash: Vec<u8>,
}

/// An event with its place in the chain. `at` and `detail` are there to be read; `at_ms` and `facts` are hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of its name in `audit list`, or the column")]
pub struct EventLine {
    pub id: String,
    pub seq: Option<i64>,
    pub at: String,
    pub at_ms: i64,
    pub action: String,
    pub outcome: String,
    pub reason: Option<String>,
    pub actor: Actor,
    pub target: Option<Target>,
    pub network: Option<String>,
    pub device: Option<String>,
    pub request_id: Option<String>,
    pub tenant: String,
    pub detail: Value,
    pub facts: String,
    #[serde(with = "hex")]
    pub mac: Vec<u8>,
    pub hash: Option<String>,
}

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of its name in `audit list`")]
pub struct Actor {
    pub kind: String,
    pub id: Option<String>,
    pub uid: Option<i64>,
    pub login_uid: Option<i64>,
    pub pid: Option<i64>,
}

/// On what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of its name in `audit list`")]
pub struct Target {
    pub kind: Option<String>,
    pub id: Option<String>,
}

/// A time for people; empty where no calendar has it.
#[must_use]
pub fn readable_time(at_ms: i64) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    if write!(text, "{}", Timestamp(at_ms)).is_err() {
        text.clear();
    }
    text
}

/// The facts of an event as an object; `null` when there are none, or when they do not read.
#[must_use]
pub fn readable_facts(facts: &str) -> Value {
    let pairs: Vec<(String, String)> = serde_json::from_str(facts).unwrap_or_default();
    if pairs.is_empty() {
        return Value::Null;
    }
    Value::Object(pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>())
}

impl From<Entry> for EventLine {
    fn from(entry: Entry) -> Self {
        let has_target = entry.target_kind.is_some() || entry.target_id.is_some();
        let target = Target { kind: entry.target_kind, id: entry.target_id };
        Self {
            id: entry.id,
            seq: entry.seq,
            at: readable_time(entry.at_ms),
            at_ms: entry.at_ms,
            action: entry.action,
            outcome: entry.outcome,
            reason: entry.reason,
            actor: Actor {
                kind: entry.actor_kind,
                id: entry.actor_id,
                uid: entry.actor_uid,
                login_uid: entry.actor_login_uid,
                pid: entry.actor_pid,
            },
            target: has_target.then_some(target),
            network: entry.network,
            device: entry.device,
            request_id: entry.request_id,
            tenant: entry.tenant,
            detail: readable_facts(&entry.detail),
            facts: entry.detail,
            mac: entry.mac,
            hash: entry.hash.as_deref().map(hex::encode),
        }
    }
}

impl From<EventLine> for Entry {
    fn from(line: EventLine) -> Self {
        let (target_kind, target_id) = line.target.map_or((None, None), |target| (target.kind, target.id));
        Self {
            seq: line.seq,
            id: line.id,
            tenant: line.tenant,
            at_ms: line.at_ms,
            action: line.action,
            outcome: line.outcome,
            reason: line.reason,
            actor_kind: line.actor.kind,
            actor_id: line.actor.id,
            actor_uid: line.actor.uid,
            actor_login_uid: line.actor.login_uid,
            actor_pid: line.actor.pid,
            target_kind,
            target_id,
            network: line.network,
            device: line.device,
            request_id: line.request_id,
            detail: line.facts,
            mac: line.mac,
            hash: line.hash.as_deref().and_then(hex::decode),
        }
    }
}
