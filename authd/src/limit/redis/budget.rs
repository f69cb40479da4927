//! How long one request may wait for Redis in all.

use std::{cell::Cell, future::Future, time::Duration};

tokio::task_local! {
    /// What its calls have taken so far.
    static SPENT: Cell<Duration>;
}

/// Runs the work of one request: together its calls to Redis take no longer than two of them may.
pub async fn in_one_request<F: Future>(work: F) -> F::Output {
    SPENT.scope(Cell::new(Duration::ZERO), work).await
}

/// What is left to one call that may take `most`.
pub(super) fn left(most: Duration) -> Duration {
    SPENT.try_with(Cell::get).map_or(most, |spent| (most * 2).saturating_sub(spent).min(most))
}

/// A call took so long.
pub(super) fn spend(took: Duration) {
    // Outside a request there is nothing to spend.
    let _ = SPENT.try_with(|spent| spent.set(spent.get().saturating_add(took)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_calls_of_one_request_share_its_time() {
        let call = Duration::from_millis(50);
        in_one_request(async {
            assert_eq!(left(call), call);
            spend(call);
            spend(Duration::from_millis(30));
            assert_eq!(left(call), Duration::from_millis(20));
            spend(call);
            assert_eq!(left(call), Duration::ZERO);
        })
        .await;
        assert_eq!(left(call), call, "outside a request each call has its own");
    }
}
