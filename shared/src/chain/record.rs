//! What is stored beside the events: checkpoints, tombstones and public keys, each with the bytes that are signed.

use super::canonical::{Fields, Frame};
use crate::hex;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

/// An event as it is stored. Hashes are as long as somebody made them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each is the column of its name")]
pub struct Entry {
    pub seq: Option<i64>,
    pub id: String,
    pub tenant: String,
    pub at_ms: i64,
    pub action: String,
    pub outcome: String,
    pub reason: Option<String>,
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub actor_uid: Option<i64>,
    pub actor_login_uid: Option<i64>,
    pub actor_pid: Option<i64>,
    pub target_kind: Option<String>,
    pub target_id: Option<String>,
    pub network: Option<String>,
    pub device: Option<String>,
    pub request_id: Option<String>,
    pub detail: String,
    pub mac: Vec<u8>,
    pub hash: Option<Vec<u8>>,
}

impl Entry {
    /// What is hashed.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields {
            id: &self.id,
            tenant: &self.tenant,
            at_ms: self.at_ms,
            action: &self.action,
            outcome: &self.outcome,
            reason: self.reason.as_deref(),
            actor_kind: &self.actor_kind,
            actor_id: self.actor_id.as_deref(),
            actor_uid: self.actor_uid,
            actor_login_uid: self.actor_login_uid,
            actor_pid: self.actor_pid,
            target_kind: self.target_kind.as_deref(),
            target_id: self.target_id.as_deref(),
            network: self.network.as_deref(),
            device: self.device.as_deref(),
            request_id: self.request_id.as_deref(),
            detail: &self.detail,
        }
    }
}

/// A public half of the audit key (Ed25519).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditKey {
    /// `aud_` and 16 hexadecimal digits.
    pub id: String,
    /// 32 bytes.
    #[serde(with = "hex")]
    pub public: Vec<u8>,
    /// When it was first used, Unix milliseconds.
    pub created_ms: i64,
}

impl AuditKey {
    /// The bytes whose keyed hash is stored beside it.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut frame = Frame::of("authd audit key v1");
        frame.text(&self.id);
        frame.bytes(&self.public);
        frame.number(self.created_ms);
        frame.0
    }

    /// Whether it made this signature (RFC 8032, strict).
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = self.public.as_slice().try_into().ok().and_then(|bytes| VerifyingKey::from_bytes(bytes).ok());
        let signature = Signature::from_slice(signature).ok();
        key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(message, &signature).is_ok())
    }
}

/// The signed statement that the chain had this hash at this place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Checkpoints are numbered from 1 without gaps.
    pub number: i64,
    /// The event that was the last.
    pub seq: i64,
    /// Its hash.
    #[serde(with = "hex")]
    pub hash: Vec<u8>,
    /// When it was made, Unix milliseconds by database time.
    pub at_ms: i64,
    /// The last event that the anchor file was known to cover then; 0: none.
    pub anchored_seq: i64,
    /// The key that signed it.
    pub key: String,
    /// Ed25519 over [`Checkpoint::message`].
    #[serde(with = "hex")]
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut frame = Frame::of("authd audit checkpoint v1");
        frame.number(self.number);
        frame.number(self.seq);
        frame.bytes(&self.hash);
        frame.number(self.at_ms);
        frame.number(self.anchored_seq);
        frame.text(&self.key);
        frame.0
    }
}

/// The signed statement that events were purged because they had outlived `audit.retention`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Tombstones are numbered from 1 without gaps.
    pub number: i64,
    /// The first event that went.
    pub from_seq: i64,
    /// The last one.
    pub up_to_seq: i64,
    /// Its hash: what remains follows it.
    #[serde(with = "hex")]
    pub hash: Vec<u8>,
    /// How many went.
    pub count: i64,
    /// The last checkpoint that went with them.
    pub checkpoint: i64,
    /// What was older than this had outlived its retention, Unix milliseconds.
    pub cut_off_ms: i64,
    /// When they went.
    pub at_ms: i64,
    /// The key that signed it.
    pub key: String,
    /// Ed25519 over [`Tombstone::message`].
    #[serde(with = "hex")]
    pub signature: Vec<u8>,
}

impl Tombstone {
    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut frame = Frame::of("authd audit tombstone v1");
        for number in [self.number, self.from_seq, self.up_to_seq] {
            frame.number(number);
        }
        frame.bytes(&self.hash);
        for number in [self.count, self.checkpoint, self.cut_off_ms, self.at_ms] {
            frame.number(number);
        }
        frame.text(&self.key);
        frame.0
    }
}
