//! What storage can fail with: never a missing row, always something a caller must answer with 503.

use std::sync::Arc;

/// A storage fault. Every surface answers it with 503 and `retryable: true`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database could not be asked or refused to write; nothing happened.
    #[error("storage is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The transaction may or may not have happened; only a repeat of an idempotent request can tell.
    #[error("the outcome of a transaction is unknown: {0}")]
    UnknownOutcome(Arc<str>),
    /// A stored value does not read back: damaged data or a program older than its schema.
    #[error("stored data does not read back: {0}")]
    Corrupt(Arc<str>),
}

impl StoreError {
    /// [`StoreError::Unavailable`] with this cause, for the log.
    pub fn unavailable(cause: impl std::fmt::Display) -> Self {
        Self::Unavailable(cause.to_string().into())
    }

    /// [`StoreError::Corrupt`] with this cause, for the log.
    pub fn corrupt(cause: impl std::fmt::Display) -> Self {
        Self::Corrupt(cause.to_string().into())
    }
}
