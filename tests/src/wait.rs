//! Waiting for something that can be asked for, and letting many requests go at once.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Barrier, task::JoinSet};

const PAUSE: Duration = Duration::from_millis(15);

/// Asks `probe` again and again until it gives a value.
///
/// # Panics
/// When it gave none within `limit`; `what` says what was awaited.
pub async fn until<T, F: Future<Output = Option<T>>>(limit: Duration, what: &str, mut probe: impl FnMut() -> F) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs `work` `count` times at once, released together; the answers in the order of their numbers.
///
/// # Panics
/// When one of them panicked.
pub async fn together<T, F>(count: usize, work: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(count));
    let mut set = JoinSet::new();
    for number in 0..count {
        let (barrier, work) = (barrier.clone(), work(number));
        set.spawn(async move {
            barrier.wait().await;
            (number, work.await)
        });
    }
    let mut answers = set.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Runs `work` and says how long it took.
pub async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let answer = work.await;
    (answer, start.elapsed())
}
