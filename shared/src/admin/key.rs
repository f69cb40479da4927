//! Calls about signing keys.

use super::{Empty, Page};
use crate::{id::KeyId, time::Timestamp};
use serde::{Deserialize, Serialize};

call!(
    /// Signing keys, newest first.
    List: "/v1/key/list", Read, Empty => Page<Key>
);
call!(
    /// Starts a rotation: the staged key is promoted when every verifier has had time to see it, or now.
    Rotate: "/v1/key/rotate", Admin, RotateRequest => Rotation
);
call!(
    /// The published key set (RFC 7517).
    Jwks: "/v1/key/jwks", Read, Empty => serde_json::Value
);

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Published, not signing yet.
    Staged,
    /// Signing.
    Active,
    /// Published until the last token it signed has expired.
    Retiring,
    /// Not published any more.
    Retired,
    /// Withdrawn: what it signed is not accepted any more.
    Revoked,
}

/// A signing key as operators see it: never its private half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id, the `kid` of tokens.
    pub id: KeyId,
    /// Signature algorithm (RFC 7518 §3.1, RFC 8037).
    pub algorithm: String,
    /// Where it is in its life.
    pub state: State,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is in the key set.
    pub published_at: Option<Timestamp>,
    /// Since when it signs.
    pub activated_at: Option<Timestamp>,
    /// When it leaves the key set.
    pub retires_at: Option<Timestamp>,
}

/// Request of [`Rotate`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotateRequest {
    /// Promote now: verifiers that have not seen the staged key refuse its tokens until they fetch the key set.
    pub force: bool,
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    pub dry_run: bool,
}

/// Answer of [`Rotate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The key that signs from the promotion on; `null` when a dry run would have to make one.
    pub next: Option<KeyId>,
    /// The key that signs until then.
    pub current: Option<KeyId>,
    /// When the promotion happens; in the past or now when it has happened.
    pub promotes_at: Timestamp,
    /// What the caller should know, such as the risk of `force`.
    pub warnings: Vec<String>,
}
