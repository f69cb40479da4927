//! Calls about signing keys.

use super::{
    Admin,
    call::{Caller, intent},
    problem::Denied,
};
use crate::{
    auth::{Insistence, KeyFacts, KeyRotation, KeyWithdrawal, Known, Replacement, RotationPace},
    domain::key::KeyState,
};
use shared::{
    admin::{
        Empty, Page,
        key::{
            Key, RetireRequest, RevokeRequest, RotateRequest, Rotation, ShowRequest, StageRequest, Staged, State,
            Withdrawal,
        },
    },
    id::KeyId,
    time::Timestamp,
};
use std::sync::Arc;

/// What `force` risks, in words an operator can weigh.
const FORCED: &str = "promoted at once: verifiers refuse new tokens until they fetch the key set again";
/// What a withdrawal risks when nobody could learn of the next key.
const NEXT_UNKNOWN: &str =
    "verifiers may not know the next key yet: they refuse its tokens until they fetch the key set";

/// `key/list`
pub(super) async fn list(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Page<Key>, Denied> {
    let found = admin.auth.describe_keys().await?;
    Ok(Page::whole(found.into_iter().rev().map(key).collect()))
}

/// `key/show`
pub(super) async fn show(admin: Arc<Admin>, _: Caller, request: ShowRequest) -> Result<Key, Denied> {
    Ok(key(admin.auth.show_key(&request.id).await?))
}

/// `key/stage`
pub(super) async fn stage(admin: Arc<Admin>, by: Caller, request: StageRequest) -> Result<Staged, Denied> {
    let operator = by.operator(intent!(request))?;
    let replacement = if request.replace { Replacement::Allow } else { Replacement::Refuse };
    let done = admin.auth.stage_key(&operator, replacement, admin.control.instance()).await?;
    Ok(Staged { key: done.key, replaced: done.replaced, ready_at: Timestamp(done.known_ms) })
}

/// `key/rotate`
pub(super) async fn rotate(admin: Arc<Admin>, by: Caller, request: RotateRequest) -> Result<Rotation, Denied> {
    let operator = by.operator(intent!(request))?;
    let current = signing(&admin).await?;
    let done = admin.auth.rotate_keys(&operator, pace(&request), admin.control.instance()).await?;
    Ok(rotation(&admin, current, done, &request))
}

/// `key/promote`
pub(super) async fn promote(admin: Arc<Admin>, by: Caller, request: RotateRequest) -> Result<Rotation, Denied> {
    let operator = by.operator(intent!(request))?;
    let current = signing(&admin).await?;
    let done = admin.auth.promote_key(&operator, pace(&request), admin.control.instance()).await?;
    Ok(rotation(&admin, current, done, &request))
}

/// `key/retire`
pub(super) async fn retire(admin: Arc<Admin>, by: Caller, request: RetireRequest) -> Result<Withdrawal, Denied> {
    let operator = by.operator(intent!(request))?;
    let insistence = if request.force { Insistence::Forced } else { Insistence::Careful };
    let done = admin.auth.retire_key(&operator, &request.id, insistence, admin.control.instance()).await?;
    Ok(withdrawal(done))
}

/// `key/revoke`
pub(super) async fn revoke(admin: Arc<Admin>, by: Caller, request: RevokeRequest) -> Result<Withdrawal, Denied> {
    let operator = by.operator(intent!(request))?;
    Ok(withdrawal(admin.auth.revoke_key(&operator, &request.id, admin.control.instance()).await?))
}

/// `key/jwks`
pub(super) async fn jwks(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<serde_json::Value, Denied> {
    serde_json::from_str(&admin.auth.key_set().json).map_err(|_| Denied::Unwritable)
}

async fn signing(admin: &Admin) -> Result<Option<KeyId>, Denied> {
    let keys = admin.auth.list_keys().await?;
    Ok(keys.into_iter().find(|key| key.state == KeyState::Active).map(|key| key.id))
}

fn pace(request: &RotateRequest) -> RotationPace {
    if request.force { RotationPace::AtOnce } else { RotationPace::Safe }
}

fn rotation(admin: &Admin, current: Option<KeyId>, done: KeyRotation, request: &RotateRequest) -> Rotation {
    let now_ms = admin.auth.parts.clock.now_ms();
    let (next, promotes_ms) = match done {
        KeyRotation::Promoted(next) => (next, now_ms),
        KeyRotation::Scheduled { key, at_ms } => (key, at_ms.max(now_ms)),
    };
    Rotation {
        next: Some(next),
        current,
        promotes_at: Timestamp(promotes_ms),
        warnings: if request.force { vec![FORCED.to_owned()] } else { Vec::new() },
    }
}

fn withdrawal(done: KeyWithdrawal) -> Withdrawal {
    let warnings = match done.next_known {
        Known::Everywhere => Vec::new(),
        Known::NotYet => vec![NEXT_UNKNOWN.to_owned()],
    };
    Withdrawal {
        id: done.id,
        was: state(done.was),
        next: done.next,
        sessions: done.sessions,
        tokens_until: Timestamp(done.tokens_until_ms),
        caches_until: Timestamp(done.caches_until_ms),
        warnings,
    }
}

fn key(facts: KeyFacts) -> Key {
    let next = what_comes(&facts);
    let KeyFacts { key, known_ms, promotes_ms, tokens_until_ms, leaves_ms } = facts;
    Key {
        id: key.id,
        algorithm: key.algorithm.as_str().to_owned(),
        state: state(key.state),
        created_at: Timestamp(key.created_ms),
        // A key is published in the transaction that makes it.
        published_at: Some(Timestamp(key.created_ms)),
        activated_at: key.activated_ms.map(Timestamp),
        retires_at: leaves_ms.map(Timestamp),
        ready_at: known_ms.map(Timestamp),
        promotes_at: promotes_ms.map(Timestamp),
        tokens_until: tokens_until_ms.map(Timestamp),
        kek_id: Some(key.kek).filter(|_| !key.wrapped.is_empty()),
        next,
    }
}

fn what_comes(facts: &KeyFacts) -> String {
    let at = |when: Option<i64>| when.map_or_else(|| "an unknown time".to_owned(), |ms| Timestamp(ms).to_string());
    match facts.key.state {
        KeyState::Staged => format!("signs from {} on", at(facts.promotes_ms)),
        KeyState::Active => format!("signs until {}, then the staged key does", at(facts.promotes_ms)),
        KeyState::Retiring => format!("leaves the key set at {}", at(facts.leaves_ms)),
        KeyState::Retired => "no token of it lives: nothing is left to do".to_owned(),
        KeyState::Revoked => "its tokens are refused: nothing is left to do".to_owned(),
    }
}

fn state(state: KeyState) -> State {
    match state {
        KeyState::Staged => State::Staged,
        KeyState::Active => State::Active,
        KeyState::Retiring => State::Retiring,
        KeyState::Retired => State::Retired,
        KeyState::Revoked => State::Revoked,
    }
}
