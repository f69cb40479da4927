//! Faults of the database in the words of the domain.

use crate::domain::store_error::StoreError;

/// A result that can only fail for storage.
pub(super) type Stored<T> = Result<T, StoreError>;

/// Sorts a fault: what does not read back is damage, all else means that the database could not be asked.
pub(super) fn fault(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::RowNotFound
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_) => StoreError::corrupt(error),
        _ => StoreError::unavailable(error),
    }
}

/// Whether the server itself refused a statement, and is not on its way out (SQLSTATE class 57): it is well enough.
pub(super) fn was_answered(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|refusal| !refusal.code().is_some_and(|code| code.starts_with("57")))
}

/// The fault of a COMMIT: it may have happened.
pub(super) fn unknown(cause: impl std::fmt::Display) -> StoreError {
    StoreError::UnknownOutcome(cause.to_string().into())
}

/// The fault of a statement that commits by itself: unless the server refused it, it may have happened.
pub(super) fn fault_alone(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            unknown(error)
        }
        other => fault(other),
    }
}
