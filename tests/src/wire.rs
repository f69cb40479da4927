//! One HTTP request over one connection, and its answer.

use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use shared::error::ErrorCode;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long any single request may take before its test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A request whose body is in memory.
pub type Outgoing = Request<Full<Bytes>>;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// One header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in the body of {self}"))
    }

    /// A text field of the body.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn text(&self, field: &str) -> String {
        let json = self.json();
        json[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {self}")).to_owned()
    }

    /// The error code of a problem document.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn code(&self) -> String {
        self.text("code")
    }

    /// Asserts a refusal in every part of its contract: status, media type, problem document, and what goes with it.
    ///
    /// # Panics
    /// When anything differs.
    #[track_caller]
    pub fn assert_refused(&self, code: ErrorCode) -> &Self {
        assert_eq!((self.status, self.code().as_str()), (code.status(), code.as_str()), "{self}");
        let json = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self}");
        assert_eq!(json["status"], code.status(), "{self}");
        assert_eq!(json["retryable"], code.is_retryable(), "{self}");
        assert_eq!(json["request_id"].as_str(), self.header("x-request-id"), "{self}");
        if code.status() == 401 {
            assert!(self.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{self}");
        }
        if matches!(code.status(), 429 | 503) {
            let wait = self.header("retry-after").and_then(|value| value.parse::<u64>().ok());
            assert!(wait.is_some_and(|seconds| seconds >= 1), "{self}");
        }
        self
    }

    /// Asserts a status.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self}");
        self
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:?} {}", self.status, self.headers, body.chars().take(600).collect::<String>())
    }
}

/// Why no answer came.
#[derive(Debug)]
pub struct Lost(pub String);

/// Sends one request over a fresh stream and reads the whole answer.
///
/// # Errors
/// [`Lost`] when the connection ended before the answer did, or [`PATIENCE`] did.
pub async fn exchange<S>(stream: S, request: Outgoing) -> Result<Answer, Lost>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let work = async {
        let lost = |error: hyper::Error| Lost(format!("{error:?}"));
        let builder = hyper::client::conn::http1::Builder::new();
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let pump = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(lost)?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(lost)?.to_bytes();
        drop(sender);
        pump.abort();
        Ok(Answer { status: StatusCode::as_u16(&parts.status), headers: parts.headers, body })
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(Lost(format!("no answer within {PATIENCE:?}"))))
}
