//! A body of JSON lines that somebody else writes as they happen.

use axum::body::Bytes;
use hyper::body::{Body, Frame};
use serde::Serialize;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// Lines that wait for a slow reader; the writer waits then.
const WAITING: usize = 64;

/// The reading end: an answer's body.
pub(super) struct Lines(mpsc::Receiver<Bytes>);

/// The writing end.
pub(super) struct LineWriter(mpsc::Sender<Bytes>);

/// The reader has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// Both ends.
pub(super) fn channel() -> (LineWriter, Lines) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (LineWriter(sender), Lines(receiver))
}

impl LineWriter {
    /// Writes one value as a line; waits for a slow reader.
    ///
    /// # Errors
    /// [`Gone`] when nobody reads any more.
    pub(super) async fn write(&self, value: &impl Serialize) -> Result<(), Gone> {
        // A value that cannot be written as JSON ends the stream: a gap would look like nothing had happened.
        let mut line = serde_json::to_vec(value).map_err(|_| Gone)?;
        line.push(b'\n');
        self.0.send(Bytes::from(line)).await.map_err(|_| Gone)
    }

    /// Waits until nobody reads any more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn values_become_lines_and_the_writer_learns_that_the_reader_has_gone() {
        let (writer, lines) = channel();
        writer.write(&1).await.unwrap();
        writer.write(&"two").await.unwrap();
        drop(writer);
        assert_eq!(lines.collect().await.unwrap().to_bytes(), "1\n\"two\"\n");
        let (writer, lines) = channel();
        drop(lines);
        writer.closed().await;
        assert_eq!(writer.write(&1).await, Err(Gone));
    }
}
