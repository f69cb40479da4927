//! JSON lines as they come.

use super::{Exchange, broken};
use crate::error::Error;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;
use shared::admin::POSITION_HEADER;
use tokio::task::JoinSet;

/// Longest line, in bytes.
const LINE_LIMIT: usize = 1 << 20;

/// An open stream of JSON lines.
pub struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    position: Option<u64>,
    _driver: JoinSet<()>,
}

impl Lines {
    pub(super) fn new(exchange: Exchange) -> Self {
        let header = exchange.answer.headers().get(POSITION_HEADER);
        let position = header.and_then(|value| value.to_str().ok()?.parse().ok());
        Self { body: exchange.answer.into_body(), buffer: Vec::new(), position, _driver: exchange.driver }
    }

    /// The sequence number after which the stream begins, if the daemon says so.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.position
    }

    /// The next line without its end; `None` when the daemon has ended the stream.
    ///
    /// # Errors
    /// [`Error::Broken`] when the connection is lost, [`Error::Answer`] for an endless line.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(line) = take_line(&mut self.buffer) {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.buffer.len() > LINE_LIMIT {
                return Err(Error::Answer("a line is too long".to_owned()));
            }
            if self.body.is_end_stream() {
                return Ok(None);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.buffer.extend_from_slice(bytes);
                    }
                }
            }
        }
    }
}

impl Lines {
    /// The next line's value; `None` when the daemon has ended the stream.
    ///
    /// # Errors
    /// As [`Self::next`], and [`Error::Answer`] when the line does not read.
    pub async fn next_value<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let Some(line) = self.next().await? else { return Ok(None) };
        serde_json::from_slice(&line).map(Some).map_err(|error| Error::Answer(error.to_string()))
    }
}

fn take_line(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let mut line: Vec<u8> = buffer.drain(..=end).collect();
    line.pop();
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_an_unfinished_one_stays() {
        let mut buffer = b"{\"a\":1}\n{\"b\":2}\n{\"c\"".to_vec();
        assert_eq!(take_line(&mut buffer), Some(b"{\"a\":1}".to_vec()));
        assert_eq!(take_line(&mut buffer), Some(b"{\"b\":2}".to_vec()));
        assert_eq!(take_line(&mut buffer), None);
        assert_eq!(buffer, b"{\"c\"");
    }
}
