//! A light HTTP/1.1 client: one connection kept alive, requests as prepared bytes, answers read by status and length.
//!
//! Client, daemon and database share the processors, so whatever the client costs is missing from both sides of a
//! ratio.

use std::{io, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// More than any answer here.
const ROOM: usize = 64 * 1024;

/// A kept-alive connection, opened when it is first needed: servers do not wait long for silent ones.
#[derive(Debug)]
pub(crate) struct Conn {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply<'c> {
    pub(crate) status: u16,
    pub(crate) body: &'c [u8],
}

impl Conn {
    /// A connection to this server.
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: vec![0; ROOM] }
    }

    /// Closes it; the next request opens it again.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }

    /// Sends a request and reads its answer.
    ///
    /// # Panics
    /// When nobody accepts, or the server closes the connection or does not speak HTTP/1.1 with lengths.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Reply<'_> {
        self.exchange(request).await.unwrap_or_else(|error| panic!("an answer was cut: {error}"))
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(request).await?;
        let mut filled = 0;
        let (status, body) = loop {
            let room = self.buffer.get_mut(filled..).unwrap_or_default();
            let count = stream.read(room).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += count;
            let heard = self.buffer.get(..filled).unwrap_or_default();
            if let Some((status, body)) = head(heard)?
                && filled >= body.end
            {
                break (status, body);
            }
        };
        Ok(Reply { status, body: self.buffer.get(body).unwrap_or_default() })
    }
}

/// Status and the place of the body, once the whole head is there.
fn head(heard: &[u8]) -> io::Result<Option<(u16, std::ops::Range<usize>)>> {
    let Some(end) = find(heard, b"\r\n\r\n") else { return Ok(None) };
    let bad = || io::Error::other("not an answer of HTTP/1.1 with a length");
    let head = heard.get(..end).unwrap_or_default();
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
    let status = head.get(9..12).and_then(number).ok_or_else(bad)?;
    let length = match find(head, b"content-length:") {
        Some(at) => {
            let rest = head.get(at + 15..).unwrap_or_default();
            let line = rest.split(|byte| *byte == b'\r').next().unwrap_or_default();
            number(line).ok_or_else(bad)?
        }
        None if find(head, b"transfer-encoding").is_none() => 0,
        None => return Err(bad()),
    };
    let begin = end + 4;
    Ok(Some((u16::try_from(status).map_err(|_| bad())?, begin..begin + length)))
}

/// Where `what` begins in `text`; header names of our servers are in lower case.
pub(crate) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|part| part == what)
}

/// `GET` with a bearer token.
pub(crate) fn get(path: &str, access: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: auth.example.org\r\nAuthorization: Bearer {access}\r\n\r\n").into_bytes()
}

/// `POST` with a JSON body.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: auth.example.org\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
