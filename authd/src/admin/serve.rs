//! The accept loop of a socket: who is there, for how long, and what they get who may not come in.

use super::{
    call::Caller,
    credentials, guard, metrics,
    peer::{Peer, Policy},
    problem::Denied,
    slots::{Slot, Slots},
    witness::Witness,
};
use crate::tasks::Stop;
use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue, Request, Response, header},
};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::admin::Access;
use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

/// Rights are checked when a connection begins: it does not outlive a withdrawn one for longer.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// For a whole head, also of the next request on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// For answers in flight when a connection or the daemon ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept: out of file descriptors is not cured by trying faster.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What stands behind a socket.
#[derive(Clone)]
pub(super) struct Gate {
    /// Who may do what.
    pub(super) policy: Arc<Policy>,
    /// The calls.
    pub(super) app: Router,
    /// Learns who was refused.
    pub(super) witness: Arc<dyn Witness>,
}

/// Serves a socket until `stop`, then finishes what is in flight.
pub(super) async fn serve(listener: UnixListener, gate: Gate, mut stop: Stop) {
    let slots = Slots::default();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.wait() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Some(connection) = admit(&stream, &gate, &slots) {
                    connections.spawn(connection.run(stream, stop.clone()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, socket = gate.policy.door.name(), "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        connections.shutdown().await;
    }
}

/// Reads who is there before a byte of theirs; whoever the kernel does not name gets no answer.
fn admit(stream: &UnixStream, gate: &Gate, slots: &Slots) -> Option<Connection> {
    let peer = match credentials::of(stream) {
        Ok(peer) => Arc::new(peer),
        Err(error) => {
            tracing::warn!(%error, socket = gate.policy.door.name(), "refused a peer the kernel does not name");
            return None;
        }
    };
    let Some(slot) = slots.take(peer.uid) else {
        tracing::warn!(uid = peer.uid, socket = gate.policy.door.name(), "refused: too many connections");
        return None;
    };
    Some(Connection { gate: gate.clone(), peer, _slot: slot })
}

struct Connection {
    gate: Gate,
    peer: Arc<Peer>,
    _slot: Slot,
}

impl Connection {
    async fn run(self, stream: UnixStream, mut stop: Stop) {
        let service = hyper::service::service_fn(|request| self.answer(request));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = sleep(LIFETIME) => {
                connection.as_mut().graceful_shutdown();
                timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
            }
            () = stop.wait() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(uid = self.peer.uid, %error, "connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let caller = Caller {
            peer: self.peer.clone(),
            policy: self.gate.policy.clone(),
            request_id: self.gate.witness.request_id(),
        };
        let request_id = caller.request_id.clone();
        let mut response = match self.check(&caller, &request).await {
            Ok(()) => {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(caller);
                // Router's error type has no values.
                self.gate.app.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
            }
            Err(denied) => {
                let mut response = denied.response(&request_id);
                // Whoever only has to wait keeps the connection.
                if !matches!(denied, Denied::TooMany { .. }) {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        };
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        Ok(response)
    }

    /// What holds for every request, also for what is no call at all.
    async fn check(&self, caller: &Caller, request: &Request<Incoming>) -> Result<(), Denied> {
        let is_metrics = request.uri().path() == metrics::PATH;
        let checked = if is_metrics { caller.check_metrics() } else { caller.check(Access::Any) };
        if let Err(why) = checked {
            self.gate.witness.refused(caller, why).await;
            return Err(Denied::Peer(why));
        }
        guard::check(request.uri(), request.headers())?;
        self.gate.witness.admit(caller).await.map_err(|wait_ms| Denied::TooMany { wait_ms })
    }
}

#[cfg(test)]
mod tests;
