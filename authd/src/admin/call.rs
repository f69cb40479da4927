//! From a call's type to a route: who may make it, how it is read, how it is answered.

use super::{
    body,
    lines::Lines,
    peer::{Peer, Policy, Why, decide, decide_metrics},
    problem::Denied,
    witness::Witness,
};
use crate::auth::{Doing, Operator};
use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Response, header},
    routing::{MethodRouter, post},
};
use shared::admin::{Access, Call, POSITION_HEADER};
use std::{future::Future, sync::Arc};

/// Longest reason or ticket, in bytes: it is kept in the audit for years.
const NOTE_MAX: usize = 1_000;

/// Who makes a call, on which socket.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(super) peer: Arc<Peer>,
    pub(super) policy: Arc<Policy>,
    pub(super) request_id: String,
}

/// What a change carries for the audit besides its subject.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intent<'a> {
    pub(super) reason: &'a Option<String>,
    pub(super) ticket: &'a Option<String>,
    pub(super) dry_run: bool,
}

/// What a change's request carries for the audit.
macro_rules! intent {
    ($request:expr) => {
        crate::admin::call::Intent { reason: &$request.reason, ticket: &$request.ticket, dry_run: $request.dry_run }
    };
}
pub(super) use intent;

impl Caller {
    /// Whether this caller may make a call of this access.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn check(&self, access: Access) -> Result<(), Why> {
        decide(&self.peer, &self.policy, access)
    }

    /// Whether this caller may fetch the metrics.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub(super) fn check_metrics(&self) -> Result<(), Why> {
        decide_metrics(&self.peer, &self.policy)
    }

    /// The caller as the use cases know them, reading.
    #[must_use]
    pub fn reader(&self) -> Operator {
        Operator {
            uid: self.peer.uid,
            login_uid: self.peer.login_uid,
            pid: self.peer.pid,
            groups: std::iter::once(self.peer.gid).chain(self.peer.groups.iter().flatten().copied()).collect(),
            request_id: self.request_id.clone(),
            reason: None,
            ticket: None,
            mode: Doing::ForReal,
        }
    }

    /// The caller as the use cases know them, changing something.
    ///
    /// # Errors
    /// [`Denied::Malformed`] when reason or ticket are too long.
    pub(super) fn operator(&self, intent: Intent<'_>) -> Result<Operator, Denied> {
        let too_long = |note: &Option<String>| note.as_ref().is_some_and(|note| note.len() > NOTE_MAX);
        if too_long(intent.reason) || too_long(intent.ticket) {
            return Err(Denied::Malformed(format!("reason and ticket have at most {NOTE_MAX} bytes")));
        }
        Ok(Operator {
            reason: intent.reason.clone(),
            ticket: intent.ticket.clone(),
            mode: if intent.dry_run { Doing::DryRun } else { Doing::ForReal },
            ..self.reader()
        })
    }
}

/// A router made of calls over a state `S`.
pub(super) struct Calls<S>(Router<Arc<S>>);

/// The answer of a streaming call.
pub(super) struct Stream {
    /// After which sequence number it begins.
    pub(super) position: i64,
    /// What comes.
    pub(super) lines: Lines,
}

impl<S: Witness + 'static> Calls<S> {
    /// No calls yet.
    pub(super) fn new() -> Self {
        Self(Router::new())
    }

    /// Adds a call: the handler gets the state, the caller who may make it, and the request as it was parsed.
    pub(super) fn add<C, H, F>(self, handler: H) -> Self
    where
        C: Call + 'static,
        H: Fn(Arc<S>, Caller, C::Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<C::Response, Denied>> + Send + 'static,
    {
        let respond = move |state, caller, request| {
            let answer = handler(state, caller, request);
            async move { json(&answer.await?) }
        };
        self.route::<C, _, _>(respond)
    }

    /// Adds a call that answers with lines.
    pub(super) fn add_stream<C, H, F>(self, handler: H) -> Self
    where
        C: Call + 'static,
        H: Fn(Arc<S>, Caller, C::Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Stream, Denied>> + Send + 'static,
    {
        let respond = move |state, caller, request| {
            let answer = handler(state, caller, request);
            async move { Ok(stream(answer.await?)) }
        };
        self.route::<C, _, _>(respond)
    }

    fn route<C, H, F>(self, respond: H) -> Self
    where
        C: Call + 'static,
        H: Fn(Arc<S>, Caller, C::Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<Body>, Denied>> + Send + 'static,
    {
        let handle = move |State(state): State<Arc<S>>, Extension(caller): Extension<Caller>, request: Request| {
            let respond = respond.clone();
            async move {
                let request_id = caller.request_id.clone();
                let answered = async {
                    if let Err(why) = caller.check(C::ACCESS) {
                        state.refused(&caller, why).await;
                        return Err(Denied::Peer(why));
                    }
                    let request = body::read::<C::Request>(request.into_body()).await?;
                    respond(state, caller, request).await
                };
                answered.await.unwrap_or_else(|denied| denied.response(&request_id))
            }
        };
        Self(self.0.route(C::PATH, post(handle)))
    }

    /// Adds what is no call but has a path of its own.
    pub(super) fn page(self, path: &str, page: MethodRouter<Arc<S>>) -> Self {
        Self(self.0.route(path, page))
    }

    /// The finished router; anything that is no call is refused with a problem document.
    pub(super) fn into_router(self, state: Arc<S>) -> Router {
        async fn no_such_call(Extension(caller): Extension<Caller>) -> Response<Body> {
            Denied::NoSuchCall.response(&caller.request_id)
        }
        async fn wrong_method(Extension(caller): Extension<Caller>) -> Response<Body> {
            Denied::Method.response(&caller.request_id)
        }
        self.0.fallback(no_such_call).method_not_allowed_fallback(wrong_method).with_state(state)
    }
}

fn json(answer: &impl serde::Serialize) -> Result<Response<Body>, Denied> {
    let text = serde_json::to_vec(answer).map_err(|_| Denied::Unwritable)?;
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers carry personal data and now and then a token.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn stream(stream: Stream) -> Response<Body> {
    let mut response = Response::new(Body::new(stream.lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static(POSITION_HEADER), HeaderValue::from(stream.position));
    response
}
