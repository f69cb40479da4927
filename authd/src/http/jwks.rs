//! `GET /.well-known/jwks.json`.

use crate::http::{
    error::ApiError,
    json,
    openapi::{Jwks, refusals},
    state::HttpState,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

refusals!(JwksRefusals: ANY);

/// The keys that access tokens are signed with.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "gateway",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of the copy at hand.")),
    responses(
        (status = 200, description = "RFC 7517.", body = Jwks, content_type = "application/json", headers(
            ("ETag" = String), ("Cache-Control" = String),
        )),
        (status = 304, description = "The copy at hand is the current one."),
        JwksRefusals,
    ),
)]
pub(super) async fn jwks(State(state): State<HttpState>, request: HeaderMap) -> Result<Response, ApiError> {
    let keys = state.auth.key_set();
    // An empty set would be kept by verifiers for the whole max-age.
    if !keys.json.contains("\"kid\"") {
        return Err(ApiError::unavailable("no key is published yet"));
    }
    let max_age_s = state.options.current().jwks_max_age_s;
    let etag = HeaderValue::from_str(&keys.etag).map_err(|_| ApiError::internal("the entity tag is no header"))?;
    let cache = HeaderValue::from_str(&format!("public, max-age={max_age_s}"));
    let cache = cache.map_err(|_| ApiError::internal("the max-age is no header"))?;
    let headers = [(header::ETAG, etag), (header::CACHE_CONTROL, cache)];
    if matches(&request, &keys.etag) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, [(header::CONTENT_TYPE, json::MEDIA_TYPE)], keys.json).into_response())
}

/// `If-None-Match` (RFC 9110 §13.1.2): `*`, or a list compared weakly.
fn matches(request: &HeaderMap, etag: &str) -> bool {
    let values = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|tag| tag == "*" || strong(tag) == strong(etag))
}

fn strong(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use crate::http::testing::{self, get, send};
    use axum::{body::Body, extract::Request};

    #[tokio::test]
    async fn the_key_set_may_be_kept_for_a_while() {
        let answer = get(&testing::router(), "/.well-known/jwks.json").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        assert_eq!(answer.header("etag"), Some("\"v1\""));
    }

    #[tokio::test]
    async fn a_current_copy_is_not_sent_again() {
        for (tag, status) in [("\"v1\"", 304), ("W/\"v1\"", 304), ("\"v0\", \"v1\"", 304), ("*", 304), ("\"v0\"", 200)]
        {
            let request = Request::get("/.well-known/jwks.json").header("if-none-match", tag).body(Body::empty());
            let answer = send(&testing::router(), request.unwrap()).await;
            assert_eq!(answer.status, status, "{tag}");
            assert_eq!(answer.header("etag"), Some("\"v1\""));
            assert_eq!(answer.body.is_empty(), status == 304);
        }
    }
}
