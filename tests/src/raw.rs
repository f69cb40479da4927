//! Bytes on a socket: for requests that no HTTP client would send.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection that says what it is told to.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    opened: Instant,
}

/// What came back until the other side closed or the time was up.
#[derive(Debug, Clone)]
pub struct Heard {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Whether the other side closed (or reset) the connection.
    pub closed: bool,
    /// How long after connecting that was.
    pub after: Duration,
}

impl Heard {
    /// Status of the first answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.text().strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
    }

    /// How many answers came.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.text().matches("HTTP/1.1 ").count()
    }

    /// Everything as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// When nobody accepts.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the daemon accepts connections");
        Self { stream, opened: Instant::now() }
    }

    /// Sends bytes; says whether the other side still took them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Listens until the other side closes, at most for `limit`.
    pub async fn hear(&mut self, limit: Duration) -> Heard {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        let end = tokio::time::Instant::now() + limit;
        loop {
            match tokio::time::timeout_at(end, self.stream.read(&mut chunk)).await {
                Ok(Ok(0) | Err(_)) => return Heard { bytes, closed: true, after: self.opened.elapsed() },
                Ok(Ok(count)) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(_) => return Heard { bytes, closed: false, after: self.opened.elapsed() },
            }
        }
    }

    /// Listens to so many bytes, or to less where the other side closes before.
    pub async fn hear_some(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut heard = 0;
        while heard < count {
            let Ok(more @ 1..) = self.stream.read(&mut bytes[heard..]).await else { break };
            heard += more;
        }
        bytes.truncate(heard);
        bytes
    }

    /// Closes with a reset instead of a goodbye: whatever is on its way is lost.
    ///
    /// # Panics
    /// When the socket does not take the option.
    pub fn reset(self) {
        // Zero linger never blocks: it discards what is unsent and answers the peer with RST.
        self.stream.set_zero_linger().expect("TCP sockets can linger");
    }
}

/// One request in one go, and everything that came back within `limit`.
pub async fn shout(address: SocketAddr, bytes: impl AsRef<[u8]>, limit: Duration) -> Heard {
    let mut raw = Raw::connect(address).await;
    raw.send(bytes).await;
    raw.hear(limit).await
}
