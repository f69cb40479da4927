//! Calls about signing keys.

use super::{
    Admin,
    call::{Caller, intent},
    problem::Denied,
};
use crate::{
    auth::{KeyFacts, KeyRotation, RotationPace},
    domain::key::KeyState,
};
use shared::{
    admin::{
        Empty, Page,
        key::{Key, RotateRequest, Rotation, State},
    },
    time::Timestamp,
};
use std::sync::Arc;

/// What `force` risks, in words an operator can weigh.
const FORCED: &str = "promoted at once: verifiers refuse new tokens until they fetch the key set again";

/// `key/list`
pub(super) async fn list(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Page<Key>, Denied> {
    let found = admin.auth.describe_keys().await?;
    Ok(Page::whole(found.into_iter().rev().map(key).collect()))
}

/// `key/rotate`
pub(super) async fn rotate(admin: Arc<Admin>, by: Caller, request: RotateRequest) -> Result<Rotation, Denied> {
    let operator = by.operator(intent!(request))?;
    let current = admin.auth.list_keys().await?.into_iter().find(|key| key.state == KeyState::Active);
    let pace = if request.force { RotationPace::AtOnce } else { RotationPace::Safe };
    let done = admin.auth.rotate_keys(&operator, pace, admin.control.instance()).await?;
    let now_ms = admin.auth.parts.clock.now_ms();
    let (next, promotes_ms) = match done {
        KeyRotation::Promoted(next) => (next, now_ms),
        KeyRotation::Scheduled { key, at_ms } => (key, at_ms.max(now_ms)),
    };
    Ok(Rotation {
        next: Some(next),
        current: current.map(|key| key.id),
        promotes_at: Timestamp(promotes_ms),
        warnings: if request.force { vec![FORCED.to_owned()] } else { Vec::new() },
    })
}

/// `key/jwks`
pub(super) async fn jwks(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<serde_json::Value, Denied> {
    serde_json::from_str(&admin.auth.key_set().json).map_err(|_| Denied::Unwritable)
}

fn key(facts: KeyFacts) -> Key {
    let KeyFacts { key, leaves_ms, .. } = facts;
    Key {
        id: key.id,
        algorithm: key.algorithm.as_str().to_owned(),
        state: match key.state {
            KeyState::Staged => State::Staged,
            KeyState::Active => State::Active,
            KeyState::Retiring => State::Retiring,
            KeyState::Retired => State::Retired,
            KeyState::Revoked => State::Revoked,
        },
        created_at: Timestamp(key.created_ms),
        // A key is published in the transaction that makes it.
        published_at: Some(Timestamp(key.created_ms)),
        activated_at: key.activated_ms.map(Timestamp),
        retires_at: leaves_ms.map(Timestamp),
    }
}
