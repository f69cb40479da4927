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

/// Whether the server ended the connection (57P01, 57P02): the statement may have been committed before.
fn was_cut_off(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|refusal| refusal.code().is_some_and(|code| code.starts_with("57P")))
}

/// The fault of a statement that commits by itself: unless the server refused it, it may have happened.
pub(super) fn fault_alone(error: sqlx::Error) -> StoreError {
    match error {
        error if was_cut_off(&error) => unknown(error),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            unknown(error)
        }
        other => fault(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::error::{DatabaseError, ErrorKind};
    use std::borrow::Cow;

    #[derive(Debug, thiserror::Error)]
    #[error("as the server said")]
    struct Refusal(&'static str);

    impl DatabaseError for Refusal {
        fn message(&self) -> &str {
            "as the server said"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn a_server_that_ends_a_connection_leaves_the_outcome_of_a_lone_statement_unknown() {
        let fault = |code| fault_alone(sqlx::Error::Database(Box::new(Refusal(code))));
        for code in ["57P01", "57P02"] {
            assert!(matches!(fault(code), StoreError::UnknownOutcome(_)), "{code}");
        }
        // A statement that was cancelled, and one that the schema refuses.
        for code in ["57014", "23505"] {
            assert!(matches!(fault(code), StoreError::Unavailable(_)), "{code}");
        }
    }
}
