//! Accept loop with deadlines and caps: the public API's way in from the network.
//!
//! `axum::serve` has neither (slow heads would hold connections for ever). Each connection is: a place among the
//! `slots`, a `gate` that checks heads and deadlines, hyper for HTTP/1.1, and the router.

mod descriptors;
mod gate;
pub mod head;
mod slots;
#[cfg(test)]
mod tests;
mod timer;
mod traffic;

use crate::{config, tasks::Stop};
use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use gate::{Deadlines, Gate};
use head::Refusal;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use slots::{Caps, Slot, Slots};
use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;
use traffic::{Traffic, Verdict};

/// For a whole body; bodies are small.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// For a client to take any part of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// For requests in flight when the daemon stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// For a request that is on its way on a connection without one when the daemon stops.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a failed accept: out of file descriptors is not cured by trying faster.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What one connection may buffer in hyper; a head is at most half of it.
const BUFFER_MAX: usize = 2 * head::HEAD_MAX;

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n";

/// The other end of the connection a request came by, as an extension of every request; IPv4 also where the socket
/// is an IPv6 one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// How long clients may take and how many there may be.
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    /// For a connection's first byte and for a whole head.
    pub header_timeout: Duration,
    /// Between two requests.
    pub keepalive_timeout: Duration,
    /// For a whole body.
    pub body_timeout: Duration,
    /// For taking any part of an answer.
    pub write_timeout: Duration,
    /// For requests in flight when the daemon stops.
    pub drain_timeout: Duration,
    /// For a last request on an idle connection when the daemon stops; less than `drain_timeout`.
    pub last_request_timeout: Duration,
    /// Connections in all.
    pub max_connections: u32,
    /// Connections from one /24 or /48.
    pub max_connections_per_network: u32,
    /// Networks to which the last cap does not apply: the trusted proxies, also as they change.
    pub uncounted: watch::Receiver<Vec<IpNet>>,
}

impl ListenerLimits {
    /// What the configuration says.
    #[must_use]
    pub fn new(server: &config::Server, trusted_proxies: watch::Receiver<Vec<IpNet>>) -> Self {
        Self {
            header_timeout: server.header_timeout.0,
            keepalive_timeout: server.keepalive_timeout.0,
            body_timeout: BODY_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
            last_request_timeout: LAST_REQUEST_TIMEOUT,
            max_connections: server.max_connections,
            max_connections_per_network: server.max_connections_per_network,
            uncounted: trusted_proxies,
        }
    }

    /// With no more connections than there can be open files besides the `own` of the daemon: what it has to open must
    /// not wait for a stranger to leave, and a silent connection gives way before the kernel refuses the next one.
    #[must_use]
    pub fn within_open_files(self, own: u32) -> Self {
        let wanted = self.max_connections;
        let bound = descriptors::raise(u64::from(wanted) + u64::from(own));
        let max_connections = descriptors::connections(bound, own, wanted);
        if max_connections < wanted {
            tracing::warn!(
                bound,
                "open files leave room for {max_connections} connections instead of server.max_connections = {wanted}: \
                 raise LimitNOFILE= of the unit, or ulimit -n"
            );
        }
        Self { max_connections, ..self }
    }

    fn deadlines(&self) -> Deadlines {
        Deadlines {
            head: self.header_timeout,
            idle: self.keepalive_timeout,
            body: self.body_timeout,
            write: self.write_timeout,
        }
    }
}

/// Serves `app` until `stop`, then finishes what is in flight, at most for `drain_timeout`.
///
/// From then on no connection is accepted: they are refused by the closed socket, or wait in it for the next process
/// when the service manager holds it too. Every answer says `Connection: close`. A connection without a request stays
/// for `last_request_timeout`, because a client may be sending one just now and cannot know that nobody would read it
/// (RFC 9112 §9.5); what has arrived by its end is still answered.
pub async fn serve(listener: TcpListener, app: Router, limits: ListenerLimits, mut stop: Stop) {
    let slots = Slots::new(Caps {
        total: usize::try_from(limits.max_connections).unwrap_or(usize::MAX),
        per_network: usize::try_from(limits.max_connections_per_network).unwrap_or(usize::MAX),
        uncounted: limits.uncounted.clone(),
    });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.wait() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let peer = Peer(SocketAddr::new(address.ip().to_canonical(), address.port()));
                let traffic = Arc::new(Traffic::default());
                let Some(slot) = slots.take(peer.0.ip(), Arc::clone(&traffic)) else {
                    refuse(&stream, peer);
                    continue;
                };
                // Answers are written whole; waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                let last_request_timeout = limits.last_request_timeout;
                let connection = Connection { app: app.clone(), peer, slot, traffic, last_request_timeout };
                connections.spawn(connection.run(stream, limits.deadlines(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain_timeout, drained).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were still busy at the end of the drain");
        connections.shutdown().await;
    }
}

fn refuse(stream: &TcpStream, peer: Peer) {
    tracing::debug!(peer = %peer.0, "refused: too many connections");
    let _ = stream.try_write(FULL);
}

struct Connection {
    app: Router,
    peer: Peer,
    slot: Slot,
    traffic: Arc<Traffic>,
    last_request_timeout: Duration,
}

impl Connection {
    async fn run<S>(self, stream: S, deadlines: Deadlines, mut stop: Stop)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let gate = Gate::new(stream, Arc::clone(&self.traffic), deadlines);
        let service = hyper::service::service_fn(|request| self.answer(request));
        let connection = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(BUFFER_MAX)
            .serve_connection(TokioIo::new(gate), service);
        let mut connection = pin!(connection);
        let is_dismissed = tokio::select! {
            ended = connection.as_mut() => return self.note(ended),
            () = self.slot.dismissed() => true,
            () = stop.wait() => false,
        };
        if is_dismissed && !self.slot.is_used() {
            return;
        }
        self.traffic.close_with_answer();
        if !is_dismissed && let Ok(ended) = timeout(self.last_request_timeout, connection.as_mut()).await {
            return self.note(ended);
        }
        // What has arrived is answered to its end; the gate shows the end of everything else.
        self.traffic.stop();
        self.note(connection.await);
    }

    fn note(&self, ended: hyper::Result<()>) {
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer.0, %error, "connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (number, verdict) = self.traffic.next_verdict();
        let mut response = match verdict {
            Verdict::Refuse(refusal) => {
                tracing::debug!(peer = %self.peer.0, ?refusal, "refused a request head");
                refusal_response(refusal)
            }
            Verdict::Pass | Verdict::PassAndClose => {
                self.slot.use_now();
                let mut request = request.map(|body| self.traffic.request_body(number, body));
                request.extensions_mut().insert(self.peer);
                // Router's error type has no values.
                self.app.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
            }
        };
        if verdict != Verdict::Pass || self.traffic.is_closing() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| self.traffic.response_body(number, body)))
    }
}

fn refusal_response(refusal: Refusal) -> Response<Body> {
    let status = match refusal {
        Refusal::Malformed => StatusCode::BAD_REQUEST,
        Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Refusal::TargetTooLong => StatusCode::URI_TOO_LONG,
        Refusal::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if refusal == Refusal::Method {
        let methods = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE, OPTIONS");
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}
