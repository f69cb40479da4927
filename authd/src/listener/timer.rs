//! A deadline that is started, restarted and stopped as a connection moves on.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The first head of a connection.
    FirstHead,
    /// A further head, from its first byte on.
    Head,
    /// The first byte of a further head.
    Idle,
    /// A body.
    Body,
    /// Room for a part of an answer.
    Write,
    /// The client's own end of the connection.
    Close,
}

/// One deadline at a time.
#[derive(Default)]
pub(super) struct Timer {
    wait: Option<Wait>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// What is waited for.
    pub(super) fn wait(&self) -> Option<Wait> {
        self.wait
    }

    /// Starts over.
    pub(super) fn start(&mut self, wait: Wait, duration: Duration) {
        self.wait = Some(wait);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(Instant::now() + duration),
            None => self.sleep = Some(Box::pin(sleep(duration))),
        }
    }

    /// Waits for nothing.
    pub(super) fn stop(&mut self) {
        self.wait = None;
    }

    /// Ready when the deadline has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Wait> {
        let (Some(wait), Some(sleep)) = (self.wait, &mut self.sleep) else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(wait)
    }
}
