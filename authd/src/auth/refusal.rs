//! Why a use case refuses: a closed list that each surface maps to its own answer.

use crate::domain::{
    identifier::{InvalidEmail, InvalidUsername},
    login::NoActiveKey,
    password::{HashError, WeakPassword},
    store_error::StoreError,
};

/// A refusal. Nothing has changed, except where a variant says so.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error(transparent)]
    InvalidEmail(#[from] InvalidEmail),
    /// 400.
    #[error(transparent)]
    InvalidUsername(#[from] InvalidUsername),
    /// 400.
    #[error(transparent)]
    WeakPassword(#[from] WeakPassword),
    /// 403.
    #[error("registration is closed")]
    RegistrationClosed,
    /// 409.
    #[error("the e-mail address is taken")]
    DuplicateEmail,
    /// 409.
    #[error("the user name is taken")]
    DuplicateUsername,
    /// 401: unknown, wrong, disabled, passwordless are never told apart.
    #[error("the credentials are not valid")]
    InvalidCredentials,
    /// 401.
    #[error("no token was given")]
    MissingToken,
    /// 401.
    #[error("the token has expired")]
    TokenExpired,
    /// 401; a replay has ended its session.
    #[error("the token is not valid")]
    TokenInvalid,
    /// 404.
    #[error("not found")]
    NotFound,
    /// 409.
    #[error("the token was already used with another or the same idempotency key")]
    Conflict,
    /// 409.
    #[error("the account has as many sessions as it may have")]
    SessionLimit,
    /// 429.
    #[error("too many requests")]
    RateLimited {
        /// Milliseconds to wait.
        retry_after_ms: i64,
    },
    /// 503.
    #[error("overloaded")]
    Overloaded,
    /// 503.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// 503: no key signs, or revocations were never loaded.
    #[error("not ready: {0}")]
    NotReady(&'static str),
    /// 500, a bug.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl From<HashError> for Refusal {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Overloaded => Self::Overloaded,
            // The operator's log tells; to the caller such an account is one whose password never matches.
            HashError::Unusable => Self::InvalidCredentials,
        }
    }
}

impl From<NoActiveKey> for Refusal {
    fn from(_: NoActiveKey) -> Self {
        Self::NotReady("no signing key is active")
    }
}
