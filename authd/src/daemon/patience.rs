//! How long a start waits for its database: every step of it is tried again until `database.start_timeout` has passed
//! since the start began.

use crate::{
    daemon::StartError,
    domain::setting::Readiness,
    store::{Failure, NeverCame, until_there},
};
use std::sync::Arc;
use tokio::time::Instant;

/// What is left of it, for all steps together.
pub(super) struct Patience {
    /// When it ends.
    pub(super) end: Instant,
    /// Whether the database is well.
    pub(super) readiness: Arc<dyn Readiness>,
}

impl Patience {
    /// Takes a step of a start; again, while a dependency is missing, so that it must be one that may be repeated.
    pub(super) async fn take<T, E, S>(&self, mut step: impl FnMut() -> S) -> Result<T, StartError>
    where
        E: Into<StartError>,
        S: Future<Output = Result<T, E>>,
    {
        let mut is_repeated = false;
        until_there(self.end, || {
            let (is_repeated, step) = (std::mem::replace(&mut is_repeated, true), step());
            async move {
                // The breaker may have opened meanwhile: a probe passes it, and closes it once the database is back.
                if is_repeated {
                    self.readiness.probe().await.map_err(|error| failure(error.into()))?;
                }
                step.await.map_err(|error| failure(error.into()))
            }
        })
        .await
    }
}

fn failure(error: StartError) -> Failure<StartError> {
    match error {
        StartError::Dependency(cause) => Failure::Transient(cause),
        other => Failure::Final(other),
    }
}

impl From<NeverCame> for StartError {
    fn from(NeverCame(cause): NeverCame) -> Self {
        Self::Dependency(format!("the database did not serve the start in time: {cause}"))
    }
}
