//! What the handlers share: the use cases, the options in force, readiness, time and randomness.

use crate::{
    auth::Auth,
    domain::clock::{Clock, Random},
    http::tally::RequestTally,
};
use ipnet::IpNet;
use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
};

/// What the handlers see: one shared [`HttpParts`], cloned for every layer of every request.
#[derive(Clone)]
pub(crate) struct HttpState(Arc<HttpParts>);

impl HttpState {
    pub(crate) fn new(parts: HttpParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for HttpState {
    type Target = HttpParts;

    fn deref(&self) -> &HttpParts {
        &self.0
    }
}

/// Work that outlives its client, as it is handed on.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Puts something around work that runs in a task of its own, as the layers of the router are around the rest of its
/// request.
pub type Around = fn(Work) -> Work;

/// What the router is built with.
pub struct HttpParts {
    /// The use cases.
    pub auth: Arc<Auth>,
    /// Options, replaced by a reload.
    pub options: Arc<LiveOptions>,
    /// What `/health/ready` asks.
    pub ready: Arc<dyn ReadyCheck>,
    /// Time, for timestamps and durations.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for request ids.
    pub random: Arc<dyn Random>,
    /// Counts requests.
    pub tally: Arc<RequestTally>,
    /// Around work that outlives its client.
    pub around: Around,
}

/// Options of the public API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Peers whose word on the client's address and the request id counts.
    pub trusted_proxies: Vec<IpNet>,
    /// The one header in which they give the client's address.
    pub client_ip_header: String,
    /// Origins that browsers may call from; compared as text.
    pub cors_origins: Vec<String>,
    /// Largest request body, in bytes.
    pub body_limit: usize,
    /// How long the key set may be cached, in seconds.
    pub jwks_max_age_s: u64,
    /// How long a route that hashes passwords may take, in milliseconds.
    pub login_budget_ms: u64,
    /// How long any other route may take, in milliseconds.
    pub other_budget_ms: u64,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            client_ip_header: "x-forwarded-for".to_owned(),
            cors_origins: Vec::new(),
            body_limit: 16 * 1024,
            jwks_max_age_s: 300,
            login_budget_ms: 5_000,
            other_budget_ms: 3_000,
        }
    }
}

impl HttpOptions {
    /// Whether a peer is a trusted proxy; IPv4-mapped addresses count as IPv4.
    #[must_use]
    pub fn is_trusted(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&ip))
    }
}

/// The options in force: a request sees one snapshot from start to end.
#[derive(Debug, Default)]
pub struct LiveOptions(RwLock<Arc<HttpOptions>>);

impl LiveOptions {
    /// Starts with these.
    #[must_use]
    pub fn new(options: HttpOptions) -> Self {
        Self(RwLock::new(Arc::new(options)))
    }

    /// The snapshot in force.
    #[must_use]
    pub fn current(&self) -> Arc<HttpOptions> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces all options; requests under way keep theirs.
    pub fn replace(&self, options: HttpOptions) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
    }
}

/// Tells which parts of the daemon work, for `/health/ready`.
#[async_trait::async_trait]
pub trait ReadyCheck: Send + Sync {
    /// Every part and its state; quick, and without details that an outsider could use.
    async fn parts(&self) -> Vec<Part>;
}

/// A part of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its name, such as `database`, `audit`, `keys`, `redis`.
    pub name: &'static str,
    /// How it is.
    pub state: PartState,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartState {
    /// It works.
    Up,
    /// It is missing or slow; requests are served all the same.
    Degraded,
    /// It does not work: the daemon is not ready.
    Down,
}
