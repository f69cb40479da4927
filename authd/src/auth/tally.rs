//! Under which kind an answer is counted.

use crate::auth::Refusal;
use crate::domain::{
    limit::{Admission, Reserved},
    rotation::Decision,
    session::Rotated,
    store_error::StoreError,
    tally::{LimitOutcome, LoginOutcome, RefreshOutcome},
};

/// How a login ended.
pub(super) fn login(refusal: Option<&Refusal>) -> LoginOutcome {
    match refusal {
        None => LoginOutcome::Succeeded,
        Some(Refusal::InvalidCredentials) => LoginOutcome::InvalidCredentials,
        Some(Refusal::RateLimited { .. }) => LoginOutcome::Limited,
        Some(Refusal::Overloaded) => LoginOutcome::Overloaded,
        Some(Refusal::Storage(_) | Refusal::NotReady(_)) => LoginOutcome::Unavailable,
        Some(_) => LoginOutcome::Refused,
    }
}

/// What the store said to a refresh.
pub(super) fn refresh(rotated: &Result<Option<Rotated>, StoreError>) -> RefreshOutcome {
    match rotated.as_ref().map(|rotated| rotated.as_ref().map(|rotated| &rotated.decision)) {
        Err(_) => RefreshOutcome::Unavailable,
        Ok(Some(Decision::Rotate { .. })) => RefreshOutcome::Rotated,
        Ok(Some(Decision::Retry { .. })) => RefreshOutcome::Retried,
        Ok(Some(Decision::Replay(_))) => RefreshOutcome::Replayed,
        Ok(Some(Decision::Conflict)) => RefreshOutcome::Conflict,
        Ok(Some(Decision::Limited { .. })) => RefreshOutcome::Limited,
        Ok(None | Some(Decision::Expired | Decision::Ended | Decision::WrongTransport)) => RefreshOutcome::Refused,
    }
}

/// What a rate said.
pub(super) fn admission(admission: &Admission) -> LimitOutcome {
    match admission {
        Admission::Allowed => LimitOutcome::Allowed,
        Admission::Denied { .. } => LimitOutcome::Denied,
    }
}

/// What a ladder or a count said.
pub(super) fn reservation(reserved: &Reserved) -> LimitOutcome {
    match reserved {
        Reserved::Place(_) => LimitOutcome::Allowed,
        Reserved::Denied { .. } => LimitOutcome::Denied,
        Reserved::Overloaded => LimitOutcome::Overloaded,
    }
}
