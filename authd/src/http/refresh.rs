//! `POST /api/auth/refresh`.

use crate::{
    auth::RefreshAttempt,
    domain::{secret::Secret, session::Transport},
    http::{
        client::Client,
        error::ApiError,
        idempotency::GivenKey,
        json::{Body, Json},
        openapi::refusals,
        state::HttpState,
        tokens::TokensBody,
    },
};
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

/// The token to exchange.
#[derive(Deserialize, ToSchema)]
#[schema(as = Refresh)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshBody {
    /// The latest refresh token of the session.
    refresh_token: String,
}

refusals!(RefreshRefusals: ANY BODY JSON, TokenExpired, TokenInvalid, Conflict, RateLimited);

/// Exchange a refresh token for its successor and a new access token.
///
/// A repeat whose first answer got lost gets the same successor: for some seconds, or for a day with the same
/// `Idempotency-Key`. Any other use of a spent token ends the session.
#[utoipa::path(
    post, path = "/api/auth/refresh", tag = "session",
    request_body(content = RefreshBody, content_type = "application/json"),
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{16,128}$")),
    responses((status = 200, description = "The successor.", body = TokensBody), RefreshRefusals),
)]
pub(super) async fn refresh(
    State(state): State<HttpState>,
    client: Client,
    GivenKey(key): GivenKey,
    Body(body): Body<RefreshBody>,
) -> Result<Json<TokensBody>, ApiError> {
    let attempt = RefreshAttempt { token: Secret::new(body.refresh_token), key, transport: Transport::Body };
    Ok(Json(state.auth.refresh(&client.caller(), attempt).await?.into()))
}
