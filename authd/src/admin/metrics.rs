//! `GET /metrics`: the one page of these sockets that is no call. Who may fetch it is decided when the request comes
//! in.

use super::Admin;
use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, header},
};
use std::sync::Arc;

/// Where it is.
pub(super) const PATH: &str = "/metrics";

/// Version 0.0.4 of the text format.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The metrics.
pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> ([(HeaderName, HeaderValue); 1], String) {
    ([(header::CONTENT_TYPE, TEXT)], admin.control.metrics().await)
}
