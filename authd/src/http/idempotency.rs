//! The `Idempotency-Key` header as an extractor.

use crate::{
    auth::IdempotencyKey,
    http::{error::ApiError, state::HttpState},
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, request::Parts},
};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// The key, where one was given.
pub(crate) struct GivenKey(pub(crate) Option<IdempotencyKey>);

impl FromRequestParts<HttpState> for GivenKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &HttpState) -> Result<Self, ApiError> {
        given(&parts.headers).map(Self)
    }
}

/// The key of these headers.
///
/// # Errors
/// 400 for two headers and for a text that is no key.
pub(super) fn given(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| IdempotencyKey::parse(text).ok());
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(ApiError::malformed("Give one Idempotency-Key of 16 to 128 visible ASCII characters.")),
    }
}

#[cfg(test)]
mod tests {
    use crate::http::testing::{self, json, send};

    #[tokio::test]
    async fn a_key_that_is_none_or_stands_there_twice_is_refused() {
        let long = "k".repeat(129);
        for keys in [vec!["short"], vec![long.as_str()], vec!["has a space inside"], vec!["k123456789abcdef"; 2]] {
            let mut request = json("POST", "/api/auth/refresh", r#"{"refresh_token":"x"}"#);
            for key in &keys {
                request.headers_mut().append("idempotency-key", key.parse().unwrap());
            }
            assert_eq!(send(&testing::router(), request).await.code(), "MALFORMED", "{keys:?}");
        }
    }
}
