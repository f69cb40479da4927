//! Password work runs to its end although its client hangs up: an evaluation that has begun counts, one that still
//! waits for a thread is dropped.

use crate::{auth::Refusal, domain::password::Presence, http::state::Around};
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::Instrument as _;

/// Runs `work` to its end, with `around` around it; gives it the client's presence to mark passwords with.
#[expect(
    clippy::disallowed_methods,
    reason = "the handler awaits it; what outlives its client is bounded by the budgets"
)]
pub(super) async fn to_the_end<T, Work>(around: Around, work: impl FnOnce(Presence) -> Work) -> Result<T, Refusal>
where
    T: Send + 'static,
    Work: Future<Output = Result<T, Refusal>> + Send + 'static,
{
    // Dropped with the handler, that is when the client has gone or its budget is spent.
    let held = Arc::new(());
    let (tell, told) = oneshot::channel();
    let work = work(Presence::of(&held));
    let work = around(Box::pin(async move {
        // Nobody may be waiting any more.
        let _ = tell.send(work.await);
    }));
    tokio::spawn(work.in_current_span());
    let outcome = told.await.unwrap_or(Err(Refusal::Internal("a request panicked")));
    drop(held);
    outcome
}
