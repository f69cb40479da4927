//! A client of the admin socket, by the types of `shared`.

use crate::wire::{Answer, Lost, exchange};
use http_body_util::Full;
use hyper::Request;
use shared::admin::{Call, Empty, audit, daemon, session};
use std::path::PathBuf;
use tokio::net::UnixStream;

/// A client of one socket.
#[derive(Debug, Clone)]
pub struct Admin {
    socket: PathBuf,
}

impl Admin {
    /// A client of the socket at this path.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Makes a call.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn call<C: Call>(&self, request: &C::Request) -> C::Response {
        let answer = self.try_call::<C>(request).await;
        assert_eq!(answer.status, 200, "{}: {answer}", C::PATH);
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{}: {error} in {answer}", C::PATH))
    }

    /// Makes a call, whatever the answer is.
    ///
    /// # Panics
    /// When no answer came.
    pub async fn try_call<C: Call>(&self, request: &C::Request) -> Answer {
        let body = serde_json::to_string(request).expect("calls are JSON");
        self.post(C::PATH, &body).await
    }

    /// Posts a body to a path.
    ///
    /// # Panics
    /// When no answer came.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(path, body, &[]).await.unwrap_or_else(|lost| panic!("{path}: {}", lost.0))
    }

    /// Gets a path.
    ///
    /// # Panics
    /// When no answer came.
    pub async fn get(&self, path: &str) -> Answer {
        let stream = self.connect().await.expect("the socket is there");
        let request = Request::get(path).header("host", "authd").body(Full::default()).expect("a request");
        exchange(stream, request).await.unwrap_or_else(|lost| panic!("{path}: {}", lost.0))
    }

    /// Posts a body to a path, with further headers.
    ///
    /// # Errors
    /// [`Lost`] when no answer came.
    ///
    /// # Panics
    /// When the request is none.
    pub async fn send(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Result<Answer, Lost> {
        let stream = self.connect().await.map_err(|error| Lost(error.to_string()))?;
        Self::send_over(stream, path, body, headers).await
    }

    pub(crate) async fn connect(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(&self.socket).await
    }

    pub(crate) async fn send_over(
        stream: UnixStream,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, Lost> {
        let mut request = Request::post(path).header("content-type", "application/json");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", "authd");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        exchange(stream, request.body(Full::from(body.to_owned())).expect("a request")).await
    }

    /// Events with this action (or `noun.*`), newest first.
    pub async fn events(&self, action: &str) -> Vec<audit::Event> {
        let wanted = audit::ListRequest { action: Some(action.to_owned()), limit: Some(1_000), ..Default::default() };
        self.call::<audit::List>(&wanted).await.items
    }

    /// Events about a target with this action, newest first.
    pub async fn events_about(&self, action: &str, target: &str) -> Vec<audit::Event> {
        let wanted = audit::ListRequest {
            action: Some(action.to_owned()),
            target: Some(target.to_owned()),
            limit: Some(1_000),
            ..Default::default()
        };
        self.call::<audit::List>(&wanted).await.items
    }

    /// How many passwords the daemon has checked since it started.
    pub async fn evaluated(&self) -> u64 {
        self.call::<daemon::Status>(&Empty {}).await.hashing.evaluated
    }

    /// A session as the database has it.
    pub async fn session(&self, id: &str) -> session::Session {
        self.call::<session::Show>(&session::ShowRequest { id: id.to_owned() }).await
    }
}
