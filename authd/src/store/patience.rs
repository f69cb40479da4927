//! Waiting for a database that is not there yet: what fails for it is tried again until one instant.

use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// What is wrong with one attempt.
#[derive(Debug)]
pub enum Failure<E> {
    /// Trying again may help; the cause, for the log.
    Transient(String),
    /// Waiting does not help.
    Final(E),
}

/// The database did not do what was asked of it in time; what was wrong last.
#[derive(Debug)]
pub struct NeverCame(pub String);

/// Makes attempts until one succeeds or fails for good, or until this instant; one that is under way then is given up.
///
/// # Errors
/// What fails for good, or [`NeverCame`].
pub async fn until_there<T, E, A>(end: Instant, mut attempt: impl FnMut() -> A) -> Result<T, E>
where
    E: From<NeverCame>,
    A: Future<Output = Result<T, Failure<E>>>,
{
    let mut last = String::from("no answer");
    while let Ok(outcome) = timeout_at(end, attempt()).await {
        match outcome {
            Ok(done) => return Ok(done),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Transient(cause)) => {
                tracing::warn!(%cause, "the database is not there yet");
                last = cause;
            }
        }
        sleep(PAUSE).await;
    }
    Err(NeverCame(last).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    impl From<NeverCame> for String {
        fn from(NeverCame(cause): NeverCame) -> Self {
            format!("never: {cause}")
        }
    }

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn what_is_transient_is_tried_again_and_what_is_final_is_not() {
        let mut causes = vec!["b", "a"];
        let done = until_there::<_, String, _>(in_a_minute(), || {
            let cause = causes.pop();
            async move { cause.map_or(Ok("done"), |cause| Err(Failure::Transient(cause.to_owned()))) }
        });
        assert_eq!(done.await.unwrap(), "done");
        let mut attempts = 0;
        let refused = until_there::<(), String, _>(in_a_minute(), || {
            attempts += 1;
            async { Err(Failure::Final("no".to_owned())) }
        });
        assert_eq!((refused.await.unwrap_err(), attempts), ("no".to_owned(), 1));
    }

    #[tokio::test]
    async fn the_wait_ends_in_time_with_the_last_cause_even_in_the_midst_of_an_attempt() {
        let (end, mut attempts) = (Instant::now() + Duration::from_millis(900), 0);
        let refused = until_there::<(), String, _>(end, || {
            attempts += 1;
            let hangs = attempts > 1;
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Err(Failure::Transient("away".to_owned()))
            }
        });
        let refused = tokio::time::timeout(Duration::from_secs(60), refused).await.unwrap();
        assert_eq!(refused.unwrap_err(), "never: away");
        assert!(Instant::now() >= end);
    }
}
