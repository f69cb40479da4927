//! The dependency container: builds every part and joins them.

use crate::{config::Config, lifecycle::Start};

/// Why the daemon does not start; each has its own exit code (`sysexits.h`).
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// 78: something an operator has to change.
    #[error("{0}")]
    Configuration(String),
    /// 69: a dependency that never came.
    #[error("{0}")]
    Dependency(String),
    /// 70: a bug, or a machine that does not do what it should.
    #[error("{0}")]
    Internal(String),
}

impl StartError {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 78,
            Self::Dependency(_) => 69,
            Self::Internal(_) => 70,
        }
    }
}

/// Serves until it is told to stop.
///
/// # Errors
/// [`StartError`].
pub async fn run(start: Start) -> Result<(), StartError> {
    drop(start);
    Err(StartError::Internal("this build cannot serve".to_owned()))
}

/// Brings the database to this version's schema.
///
/// # Errors
/// [`StartError`].
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    let _ = config;
    Err(StartError::Internal("this build cannot migrate".to_owned()))
}

/// The OpenAPI document of the public API.
#[must_use]
pub fn openapi() -> serde_json::Value {
    serde_json::Value::Null
}
