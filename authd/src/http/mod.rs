//! Public HTTP API: the route table, and what surrounds every route.
//!
//! ```text
//!   surround  all of this, in one layer: each layer of a router costs every request allocations
//!   observe   request id, client, span, log line, problem documents, headers of every answer
//!   cors      exact allow-list
//!   mode      503 for what the operating mode closes, or a restored database that is not accepted
//!   body      bounded in size and time, read before the route runs
//!   budget    503 OVERLOADED when the route takes too long
//!   panics    500 INTERNAL
//!   route     extractors in the handler's signature, one file a surface
//! ```

mod bearer;
mod body;
mod client;
mod cors;
mod device;
mod error;
mod finish;
mod flow;
mod health;
mod idempotency;
mod json;
mod jwks;
mod layers;
mod login;
mod logout;
mod openapi;
mod password;
mod query;
pub mod reading;
mod refresh;
mod register;
mod request_id;
mod session;
mod state;
mod tally;
#[cfg(test)]
mod testing;
mod tokens;
mod user;
mod verify;

pub use state::{Around, HttpOptions, HttpParts, LiveOptions, Part, PartState, ReadyCheck, Work};
pub use tally::RequestTally;

use axum::{Router, middleware};
use state::HttpState;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

/// All routes with their documentation: router and OpenAPI document come from this one table.
fn table() -> OpenApiRouter<HttpState> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(register::register))
        .routes(routes!(login::login))
        .routes(routes!(password::reset_password))
        .routes(routes!(refresh::refresh))
        .routes(routes!(logout::logout))
        .routes(routes!(session::list_sessions, session::end_sessions))
        .routes(routes!(session::end_session))
        .routes(routes!(user::profile))
        .routes(routes!(password::change_password))
        .routes(routes!(user::delete_user))
        .routes(routes!(verify::verify))
        .routes(routes!(jwks::jwks))
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::openapi))
}

/// The public API as one service. The accept loop inserts the peer's address into every request as
/// [`crate::listener::Peer`].
pub fn router(parts: HttpParts) -> Router {
    let state = HttpState::new(parts);
    let (routes, _) = table().split_for_parts();
    routes
        .fallback(layers::not_found)
        .method_not_allowed_fallback(layers::method_not_allowed)
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(middleware::from_fn_with_state(state.clone(), layers::surround))
        .with_state(state)
}

/// The OpenAPI 3.1 document of this version: what `authd openapi` prints.
#[must_use]
pub fn openapi_document() -> serde_json::Value {
    openapi::complete(table().into_openapi())
}
