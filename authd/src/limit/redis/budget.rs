//! How long one request may wait for Redis in all.

use std::{cell::Cell, future::Future, time::Duration};

/// What all calls of one request may take together.
const WHOLE: Duration = Duration::from_millis(100);

tokio::task_local! {
    static LEFT: Cell<Duration>;
}

/// Runs the work of one request: together its calls to Redis take no longer than 100 ms.
pub async fn in_one_request<F: Future>(work: F) -> F::Output {
    LEFT.scope(Cell::new(WHOLE), work).await
}

/// What is left to one call that may take `most`.
pub(super) fn left(most: Duration) -> Duration {
    LEFT.try_with(Cell::get).map_or(most, |left| left.min(most))
}

/// A call took so long.
pub(super) fn spend(spent: Duration) {
    // Outside a request there is nothing to spend.
    let _ = LEFT.try_with(|left| left.set(left.get().saturating_sub(spent)));
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
