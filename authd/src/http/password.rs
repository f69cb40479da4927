//! Changing a password inside a session, and setting one with a one-time reset.

use crate::{
    auth::Refusal,
    domain::{password::Password, secret::Secret},
    http::{
        bearer::Authenticated, client::Client, error::ApiError, finish::to_the_end, json::Body, openapi::refusals,
        state::HttpState,
    },
};
use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

/// A password and its replacement.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChangePassword)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePasswordBody {
    #[schema(format = "password")]
    current_password: String,
    #[schema(format = "password", min_length = 8)]
    new_password: String,
}

refusals!(ChangeRefusals: ANY BODY JSON BEARER, InvalidCredentials, WeakPassword, RateLimited);

/// Replace the password; every other session of the account ends.
#[utoipa::path(
    patch, path = "/api/user/password", tag = "user", security(("bearer" = [])),
    request_body(content = ChangePasswordBody, content_type = "application/json"),
    responses((status = 204, description = "The new password is in force."), ChangeRefusals),
)]
pub(super) async fn change_password(
    State(state): State<HttpState>,
    client: Client,
    Authenticated(bearer): Authenticated,
    Body(body): Body<ChangePasswordBody>,
) -> Result<StatusCode, ApiError> {
    let caller = client.caller();
    let changed = to_the_end(state.around, |client| async move {
        let current = Password::new(&body.current_password).given_by(client.clone());
        let new = Password::new(&body.new_password).given_by(client);
        state.auth.change_password(&caller, &bearer, current, new).await
    });
    changed.await.map_err(about_new)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A one-time reset and the password to set.
#[derive(Deserialize, ToSchema)]
#[schema(as = ResetPassword)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetPasswordBody {
    /// What the operator handed over.
    reset_token: String,
    #[schema(format = "password", min_length = 8)]
    new_password: String,
}

refusals!(ResetRefusals: ANY BODY JSON, TokenInvalid, WeakPassword, RateLimited);

/// Set a password with a one-time reset; every session of the account ends.
#[utoipa::path(
    post, path = "/api/auth/password/reset", tag = "login",
    request_body(content = ResetPasswordBody, content_type = "application/json"),
    responses((status = 204, description = "The new password is in force."), ResetRefusals),
)]
pub(super) async fn reset_password(
    State(state): State<HttpState>,
    client: Client,
    Body(body): Body<ResetPasswordBody>,
) -> Result<StatusCode, ApiError> {
    let caller = client.caller();
    let reset = to_the_end(state.around, |client| async move {
        let new = Password::new(&body.new_password).given_by(client);
        state.auth.redeem_reset(&caller, &Secret::new(body.reset_token), new).await
    });
    reset.await.map_err(about_new)?;
    Ok(StatusCode::NO_CONTENT)
}

fn about_new(refusal: Refusal) -> ApiError {
    ApiError::from(refusal).in_field("/new_password")
}
