//! Reads the request body before the route runs: bounded in size and in time, whatever the route does with it.

use crate::http::error::ApiError;
use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{Method, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use shared::error::ErrorCode;
use std::time::Duration;

/// How long a client may take to send a body: less than the listener lets it, so that it is told why.
const DEADLINE: Duration = Duration::from_secs(8);

/// The request with its body read. Methods without a meaning for a body leave it unread; hyper then closes the
/// connection.
pub(super) async fn read_body(request: Request, limit: usize) -> Result<Request, ApiError> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::CONNECT) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    if announces_more_than(limit, parts.headers.get(header::CONTENT_LENGTH)) {
        return Err(too_large());
    }
    let bytes = collect(body, limit).await?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn announces_more_than(limit: usize, length: Option<&axum::http::HeaderValue>) -> bool {
    let length = length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    length.is_some_and(|length| length > u64::try_from(limit).unwrap_or(u64::MAX))
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let Ok(collected) = tokio::time::timeout(DEADLINE, Limited::new(body, limit).collect()).await else {
        return Err(ApiError::new(ErrorCode::Timeout, "The body did not arrive in time."));
    };
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(ApiError::malformed("The body ended early or is not framed correctly.")),
    }
}

fn too_large() -> ApiError {
    ApiError::new(ErrorCode::PayloadTooLarge, "No request needs a body this large.")
}
