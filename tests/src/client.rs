//! A client of the public API.

use crate::wire::{Answer, Lost, Outgoing, exchange};
use http_body_util::Full;
use hyper::{Method, Request, header};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A password that passes every rule.
pub const PASSWORD: &str = "plum-orbit-velvet-93";

/// What a login, a registration or a refresh gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Access token.
    pub access: String,
    /// Refresh token.
    pub refresh: String,
    /// Session id.
    pub session: String,
    /// Account id.
    pub user: String,
    /// Token of a device that is known from now on.
    pub device: Option<String>,
}

impl Tokens {
    /// Reads the answer that carries them.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        assert!(matches!(answer.status, 200 | 201), "{answer}");
        let user = answer.json()["user"]["id"].as_str().unwrap_or_else(|| panic!("no user.id in {answer}")).to_owned();
        Self {
            access: answer.text("access_token"),
            refresh: answer.text("refresh_token"),
            session: answer.text("session_id"),
            user,
            device: answer.json()["device_token"].as_str().map(str::to_owned),
        }
    }
}

/// A client without memory: every request has a connection of its own.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    address: SocketAddr,
}

/// A request in the making.
#[derive(Debug, Clone)]
pub struct Call {
    client: Client,
    method: Method,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Client {
    /// A client of the daemon at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Where the daemon is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request.
    ///
    /// # Panics
    /// When `method` is no method.
    #[must_use]
    pub fn call(&self, method: &str, target: &str) -> Call {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let headers = vec![("host".to_owned(), self.address.to_string().into_bytes())];
        Call { client: *self, method, target: target.to_owned(), headers, body: Vec::new() }
    }

    /// `GET`.
    #[must_use]
    pub fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    /// `POST` with a JSON body.
    #[must_use]
    pub fn post(&self, target: &str, body: &Value) -> Call {
        self.call("POST", target).json(body)
    }

    /// Registers an account with [`PASSWORD`].
    ///
    /// # Panics
    /// When it is refused.
    pub async fn register(&self, email: &str) -> Tokens {
        let answer = self.try_register(&json!({ "email": email, "password": PASSWORD })).await;
        assert_eq!(answer.status, 201, "{answer}");
        Tokens::of(&answer)
    }

    /// Sends a registration.
    pub async fn try_register(&self, body: &Value) -> Answer {
        self.post("/api/auth/register", body).send().await
    }

    /// Logs in with [`PASSWORD`].
    ///
    /// # Panics
    /// When it is refused.
    pub async fn login(&self, email: &str) -> Tokens {
        Tokens::of(&self.try_login(email, PASSWORD).await)
    }

    /// Sends a login.
    pub async fn try_login(&self, email: &str, password: &str) -> Answer {
        self.post("/api/auth/login", &json!({ "email": email, "password": password })).send().await
    }

    /// Sends a login with the token of a known device.
    pub async fn try_login_from(&self, device: &str, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password, "device_token": device });
        self.post("/api/auth/login", &body).send().await
    }

    /// Refreshes.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn refresh(&self, tokens: &Tokens) -> Tokens {
        Tokens::of(&self.try_refresh(&tokens.refresh).await)
    }

    /// A refresh to be sent.
    #[must_use]
    pub fn refresh_call(&self, token: &str) -> Call {
        self.post("/api/auth/refresh", &json!({ "refresh_token": token }))
    }

    /// Sends a refresh.
    pub async fn try_refresh(&self, token: &str) -> Answer {
        self.refresh_call(token).send().await
    }

    /// Sends a refresh with an `Idempotency-Key`.
    pub async fn refresh_keyed(&self, token: &str, key: &str) -> Answer {
        self.refresh_call(token).header("idempotency-key", key).send().await
    }

    /// Logs out with any refresh token of the session.
    pub async fn logout(&self, refresh: &str) -> Answer {
        self.post("/api/auth/logout", &json!({ "refresh_token": refresh })).send().await
    }

    /// Logs out with an access token.
    pub async fn logout_bearer(&self, access: &str, scope: &str) -> Answer {
        self.post("/api/auth/logout", &json!({ "scope": scope })).bearer(access).send().await
    }

    /// Asks forward-auth about an access token.
    pub async fn verify(&self, access: &str) -> Answer {
        self.get("/api/auth/verify").bearer(access).send().await
    }

    /// The profile behind an access token.
    pub async fn profile(&self, access: &str) -> Answer {
        self.get("/api/user/profile").bearer(access).send().await
    }

    /// The caller's sessions.
    pub async fn sessions(&self, access: &str) -> Answer {
        self.get("/api/auth/sessions").bearer(access).send().await
    }

    /// Ends one session by its id.
    pub async fn end_session(&self, access: &str, session: &str) -> Answer {
        self.call("DELETE", &format!("/api/auth/sessions/{session}")).bearer(access).send().await
    }

    /// Changes a password.
    pub async fn change_password(&self, access: &str, current: &str, new: &str) -> Answer {
        let body = json!({ "current_password": current, "new_password": new });
        self.call("PATCH", "/api/user/password").json(&body).bearer(access).send().await
    }

    /// The published keys.
    pub async fn jwks(&self) -> Answer {
        self.get("/.well-known/jwks.json").send().await
    }

    /// Whether the process turns.
    pub async fn health(&self) -> Answer {
        self.get("/health").send().await
    }

    /// Whether it can do its work.
    pub async fn ready(&self) -> Answer {
        self.get("/health/ready").send().await
    }
}

impl Call {
    /// Adds a header, also one of the same name again.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Adds an access token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sets a body.
    #[must_use]
    pub fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE.as_str(), media_type)
    }

    pub(crate) fn build(&self) -> Outgoing {
        let mut request = Request::builder().method(&self.method).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value.as_slice());
        }
        request.body(Full::from(self.body.clone())).expect("a request that HTTP can carry")
    }

    /// Sends it.
    ///
    /// # Panics
    /// When no answer came.
    pub async fn send(&self) -> Answer {
        self.try_send().await.unwrap_or_else(|lost| panic!("{} {}: {}", self.method, self.target, lost.0))
    }

    /// Sends it.
    ///
    /// # Errors
    /// [`Lost`] when no answer came.
    pub async fn try_send(&self) -> Result<Answer, Lost> {
        let stream = self.connect().await.map_err(|error| Lost(error.to_string()))?;
        self.send_over(stream).await
    }

    pub(crate) async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.client.address).await
    }

    pub(crate) async fn send_over(&self, stream: TcpStream) -> Result<Answer, Lost> {
        exchange(stream, self.build()).await
    }
}
