//! Between the socket and hyper: lets through checked heads and their bodies, in time, and nothing else.
//!
//! A refused head becomes a small good request for hyper, marked with the refusal: so its answer comes after those of
//! earlier requests on the connection, and hyper ends the connection behind it.

use super::{
    head::{Framing, HeadScan, Progress, Refusal},
    timer::{Timer, Wait},
    traffic::{Traffic, Verdict},
};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What hyper reads instead of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\n\r\n";
/// How long, and for how many bytes, a connection is read on after its last answer: closing with unread input makes
/// the kernel send a reset, which can take the answer away from the client (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;
/// Bytes read at once.
const READ_SIZE: usize = 8 * 1024;

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// For the first byte, and for a whole head.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// For a whole body.
    pub(super) body: Duration,
    /// For taking any part of an answer.
    pub(super) write: Duration,
}

enum Phase {
    /// A head is awaited or arriving.
    Head(HeadScan),
    /// So many bytes of the body have not been handed on.
    Body(u64),
    /// Everything from here on belongs to the last request of the connection.
    Rest,
    /// A refusal was handed on; the rest of the input means nothing.
    Refused,
}

/// The checked byte stream of one connection.
pub(super) struct Gate<S> {
    stream: S,
    traffic: Arc<Traffic>,
    deadlines: Deadlines,
    input: Vec<u8>,
    /// Bytes at the front of `input` that hyper may have.
    ready: usize,
    phase: Phase,
    reading: Timer,
    writing: Timer,
    closing: Option<usize>,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    /// A gate in front of a fresh connection, whose first head is due from now on.
    pub(super) fn new(stream: S, traffic: Arc<Traffic>, deadlines: Deadlines) -> Self {
        let mut reading = Timer::default();
        reading.start(Wait::FirstHead, deadlines.head);
        Self {
            stream,
            traffic,
            deadlines,
            input: Vec::new(),
            ready: 0,
            phase: Phase::Head(HeadScan::default()),
            reading,
            writing: Timer::default(),
            closing: None,
            ended: false,
        }
    }

    /// Looks at the head in `input`; whether there is something to hand on now.
    fn check_head(&mut self) -> bool {
        let Phase::Head(scan) = &mut self.phase else { return false };
        match scan.advance(&self.input) {
            Progress::Partial => false,
            Progress::Refused(refusal) => {
                self.refuse(refusal);
                true
            }
            Progress::Complete { length, framing } => {
                self.ready = length;
                let (phase, verdict) = match framing {
                    Framing::Length(bytes) => (Phase::Body(bytes), Verdict::Pass),
                    // Where chunks end is hyper's knowledge: the connection ends with this request.
                    Framing::Chunked => (Phase::Rest, Verdict::PassAndClose),
                };
                self.phase = phase;
                self.reading.start(Wait::Body, self.deadlines.body);
                self.traffic.request(verdict);
                true
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.input = STAND_IN.to_vec();
        self.ready = STAND_IN.len();
        self.phase = Phase::Refused;
        self.reading.stop();
        self.traffic.request(Verdict::Refuse(refusal));
    }

    /// Hands on what is ready.
    fn give(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.ready.min(out.remaining());
        out.put_slice(self.input.get(..count).unwrap_or_default());
        self.input.drain(..count.min(self.input.len()));
        self.ready -= count;
        if self.input.is_empty() {
            // An idle connection holds no buffer.
            self.input = Vec::new();
        }
    }

    /// Makes bytes of a body ready; whether there are any.
    fn take_body(&mut self) -> bool {
        let left = match self.phase {
            Phase::Body(left) => left,
            Phase::Rest => u64::MAX,
            Phase::Head(_) | Phase::Refused => 0,
        };
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
        if let Phase::Body(left) = &mut self.phase {
            *left -= count as u64;
        }
        self.ready = count;
        count > 0
    }

    /// Reads more input. `Ready(false)` is the end of it.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [std::mem::MaybeUninit::uninit(); READ_SIZE];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.input.extend_from_slice(read.filled());
        self.ended |= read.filled().is_empty();
        Poll::Ready(Ok(!self.ended))
    }

    /// Nothing more has arrived: whether that has lasted too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Wait> {
        if matches!(self.phase, Phase::Head(_)) {
            match self.reading.wait() {
                Some(Wait::FirstHead | Wait::Head | Wait::Idle) => {}
                // The time between two requests starts with the end of the last answer.
                _ => {
                    ready!(self.traffic.poll_idle(cx));
                    self.reading.start(Wait::Idle, self.deadlines.idle);
                }
            }
        } else if !self.traffic.is_body_wanted() {
            return Poll::Pending;
        }
        self.reading.poll(cx)
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.check_head() {
            return Poll::Ready(Ok(true));
        }
        let was_empty = self.input.is_empty();
        match self.poll_fill(cx) {
            Poll::Ready(Ok(true)) => {
                if was_empty && self.reading.wait() != Some(Wait::FirstHead) {
                    self.reading.start(Wait::Head, self.deadlines.head);
                }
                Poll::Ready(Ok(true))
            }
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending if was_empty && self.traffic.is_stopping() && !self.traffic.is_busy() => {
                Poll::Ready(Ok(false))
            }
            Poll::Pending => {
                ready!(self.poll_late(cx));
                // Silence is not worth an answer, half a head is.
                let answer = !self.input.is_empty();
                if answer {
                    self.refuse(Refusal::TooSlow);
                }
                Poll::Ready(Ok(answer))
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.take_body() {
            return Poll::Ready(Ok(true));
        }
        if matches!(self.phase, Phase::Body(0)) {
            self.phase = Phase::Head(HeadScan::default());
            self.reading.stop();
            if !self.input.is_empty() {
                self.reading.start(Wait::Head, self.deadlines.head);
            }
            return Poll::Ready(Ok(true));
        }
        match self.poll_fill(cx) {
            Poll::Pending => {
                ready!(self.poll_late(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the request's body did not arrive in time")))
            }
            done => done,
        }
    }

    /// Notes whether a write moved, and how long it has not.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing.stop();
            return written;
        }
        if self.writing.wait().is_none() {
            self.writing.start(Wait::Write, self.deadlines.write);
        }
        ready!(self.writing.poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        loop {
            if gate.ready > 0 {
                gate.give(out);
                return Poll::Ready(Ok(()));
            }
            let more = match gate.phase {
                Phase::Head(_) => ready!(gate.poll_head(cx))?,
                Phase::Body(_) | Phase::Rest => ready!(gate.poll_body(cx))?,
                Phase::Refused => return Poll::Pending,
            };
            if !more {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let written = Pin::new(&mut gate.stream).poll_write(cx, bytes);
        gate.watch_write(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let written = Pin::new(&mut gate.stream).poll_write_vectored(cx, slices);
        gate.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let flushed = Pin::new(&mut gate.stream).poll_flush(cx);
        gate.watch_write(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.closing.is_none() {
            ready!(Pin::new(&mut gate.stream).poll_shutdown(cx))?;
            gate.closing = Some(0);
            gate.reading.start(Wait::Close, LINGER);
        }
        while !gate.ended && gate.closing.is_some_and(|bytes| bytes < LINGER_BYTES_MAX) {
            gate.input.clear();
            match gate.poll_fill(cx) {
                Poll::Ready(Ok(true)) => gate.closing = gate.closing.map(|bytes| bytes + gate.input.len()),
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(gate.reading.poll(cx));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
