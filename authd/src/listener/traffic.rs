//! What the two ends of a connection tell each other: which requests were let through, and whether one is being
//! answered.

use super::head::Refusal;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// What is to become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is answered.
    Pass,
    /// It is answered, and the connection ends.
    PassAndClose,
    /// Only the refusal is answered, and the connection ends.
    Refuse(Refusal),
}

/// The state of one connection; its requests are counted from one.
#[derive(Default)]
pub(super) struct Traffic {
    verdicts: Mutex<VecDeque<(u64, Verdict)>>,
    reader: Mutex<Option<Waker>>,
    let_through: AtomicU64,
    bodies_done: AtomicU64,
    answers_done: AtomicU64,
    closing: AtomicBool,
    stopping: AtomicBool,
}

impl Traffic {
    /// A head was let through.
    pub(super) fn request(&self, verdict: Verdict) {
        let number = self.let_through.fetch_add(1, Ordering::SeqCst) + 1;
        lock(&self.verdicts).push_back((number, verdict));
    }

    /// Number and verdict of the next request hyper has read.
    pub(super) fn next_verdict(&self) -> (u64, Verdict) {
        // hyper reads exactly the heads that were let through; were it to find another, its meaning would be unknown.
        lock(&self.verdicts).pop_front().unwrap_or((0, Verdict::Refuse(Refusal::Malformed)))
    }

    /// Whether a request waits for the end of its answer.
    pub(super) fn is_busy(&self) -> bool {
        self.answers_done.load(Ordering::SeqCst) < self.let_through.load(Ordering::SeqCst)
    }

    /// Ready when no request waits for its answer. hyper does not read again after an answer if its last read had to
    /// wait, so whoever counts the idle time must be woken.
    pub(super) fn poll_idle(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_busy() {
            *lock(&self.reader) = Some(cx.waker().clone());
        }
        // Once more: the answer may have ended before the waker was there.
        if self.is_busy() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Whether somebody waits for the rest of the last request's body.
    pub(super) fn is_body_wanted(&self) -> bool {
        self.bodies_done.load(Ordering::SeqCst) < self.let_through.load(Ordering::SeqCst)
    }

    /// The next answer is the connection's last.
    pub(super) fn close_with_answer(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Whether the next answer is the connection's last.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// The connection ends: no request is taken that has not begun to arrive.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether the connection ends.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// The body of a request, which tells when it is no longer wanted.
    pub(super) fn request_body(self: &Arc<Self>, number: u64, body: Incoming) -> Body {
        Body::new(Watched { body, number, traffic: Arc::clone(self), done: |traffic| &traffic.bodies_done })
    }

    /// The body of an answer, which tells when it has been handed over.
    pub(super) fn response_body(self: &Arc<Self>, number: u64, body: Body) -> Body {
        Body::new(Watched { body, number, traffic: Arc::clone(self), done: |traffic| &traffic.answers_done })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body whose end is noted.
struct Watched<B> {
    body: B,
    number: u64,
    traffic: Arc<Traffic>,
    done: fn(&Traffic) -> &AtomicU64,
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        (self.done)(&self.traffic).fetch_max(self.number, Ordering::SeqCst);
        if let Some(reader) = lock(&self.traffic.reader).take() {
            reader.wake();
        }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
