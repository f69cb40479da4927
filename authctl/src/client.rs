//! The client of the admin API: a library that knows calls and sockets, and nothing of output.

pub mod socket;
pub mod stream;

use crate::error::{Error, Refusal};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use shared::{
    admin::{Access, Call, CallInfo, SECRET_FIELDS},
    time::Span,
};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use stream::Lines;
use tokio::{
    net::UnixStream,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Largest answer that is read into memory, in bytes.
const ANSWER_LIMIT: usize = 64 << 20;

/// Pause after too many calls.
const TOO_MANY_PAUSE: Duration = Duration::from_millis(500);

/// Speaks to one daemon.
#[derive(Debug, Clone)]
pub struct Client {
    sockets: socket::Search,
    timeout: Span,
    has_sent_change: Arc<AtomicBool>,
}

/// What the daemon was asked for so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    /// Nothing that could have changed something.
    #[default]
    ToTell,
    /// A change.
    ToChange,
}

/// An answer whose body has not been read, with the task that drives its connection.
pub(crate) struct Exchange {
    /// Status, headers and the body to come.
    pub(crate) answer: Response<Incoming>,
    /// Ends with the exchange.
    pub(crate) driver: JoinSet<()>,
}

impl Client {
    /// A client that searches the sockets as told and gives each call `timeout`.
    #[must_use]
    pub fn new(sockets: socket::Search, timeout: Span) -> Self {
        Self { sockets, timeout, has_sent_change: Arc::default() }
    }

    /// What the daemon was asked for so far: after a change without an answer nobody knows what became of it.
    #[must_use]
    pub fn asked(&self) -> Asked {
        if self.has_sent_change.load(Ordering::Relaxed) { Asked::ToChange } else { Asked::ToTell }
    }

    /// Makes a call.
    ///
    /// # Errors
    /// Any of [`Error`]'s ways to fail at the socket, [`Error::Refused`] with the daemon's words, or
    /// [`Error::Answer`] when the answer does not read.
    pub async fn call<C: Call>(&self, request: &C::Request) -> Result<C::Response, Error> {
        let body = serde_json::to_vec(request).map_err(|error| Error::Answer(error.to_string()))?;
        let answer = self.raw(C::PATH, C::ACCESS, body).await?;
        serde_json::from_slice(&answer).map_err(|error| Error::Answer(error.to_string()))
    }

    /// Makes a call of which only the path is known.
    ///
    /// # Errors
    /// As [`Self::call`], but the answer is not read.
    pub async fn raw(&self, path: &str, access: Access, body: Vec<u8>) -> Result<Vec<u8>, Error> {
        let whole = async {
            loop {
                match self.exchange(path, access, body.clone()).await {
                    Ok(exchange) => return read_body(exchange.answer.into_body()).await,
                    // Refused before it was looked at, so it can be sent again: a long list asks often.
                    Err(Error::Refused(refusal)) if refusal.status == 429 => sleep(TOO_MANY_PAUSE).await,
                    Err(error) => return Err(error),
                }
            }
        };
        timeout(self.timeout.0, whole).await.map_err(|_| Error::Timeout(self.timeout))?
    }

    /// The metrics in Prometheus's text.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn metrics(&self) -> Result<String, Error> {
        let whole = async {
            let stream = self.sockets.connect(Access::Read).await?;
            let request = Request::get("/metrics").header(header::HOST, "authd").body(Full::default());
            let request = request.map_err(|error| Error::Answer(error.to_string()))?;
            read_body(self.answered(stream, request).await?.answer.into_body()).await
        };
        let page = timeout(self.timeout.0, whole).await.map_err(|_| Error::Timeout(self.timeout))??;
        String::from_utf8(page).map_err(|error| Error::Answer(error.to_string()))
    }

    /// Makes a call that answers with lines; only their beginning has to come in time.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn open<C: Call>(&self, request: &C::Request) -> Result<Lines, Error> {
        let body = serde_json::to_vec(request).map_err(|error| Error::Answer(error.to_string()))?;
        self.lines(&CallInfo::of::<C>(), body).await
    }

    /// Opens a stream of which only the description is known.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn lines(&self, call: &CallInfo, body: Vec<u8>) -> Result<Lines, Error> {
        let opening = self.exchange(call.path, call.access, body);
        let exchange = timeout(self.timeout.0, opening).await.map_err(|_| Error::Timeout(self.timeout))??;
        Ok(Lines::new(exchange))
    }

    /// The call as a line for `curl`, secrets replaced by their names.
    ///
    /// # Errors
    /// [`Error::Answer`] when the request cannot be written as JSON.
    pub fn curl_line(&self, path: &str, access: Access, request: &impl serde::Serialize) -> Result<String, Error> {
        let mut body = serde_json::to_value(request).map_err(|error| Error::Answer(error.to_string()))?;
        hide_secrets(&mut body);
        let socket = self.sockets.likeliest(access);
        Ok(format!(
            "curl -sS --unix-socket {} -H 'content-type: application/json' -d {} {}",
            quoted(&socket.to_string_lossy()),
            quoted(&body.to_string()),
            quoted(&format!("http://authd{path}")),
        ))
    }

    async fn exchange(&self, path: &str, access: Access, body: Vec<u8>) -> Result<Exchange, Error> {
        let stream = self.sockets.connect(access).await?;
        if !access.only_reads() && !is_dry_run(&body) {
            self.has_sent_change.store(true, Ordering::Relaxed);
        }
        let request = Request::post(path)
            .header(header::HOST, "authd")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("authctl/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Error::usage(error.to_string(), "name a call like session/list"))?;
        self.answered(stream, request).await
    }

    /// Sends a request; an answer that is none becomes the refusal it is.
    async fn answered(&self, stream: UnixStream, request: Request<Full<Bytes>>) -> Result<Exchange, Error> {
        let exchange = send(stream, request).await?;
        if exchange.answer.status().is_success() {
            return Ok(exchange);
        }
        let status = exchange.answer.status().as_u16();
        let body = read_body(exchange.answer.into_body()).await?;
        Err(Error::Refused(Box::new(read_refusal(status, &body))))
    }
}

fn is_dry_run(body: &[u8]) -> bool {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    request.get("dry_run").and_then(Value::as_bool) == Some(true)
}

async fn send(stream: UnixStream, request: Request<Full<Bytes>>) -> Result<Exchange, Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let mut driver = JoinSet::new();
    // How the connection ended is told to the exchange that needed it.
    driver.spawn(async move { drop(connection.await) });
    let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
    Ok(Exchange { answer, driver })
}

async fn read_body(body: Incoming) -> Result<Vec<u8>, Error> {
    match Limited::new(body, ANSWER_LIMIT).collect().await {
        Ok(whole) => Ok(whole.to_bytes().to_vec()),
        Err(error) => Err(Error::Broken(error.to_string())),
    }
}

pub(crate) fn broken(error: &hyper::Error) -> Error {
    Error::Broken(error.to_string())
}

/// Reads a problem document of any version; what is not one becomes its status.
fn read_refusal(status: u16, body: &[u8]) -> Refusal {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
    let details = problem.get("errors").and_then(Value::as_array).map(|errors| {
        errors.iter().filter_map(|error| error.get("detail")?.as_str().map(str::to_owned)).collect::<Vec<_>>()
    });
    Refusal {
        status,
        code: text("code").unwrap_or_else(|| format!("HTTP_{status}")),
        detail: text("detail").unwrap_or_else(|| format!("the daemon answered with status {status}")),
        request_id: text("request_id"),
        details: details.unwrap_or_default(),
    }
}

fn hide_secrets(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if SECRET_FIELDS.contains(&name.as_str()) && !field.is_null() {
                    *field = Value::String(format!("<{name}>"));
                } else {
                    hide_secrets(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-:@".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Where to find a socket when nobody says; see [`socket::Search`].
#[must_use]
pub fn runtime_directory() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::admin::{WireSecret, user};

    fn client() -> Client {
        Client::new(socket::Search::new(Some(PathBuf::from("/tmp/it's.sock")), None), Span::default())
    }

    #[test]
    fn a_curl_line_leaves_secrets_out_and_quotes_the_rest() {
        let request = user::CreateRequest {
            email: "o'neil@example.org".to_owned(),
            password: Some(WireSecret::new("correct horse".to_owned())),
            ..user::CreateRequest::default()
        };
        let line = client().curl_line(user::Create::PATH, user::Create::ACCESS, &request).unwrap();
        assert!(!line.contains("horse"), "{line}");
        assert!(line.contains(r#""password":"<password>""#), "{line}");
        assert!(line.contains(r"o'\''neil"), "{line}");
        assert!(line.contains(r"--unix-socket '/tmp/it'\''s.sock'"), "{line}");
        assert!(line.ends_with("http://authd/v1/user/create"), "{line}");
    }

    #[test]
    fn a_problem_document_is_read_and_anything_else_becomes_its_status() {
        let problem = br#"{"code":"CONFLICT","detail":"2 match","request_id":"r1","errors":[{"detail":"usr_1"}]}"#;
        let refusal = read_refusal(409, problem);
        assert_eq!((refusal.code.as_str(), refusal.detail.as_str()), ("CONFLICT", "2 match"));
        assert_eq!((refusal.request_id.as_deref(), refusal.details), (Some("r1"), vec!["usr_1".to_owned()]));
        assert_eq!(read_refusal(502, b"<html>").code, "HTTP_502");
    }
}
