//! What surrounds every route: the log line, problem documents, headers of every answer, panics and time budgets.

use crate::http::{
    body::read_body,
    client::Client,
    cors::Cors,
    error::ApiError,
    flow, request_id,
    state::{HttpOptions, HttpState},
};
use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use shared::error::ErrorCode;
use std::{any::Any, time::Duration};
use tracing::{Instrument, Span, field::Empty};

/// For answers that may be kept, but must be asked for again.
pub(crate) const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PROBLEM_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Headers of every answer: nothing here is ever a page, a script or a frame.
const FIXED: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

/// Routes that hash passwords; they get the longer budget.
const HASHING: [&str; 5] =
    ["/api/auth/register", "/api/auth/login", "/api/auth/password/reset", "/api/user/password", "/api/user"];

/// Routes that machines ask all the time; their successes are not worth a line each.
const FREQUENT: [&str; 4] = ["/api/auth/verify", "/.well-known/jwks.json", "/health", "/health/ready"];

/// The one layer. The log knows the route's template, never the path or the query: both can carry secrets.
pub(crate) async fn surround(State(state): State<HttpState>, mut request: Request, next: Next) -> Response {
    let options = state.options.current();
    let client = Client::of(&request, &options, state.random.as_ref());
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("-", MatchedPath::as_str);
    let trace_id = request_id::trace_id(request.headers()).map(str::to_owned);
    let begin = || span(&client, trace_id.as_deref());
    // Nothing is logged of most frequent requests; those that fail get their span below.
    let is_quiet = FREQUENT.contains(&route) && !tracing::enabled!(tracing::Level::DEBUG);
    let span = if is_quiet { Span::none() } else { begin() };
    request.extensions_mut().insert(client.clone());
    let started_us = state.clock.monotonic_us();
    let response = answer(&state, &options, route, request, next).instrument(span.clone()).await;
    let took_us = state.clock.monotonic_us().saturating_sub(started_us);
    let (mut response, refused) = write_problem(response, &client.request_id);
    let status = response.status().as_u16();
    state.tally.answered(route, status, took_us);
    if !is_quiet || status >= 400 {
        let line = Line { method: &method, route, status, took_ms: took_us / 1_000, refused };
        if is_quiet { begin() } else { span }.in_scope(|| line.log());
    }
    finish(response.headers_mut(), &client.request_id);
    response
}

/// Between the log line and the route.
async fn answer(state: &HttpState, options: &HttpOptions, route: &str, request: Request, next: Next) -> Response {
    let cors = Cors::of(&request, options);
    let response = match cors.preflight() {
        Some(preflight) => preflight,
        None => admit(state, options, route, request, next).await.unwrap_or_else(IntoResponse::into_response),
    };
    cors.finish(response)
}

async fn admit(
    state: &HttpState,
    options: &HttpOptions,
    route: &str,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(closing) = flow::of(request.method(), route).and_then(|flow| state.auth.closing(flow)) {
        return Err(ApiError::closed(closing));
    }
    let request = read_body(request, options.body_limit).await?;
    tokio::time::timeout(budget_of(route, options), next.run(request)).await.map_err(|_| ApiError::overloaded())
}

fn span(client: &Client, trace_id: Option<&str>) -> Span {
    tracing::info_span!(
        "request",
        request_id = %client.request_id,
        client_ip = %client.ip,
        client_request_id = client.foreign_request_id.as_deref(),
        trace_id,
        user_id = Empty,
        session_id = Empty,
    )
}

/// Writes the document of a refusal into the answer that carries it.
fn write_problem(mut response: Response, request_id: &str) -> (Response, Option<ApiError>) {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return (response, None) };
    let text = serde_json::to_vec(&error.problem(request_id)).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PROBLEM_TYPE);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    *response.body_mut() = Body::from(text);
    (response, Some(error))
}

fn finish(headers: &mut HeaderMap, request_id: &str) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(request_id::HEADER, value);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, NO_STORE);
    }
    headers.extend(FIXED);
}

/// What is logged of a request, once.
struct Line<'a> {
    method: &'a Method,
    route: &'a str,
    status: u16,
    took_ms: i64,
    refused: Option<ApiError>,
}

impl Line<'_> {
    fn log(&self) {
        let Self { method, route, status, took_ms, refused } = self;
        let code = refused.as_ref().map(|error| error.code().as_str());
        let cause = refused.as_ref().and_then(ApiError::cause);
        // A method can be any token of any length.
        let method = if method.as_str().len() <= 16 { method.as_str() } else { "-" };
        let shown = code.map(|code| format!(" {code}")).unwrap_or_default();
        let text = format_args!("{method} {route} {status}{shown} in {took_ms} ms");
        match *status {
            500 => tracing::error!(method, route, status, took_ms, code, cause, "{text}"),
            501.. => tracing::warn!(method, route, status, took_ms, code, cause, "{text}"),
            _ if *status < 400 && FREQUENT.contains(route) => {
                tracing::debug!(method, route, status, took_ms, "{text}");
            }
            _ => tracing::info!(method, route, status, took_ms, code, "{text}"),
        }
    }
}

/// When a route takes too long. What it has handed to storage runs to its end; the client may repeat.
fn budget_of(route: &str, options: &HttpOptions) -> Duration {
    let budget_ms = if HASHING.contains(&route) { options.login_budget_ms } else { options.other_budget_ms };
    Duration::from_millis(budget_ms)
}

/// The answer to a request whose handler panicked; the panic hook has said where.
pub(crate) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    ApiError::internal("a handler panicked").into_response()
}

/// No such path. `CONNECT` names no path at all.
pub(crate) async fn not_found(method: Method) -> Response {
    if method == Method::CONNECT {
        return ([(header::ALLOW, "")], wrong_method()).into_response();
    }
    ApiError::new(ErrorCode::NotFound, "There is no such path.").into_response()
}

/// The path exists with other methods; the router adds `Allow`.
pub(crate) async fn method_not_allowed() -> ApiError {
    wrong_method()
}

fn wrong_method() -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed, "See the Allow header.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{
        HttpParts, LiveOptions, Part, ReadyCheck,
        testing::{self, get, json, send},
    };
    use shared::chain::Anchor;
    use std::sync::Arc;

    fn request(method: &str, path: &str) -> Request {
        Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn an_unknown_path_is_a_problem_with_the_id_of_its_request() {
        let answer = get(&testing::router(), "/api/auth/revocations?password=hunter2").await;
        assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND".to_owned()));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("x-request-id"), answer.json()["request_id"].as_str());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }

    #[tokio::test]
    async fn admin_paths_are_not_here() {
        let answer = send(&testing::router(), json("POST", "/v1/session/list", "{}")).await;
        assert_eq!(answer.status, 404);
    }

    #[tokio::test]
    async fn a_wrong_method_is_told_the_right_ones() {
        for (method, path, allow) in [
            ("GET", "/api/auth/login", "POST"),
            ("TRACE", "/api/auth/login", "POST"),
            ("OPTIONS", "/api/auth/login", "POST"),
            ("BREW", "/api/auth/sessions", "DELETE,GET,HEAD"),
            ("POST", "/health", "GET,HEAD"),
            ("DELETE", "/api/user/profile", "GET,HEAD"),
        ] {
            let answer = send(&testing::router(), request(method, path)).await;
            assert_eq!((answer.status, answer.code()), (405, "METHOD_NOT_ALLOWED".to_owned()), "{method} {path}");
            let mut told: Vec<&str> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
            told.sort_unstable();
            assert_eq!(told.join(","), allow, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn another_method_in_a_header_is_ignored() {
        let mut request = request("POST", "/health");
        request.headers_mut().insert("x-http-method-override", HeaderValue::from_static("GET"));
        assert_eq!(send(&testing::router(), request).await.status, 405);
    }

    #[tokio::test]
    async fn head_works_where_get_does() {
        let answer = send(&testing::router(), request("HEAD", "/health")).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_announced_or_not() {
        let large = "x".repeat(16 * 1024 + 1);
        let mut announced = json("POST", "/api/auth/login", &large);
        announced.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(large.len()));
        assert_eq!(send(&testing::router(), announced).await.code(), "PAYLOAD_TOO_LARGE");
        assert_eq!(send(&testing::router(), json("POST", "/api/auth/login", &large)).await.status, 413);
        let fits = "x".repeat(16 * 1024);
        assert_eq!(send(&testing::router(), json("POST", "/api/auth/login", &fits)).await.code(), "MALFORMED");
    }

    #[tokio::test]
    async fn the_id_of_a_request_is_taken_from_trusted_proxies_only() {
        let with_id = |peer| {
            let mut request = testing::from(peer, request("GET", "/health"));
            request.headers_mut().insert("x-request-id", HeaderValue::from_static("from-outside"));
            request
        };
        let trusted = send(&testing::router(), with_id("127.0.0.1:1")).await;
        assert_eq!(trusted.header("x-request-id"), Some("from-outside"));
        let foreign = send(&testing::router(), with_id("203.0.113.9:1")).await;
        assert_eq!(foreign.header("x-request-id").map(str::len), Some(32));
    }

    #[tokio::test]
    async fn storage_that_is_down_is_503_and_never_a_refused_token() {
        let routes = [("GET", "/api/user/profile"), ("GET", "/api/auth/sessions"), ("DELETE", "/api/auth/sessions")];
        for (method, path) in routes {
            let answer = send(&testing::router(), testing::with_bearer(request(method, path), "good")).await;
            assert_eq!((answer.status, answer.code()), (503, "STORAGE_UNAVAILABLE".to_owned()), "{method} {path}");
            assert_eq!(answer.json()["retryable"], true);
            assert!(answer.header("retry-after").is_some());
            assert!(!answer.text().contains("down for the test"));
        }
    }

    struct Never;

    #[async_trait::async_trait]
    impl ReadyCheck for Never {
        async fn parts(&self) -> Vec<Part> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_route_that_takes_too_long_is_overloaded() {
        let options = Arc::new(LiveOptions::new(HttpOptions { other_budget_ms: 0, ..HttpOptions::default() }));
        let router = crate::http::router(HttpParts { options, ready: Arc::new(Never), ..testing::state() });
        let answer = get(&router, "/health/ready").await;
        assert_eq!((answer.status, answer.code()), (503, "OVERLOADED".to_owned()));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }

    #[tokio::test]
    async fn a_restored_database_that_is_not_accepted_closes_the_public_api() {
        let state = testing::state();
        state.auth.compare_with_anchor(Some(Anchor { seq: 1, ..Anchor::default() })).await.unwrap();
        let router = crate::http::router(state);
        for (path, status) in [("/.well-known/jwks.json", 503), ("/api/user/profile", 503), ("/health", 200)] {
            assert_eq!(get(&router, path).await.status, status, "{path}");
        }
    }

    #[test]
    fn routes_that_hash_have_the_longer_budget() {
        assert_eq!(budget_of("/api/auth/login", &HttpOptions::default()), Duration::from_secs(5));
        assert_eq!(budget_of("/api/auth/refresh", &HttpOptions::default()), Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_like_any_other() {
        let response = panicked(Box::new("secret text"));
        let (response, error) = write_problem(response, "r");
        assert_eq!((response.status().as_u16(), error.unwrap().code()), (500, ErrorCode::Internal));
    }

    #[test]
    fn every_route_with_a_budget_of_its_own_or_a_quiet_log_exists() {
        let api = crate::http::table().into_openapi();
        for route in HASHING.iter().chain(&FREQUENT) {
            assert!(api.paths.paths.contains_key(*route), "{route}");
        }
    }
}
