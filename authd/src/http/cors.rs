//! CORS (Fetch §3.3) with an exact allow-list, empty by default. Other origins are served without its headers, and
//! an `OPTIONS` that is no preflight of an allowed origin is a wrong method like any other.

use crate::http::state::{HttpOptions, HttpState};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, x-request-id, traceparent");
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, retry-after, www-authenticate");
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");
const VARY: (HeaderName, HeaderValue) = (header::VARY, HeaderValue::from_static("origin"));

/// The layer.
pub(crate) async fn cors(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let options = state.options.current();
    if options.cors_origins.is_empty() {
        return next.run(request).await;
    }
    let Some(origin) = allowed_origin(request.headers(), &options) else {
        let mut response = next.run(request).await;
        response.headers_mut().extend([VARY]);
        return response;
    };
    let mut response = if is_preflight(&request) { preflight() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY.0, VARY.1);
    response
}

fn allowed_origin(headers: &HeaderMap, options: &HttpOptions) -> Option<HeaderValue> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = origins.next().filter(|_| origins.next().is_none())?;
    options.cors_origins.iter().any(|allowed| origin == allowed.as_str()).then(|| origin.clone())
}

fn is_preflight(request: &Request) -> bool {
    *request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{Answer, router_with, send};
    use axum::body::Body;

    async fn ask(method: &str, origin: &str, allowed: &[&str]) -> Answer {
        let cors_origins = allowed.iter().map(|&origin| origin.to_owned()).collect();
        let router = router_with(HttpOptions { cors_origins, ..HttpOptions::default() });
        let request = Request::builder().method(method).uri("/health").header("origin", origin);
        let request = request.header("access-control-request-method", "GET").body(Body::empty()).unwrap();
        send(&router, request).await
    }

    #[tokio::test]
    async fn only_an_origin_on_the_list_is_allowed_and_only_exactly() {
        let allowed = ["https://app.example"];
        let answer = ask("GET", "https://app.example", &allowed).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(answer.header("vary"), Some("origin"));
        for origin in ["https://app.example.evil", "http://app.example", "https://APP.example", "null", "*"] {
            let answer = ask("GET", origin, &allowed).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None), "{origin}");
        }
    }

    #[tokio::test]
    async fn a_preflight_of_another_origin_is_a_wrong_method() {
        assert_eq!(ask("OPTIONS", "https://app.example", &["https://app.example"]).await.status, 204);
        assert_eq!(ask("OPTIONS", "https://evil.example", &["https://app.example"]).await.status, 405);
        assert_eq!(ask("OPTIONS", "https://app.example", &[]).await.status, 405);
    }
}
