//! Calls about signing keys.

use super::{Empty, Page};
use crate::{id::KeyId, time::Timestamp};
use serde::{Deserialize, Serialize};

call!(
    /// Signing keys, newest first.
    List: "/v1/key/list", Read, Empty => Page<Key>
);
call!(
    /// One signing key, by its id or an unambiguous beginning of it.
    Show: "/v1/key/show", Read, ShowRequest => Key
);
call!(
    /// Makes and publishes the next key; in place of the staged one, if asked to.
    Stage: "/v1/key/stage", Admin, StageRequest => Staged
);
call!(
    /// Lets the staged key sign, if every verifier can know it, or when told to do so all the same.
    Promote: "/v1/key/promote", Admin, RotateRequest => Rotation
);
call!(
    /// Takes a retiring key out of the key set before its time.
    Retire: "/v1/key/retire", Admin, RetireRequest => Withdrawal
);
call!(
    /// Withdraws a key at once: tokens that it signed are refused; the staged key signs if this one did.
    Revoke: "/v1/key/revoke", Admin, RevokeRequest => Withdrawal
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
    /// Of a staged key: from when every verifier knows it; `null` while an instance does not serve it.
    #[serde(default)]
    pub ready_at: Option<Timestamp>,
    /// When it begins to sign if nothing intervenes; of the active key: when the next one takes its place.
    #[serde(default)]
    pub promotes_at: Option<Timestamp>,
    /// Until when the last token it signed lives, once it has stopped signing.
    #[serde(default)]
    pub tokens_until: Option<Timestamp>,
    /// The key-encryption key that its private half is encrypted under; `null` when that is forgotten.
    #[serde(default)]
    pub kek_id: Option<String>,
    /// What happens with it next, in words.
    #[serde(default)]
    pub next: String,
}

/// Request of [`Show`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRequest {
    /// Its id, or an unambiguous beginning of it.
    pub id: String,
}

/// Request of [`Stage`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageRequest {
    /// Let the new key take the place of the staged one, if there is one; refused otherwise.
    pub replace: bool,
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    pub dry_run: bool,
}

/// Answer of [`Stage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The new key; `null` in a dry run.
    pub key: Option<KeyId>,
    /// The key whose place it takes.
    pub replaced: Option<KeyId>,
    /// From when every verifier knows it.
    pub ready_at: Timestamp,
}

/// Request of [`Retire`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetireRequest {
    /// The key's id, or an unambiguous beginning of it.
    pub id: String,
    /// Even while tokens live that it signed.
    #[serde(default)]
    pub force: bool,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Request of [`Revoke`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// The key's id, or an unambiguous beginning of it.
    pub id: String,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer of [`Retire`] and [`Revoke`]: what it does, or would do, to tokens that live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// The key.
    pub id: KeyId,
    /// Where it was in its life.
    pub was: State,
    /// The key that signs from then on, if this one did.
    pub next: Option<KeyId>,
    /// Live sessions that may hold an access token of the key, at most; they get another when they refresh.
    pub sessions: u64,
    /// Until when the last token of the key would live; in the past or now when none does.
    pub tokens_until: Timestamp,
    /// Until when verifiers may keep a key set that has the key in it.
    pub caches_until: Timestamp,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// Request of [`Rotate`] and [`Promote`].
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

/// Answer of [`Rotate`] and [`Promote`].
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
