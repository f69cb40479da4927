//! An event as bytes: one way only, so that no two events have the same ones.
//!
//! A value is `00` when it is absent; a text is `01`, its length in bytes (64 bits, big-endian) and its bytes in UTF-8;
//! a number is `02` and its 64 bits, big-endian, two's complement; raw bytes are written like a text.

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The hash that the first event follows.
pub const GENESIS: Hash = [0; 32];

/// Bytes that begin like no other message.
#[derive(Debug, Default)]
pub(super) struct Frame(pub(super) Vec<u8>);

impl Frame {
    pub(super) fn of(purpose: &str) -> Self {
        let mut frame = Self::default();
        frame.text(purpose);
        frame
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.push(1);
        self.0.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn number(&mut self, number: i64) {
        self.0.push(2);
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.0.push(0),
        }
    }

    fn optional_number(&mut self, number: Option<i64>) {
        match number {
            Some(number) => self.number(number),
            None => self.0.push(0),
        }
    }
}

/// An event as it is stored, without its place in the chain.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "each is the column of its name")]
pub struct Fields<'a> {
    pub id: &'a str,
    pub tenant: &'a str,
    /// Unix milliseconds.
    pub at_ms: i64,
    pub action: &'a str,
    pub outcome: &'a str,
    pub reason: Option<&'a str>,
    pub actor_kind: &'a str,
    pub actor_id: Option<&'a str>,
    pub actor_uid: Option<i64>,
    pub actor_login_uid: Option<i64>,
    pub actor_pid: Option<i64>,
    pub target_kind: Option<&'a str>,
    pub target_id: Option<&'a str>,
    pub network: Option<&'a str>,
    pub device: Option<&'a str>,
    pub request_id: Option<&'a str>,
    /// Names and values as one JSON text, as it is stored.
    pub detail: &'a str,
}

/// What a MAC is made of: everything but who acted on what, under the key; see [`Keyed::mac`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed(pub Hash);

impl Keyed {
    /// The MAC of an event: `SHA-256(keyed ‖ SHA-256(actor id ‖ target id))`. In two steps, because a statement of the
    /// database may be the first to know who acts on what; both inputs have a fixed length, so nothing can be appended.
    #[must_use]
    pub fn mac(&self, fields: &Fields<'_>) -> Hash {
        Sha256::new().chain_update(self.0).chain_update(fields.parties()).finalize().into()
    }
}

impl Fields<'_> {
    /// Everything but the ids of actor and target: what the keyed hash is made of.
    #[must_use]
    pub fn known(&self) -> Vec<u8> {
        let mut frame = Frame(Vec::with_capacity(384));
        frame.text(self.id);
        frame.text(self.tenant);
        frame.number(self.at_ms);
        frame.text(self.action);
        frame.text(self.outcome);
        frame.optional(self.reason);
        frame.text(self.actor_kind);
        frame.optional_number(self.actor_uid);
        frame.optional_number(self.actor_login_uid);
        frame.optional_number(self.actor_pid);
        frame.optional(self.target_kind);
        frame.optional(self.network);
        frame.optional(self.device);
        frame.optional(self.request_id);
        frame.text(self.detail);
        frame.0
    }

    fn parties(&self) -> Hash {
        let mut frame = Frame(Vec::with_capacity(96));
        frame.optional(self.actor_id);
        frame.optional(self.target_id);
        Sha256::digest(frame.0).into()
    }

    /// The MAC that goes with these fields, given the keyed hash of [`Fields::known`].
    #[must_use]
    pub fn mac(&self, keyed: impl FnOnce(&[u8]) -> Hash) -> Hash {
        Keyed(keyed(&self.known())).mac(self)
    }

    /// The hash of the chain with this event at `seq`: `SHA-256(previous ‖ seq ‖ known ‖ actor id ‖ target id ‖ MAC)`.
    #[must_use]
    pub fn link(&self, previous: &[u8], seq: i64, mac: &[u8]) -> Hash {
        let mut frame = Frame(Vec::with_capacity(160));
        frame.number(seq);
        let mut tail = Frame(Vec::with_capacity(160));
        tail.optional(self.actor_id);
        tail.optional(self.target_id);
        tail.bytes(mac);
        let hash = Sha256::new().chain_update(previous).chain_update(frame.0).chain_update(self.known());
        hash.chain_update(tail.0).finalize().into()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::hex;

    pub(crate) fn fields() -> Fields<'static> {
        Fields {
            id: "evt_00000000000000000000000000",
            tenant: "default",
            at_ms: 1_700_000_000_000,
            action: "session.refreshed",
            outcome: "ok",
            reason: None,
            actor_kind: "user",
            actor_id: Some("usr_x"),
            actor_uid: None,
            actor_login_uid: None,
            actor_pid: None,
            target_kind: Some("session"),
            target_id: Some("ses_x"),
            network: Some("192.0.2.0/24"),
            device: None,
            request_id: Some("req_1"),
            detail: "[]",
        }
    }

    #[test]
    fn any_changed_field_and_any_other_past_change_mac_and_link() {
        let base = fields();
        let others = [
            Fields { id: "evt_1", ..base },
            Fields { tenant: "other", ..base },
            Fields { at_ms: 2, ..base },
            Fields { action: "a", ..base },
            Fields { outcome: "denied", ..base },
            Fields { reason: Some(""), ..base },
            Fields { actor_kind: "job", ..base },
            Fields { actor_id: None, ..base },
            Fields { actor_id: Some("usr_xses_x"), target_id: Some(""), ..base },
            Fields { actor_uid: Some(0), ..base },
            Fields { actor_login_uid: Some(0), ..base },
            Fields { actor_pid: Some(0), ..base },
            Fields { target_kind: None, ..base },
            Fields { target_id: Some("usr_x"), actor_id: Some("ses_x"), ..base },
            Fields { network: None, device: Some("192.0.2.0/24"), ..base },
            Fields { request_id: None, ..base },
            Fields { detail: "[ ]", ..base },
        ];
        let keyed = |known: &[u8]| Sha256::digest(known).into();
        let mut macs = vec![base.mac(keyed)];
        let mut links = vec![base.link(&GENESIS, 1, b"m"), base.link(&[1; 32], 1, b"m"), base.link(&GENESIS, 2, b"m")];
        links.push(base.link(&GENESIS, 1, b"n"));
        for other in &others {
            macs.push(other.mac(keyed));
            links.push(other.link(&GENESIS, 1, b"m"));
        }
        for hashes in [macs, links] {
            let distinct: std::collections::HashSet<_> = hashes.iter().collect();
            assert_eq!(distinct.len(), hashes.len());
        }
    }

    #[test]
    fn bytes_and_hashes_are_these_and_stay_these() {
        assert_eq!(fields().known().len(), VECTOR.0);
        let mac = fields().mac(|_| [7; 32]);
        assert_eq!(
            (hex::encode(&mac), hex::encode(&fields().link(&GENESIS, 1, &mac))),
            (VECTOR.1.into(), VECTOR.2.into())
        );
    }

    /// Length of the known bytes, MAC under a keyed hash of sevens, link as the first event.
    const VECTOR: (usize, &str, &str) = (
        181,
        "179550c0878bc7bc3215fa9b27660ec9268850e87012ca8f838010599d9275b9",
        "c4a2ff26afdc57c3a89176fdcf56115c1452fb79b3a89d62f87f3da7cea9fdca",
    );
}
