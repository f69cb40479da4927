//! `/health`: the process turns. `/health/ready`: it can serve.

use crate::http::{
    json::Json,
    layers::REVALIDATE,
    openapi::refusals,
    state::{HttpState, Part, PartState},
};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::time::Timestamp;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The process turns.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
#[serde(deny_unknown_fields)]
struct HealthBody {
    /// Always `ok`.
    status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
}

refusals!(HealthRefusals: ANY);

/// Whether the process turns.
#[utoipa::path(
    get, path = "/health", tag = "service",
    responses((status = 200, description = "It does.", body = HealthBody), HealthRefusals),
)]
pub(super) async fn health(State(state): State<HttpState>) -> Response {
    let body = HealthBody { status: "ok", timestamp: Timestamp(state.clock.now_ms()) };
    ([(header::CACHE_CONTROL, REVALIDATE)], Json(body)).into_response()
}

/// What works.
#[derive(Serialize, ToSchema)]
#[schema(as = Readiness)]
#[serde(deny_unknown_fields)]
struct ReadyBody {
    status: ReadyStatus,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// By name: `database`, `audit`, `keys`, …
    parts: BTreeMap<&'static str, PartBody>,
}

/// How the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReadyStatus {
    /// Everything works.
    Ready,
    /// It serves without something.
    Degraded,
    /// It does not serve.
    NotReady,
}

/// How a part is.
#[derive(Serialize, ToSchema)]
#[schema(as = Part)]
#[serde(deny_unknown_fields)]
struct PartBody {
    state: PartState,
}

fn status(parts: &[Part]) -> ReadyStatus {
    let any = |state| parts.iter().any(|part| part.state == state);
    if any(PartState::Down) {
        ReadyStatus::NotReady
    } else if any(PartState::Degraded) {
        ReadyStatus::Degraded
    } else {
        ReadyStatus::Ready
    }
}

/// Whether the daemon can serve: the database and the audit can be written, a key signs.
#[utoipa::path(
    get, path = "/health/ready", tag = "service",
    responses(
        HealthRefusals,
        (status = 200, description = "It can.", body = ReadyBody),
        (status = 503, description = "It cannot.", content(
            (ReadyBody = "application/json"),
            (shared::error::Problem = "application/problem+json"),
        )),
    ),
)]
pub(super) async fn ready(State(state): State<HttpState>) -> Response {
    let parts = state.ready.parts().await;
    let status = status(&parts);
    let parts = parts.into_iter().map(|part| (part.name, PartBody { state: part.state })).collect();
    let body = ReadyBody { status, timestamp: Timestamp(state.clock.now_ms()), parts };
    let cache = [(header::CACHE_CONTROL, REVALIDATE)];
    if status == ReadyStatus::NotReady {
        return (StatusCode::SERVICE_UNAVAILABLE, cache, [(header::RETRY_AFTER, "2")], Json(body)).into_response();
    }
    (cache, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{self, get};

    #[tokio::test]
    async fn health_tells_the_time() {
        let answer = get(&testing::router(), "/health").await;
        assert_eq!(answer.json(), serde_json::json!({ "status": "ok", "timestamp": "2023-11-14T22:13:20.000Z" }));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
    }

    #[tokio::test]
    async fn one_part_that_is_down_makes_the_daemon_not_ready() {
        let answer = get(&testing::router(), "/health/ready").await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (503, Some("not_ready")));
        assert_eq!(answer.json()["parts"]["database"]["state"], "down");
    }

    #[test]
    fn a_degraded_part_leaves_the_daemon_ready() {
        let part = |state| Part { name: "redis", state };
        assert_eq!(status(&[part(PartState::Up), part(PartState::Degraded)]), ReadyStatus::Degraded);
        assert_eq!(status(&[part(PartState::Up)]), ReadyStatus::Ready);
    }
}
