//! `POST /api/auth/register`.

use crate::{
    auth::Registration,
    domain::password::Password,
    http::{
        client::Client,
        error::ApiError,
        finish::to_the_end,
        idempotency::GivenKey,
        json::{Body, Json},
        openapi::refusals,
        state::HttpState,
        tokens::TokensBody,
    },
};
use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

/// A new account.
#[derive(Deserialize, ToSchema)]
#[schema(as = Register)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterBody {
    /// Stored as typed; compared without case.
    #[schema(format = "email", max_length = 254)]
    email: String,
    /// Never cut. The least length and strength are the installation's.
    #[schema(format = "password", min_length = 8)]
    password: String,
    /// Compared without case.
    #[schema(pattern = "^[A-Za-z0-9_]{3,50}$", min_length = 3, max_length = 50)]
    username: Option<String>,
}

refusals!(RegisterRefusals: ANY BODY JSON, InvalidEmail, InvalidUsername, WeakPassword, RegistrationClosed,
    DuplicateEmail, DuplicateUsername, RateLimited);

/// Make an account and log it in.
///
/// A repeat with the same `Idempotency-Key` whose first answer got lost logs in again instead of answering 409.
#[utoipa::path(
    post, path = "/api/auth/register", tag = "login",
    request_body(content = RegisterBody, content_type = "application/json"),
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{16,128}$")),
    responses((status = 201, description = "The account and its first session.", body = TokensBody), RegisterRefusals),
)]
pub(super) async fn register(
    State(state): State<HttpState>,
    client: Client,
    GivenKey(key): GivenKey,
    Body(body): Body<RegisterBody>,
) -> Result<(StatusCode, Json<TokensBody>), ApiError> {
    let caller = client.caller();
    let tokens = to_the_end(state.around, |client| async move {
        let password = Password::new(&body.password).given_by(client);
        state.auth.register(&caller, Registration { email: body.email, username: body.username, password, key }).await
    });
    Ok((StatusCode::CREATED, Json(tokens.await?.into())))
}
