//! `/api/user`: the account as its user sees it, and its deletion.

use crate::{
    domain::{account::Account, password::Password},
    http::{
        bearer::Authenticated,
        client::Client,
        error::ApiError,
        finish::to_the_end,
        json::{Body, Json},
        openapi::refusals,
        state::HttpState,
    },
};
use axum::{extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::time::Timestamp;
use utoipa::ToSchema;

/// An account.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserBody {
    id: String,
    /// As typed at registration.
    #[schema(required = true)]
    email: Option<String>,
    /// As typed at registration.
    #[schema(required = true)]
    username: Option<String>,
    email_verified: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    last_login_at: Option<Timestamp>,
}

impl From<Account> for UserBody {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.into(),
            email: account.email,
            username: account.username,
            email_verified: account.email_verified_ms.is_some(),
            created_at: Timestamp(account.created_ms),
            last_login_at: account.last_login_ms.map(Timestamp),
        }
    }
}

refusals!(ProfileRefusals: ANY BEARER);

/// The caller's account.
#[utoipa::path(
    get, path = "/api/user/profile", tag = "user", security(("bearer" = [])),
    responses((status = 200, description = "The account.", body = UserBody), ProfileRefusals),
)]
pub(super) async fn profile(
    State(state): State<HttpState>,
    Authenticated(bearer): Authenticated,
) -> Result<Json<UserBody>, ApiError> {
    Ok(Json(state.auth.profile(&bearer).await?.into()))
}

/// The proof that deleting the account is meant.
#[derive(Deserialize, ToSchema)]
#[schema(as = DeleteUser)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteUserBody {
    /// The account's password.
    #[schema(format = "password")]
    password: String,
}

refusals!(DeleteUserRefusals: ANY BODY JSON BEARER, InvalidCredentials, RateLimited);

/// Delete the account and end its sessions.
#[utoipa::path(
    delete, path = "/api/user", tag = "user", security(("bearer" = [])),
    request_body(content = DeleteUserBody, content_type = "application/json"),
    responses((status = 204, description = "It is deleted."), DeleteUserRefusals),
)]
pub(super) async fn delete_user(
    State(state): State<HttpState>,
    client: Client,
    Authenticated(bearer): Authenticated,
    Body(body): Body<DeleteUserBody>,
) -> Result<StatusCode, ApiError> {
    let caller = client.caller();
    let deleted = to_the_end(state.around, |client| async move {
        let password = Password::new(&body.password).given_by(client);
        state.auth.delete_account(&caller, &bearer, password).await
    });
    deleted.await?;
    Ok(StatusCode::NO_CONTENT)
}
