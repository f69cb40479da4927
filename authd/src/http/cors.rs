//! CORS (Fetch §3.3) with an exact allow-list, empty by default. Other origins are served without its headers, and
//! an `OPTIONS` that is no preflight of an allowed origin is a wrong method like any other.

use crate::http::state::HttpOptions;
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, x-request-id, traceparent");
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, retry-after, www-authenticate");
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");
const VARY: (HeaderName, HeaderValue) = (header::VARY, HeaderValue::from_static("origin"));

/// What a request's origin may see of its answer.
pub(super) enum Cors {
    /// Nobody may call from another origin.
    Off,
    /// This origin may not, or there is none.
    Foreign,
    /// This origin may.
    Allowed {
        /// The header of the request.
        origin: HeaderValue,
        /// It only asks whether it may.
        preflight: bool,
    },
}

impl Cors {
    /// Looks at a request.
    pub(super) fn of(request: &Request, options: &HttpOptions) -> Self {
        if options.cors_origins.is_empty() {
            return Self::Off;
        }
        match allowed_origin(request.headers(), options) {
            Some(origin) => Self::Allowed { origin, preflight: is_preflight(request) },
            None => Self::Foreign,
        }
    }

    /// The whole answer to a question.
    pub(super) fn preflight(&self) -> Option<Response> {
        matches!(self, Self::Allowed { preflight: true, .. }).then(preflight)
    }

    /// Adds the headers.
    pub(super) fn finish(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        match self {
            Self::Off => return response,
            Self::Foreign => {}
            Self::Allowed { origin, .. } => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            }
        }
        headers.append(VARY.0, VARY.1);
        response
    }
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
