//! `POST /api/auth/logout`.

use crate::{
    auth::{LogoutProof, LogoutScope, Refusal},
    domain::secret::Secret,
    http::{
        bearer::Presented, client::Client, error::ApiError, json::OptionalBody, openapi::refusals, state::HttpState,
    },
};
use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

/// What to end, and with which token where none is in the header.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = Logout)]
#[serde(deny_unknown_fields)]
pub(super) struct LogoutBody {
    /// Any refresh token of the session. With a token in the header too, the sessions of both end; for `others` and
    /// `all` this one counts.
    refresh_token: Option<String>,
    /// What ends; `current` where nothing is said.
    #[serde(default)]
    scope: Scope,
}

/// Which sessions of the account end.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Scope {
    /// The one of the token.
    #[default]
    Current,
    /// All but the one of the token.
    Others,
    /// All.
    All,
}

impl From<Scope> for LogoutScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Current => Self::Current,
            Scope::Others => Self::Others,
            Scope::All => Self::All,
        }
    }
}

refusals!(LogoutRefusals: ANY BODY JSON BEARER);

/// End the session of a token, or the account's others, or all.
///
/// Ending the current session succeeds for tokens whose session has ended already and for unknown refresh tokens.
#[utoipa::path(
    post, path = "/api/auth/logout", tag = "session",
    request_body(content = Option<LogoutBody>, content_type = "application/json"),
    security(("bearer" = []), ()),
    responses((status = 204, description = "They have ended, for good and everywhere."), LogoutRefusals),
)]
pub(super) async fn logout(
    State(state): State<HttpState>,
    client: Client,
    Presented(access): Presented,
    OptionalBody(body): OptionalBody<LogoutBody>,
) -> Result<StatusCode, ApiError> {
    let body = body.unwrap_or_default();
    let refresh = body.refresh_token.map(|token| LogoutProof::Refresh(Secret::new(token)));
    let access = access.map(LogoutProof::Access);
    let caller = client.caller();
    match (refresh, access, LogoutScope::from(body.scope)) {
        (Some(refresh), Some(access), LogoutScope::Current) => {
            state.auth.logout(&caller, refresh, LogoutScope::Current).await?;
            match state.auth.logout(&caller, access, LogoutScope::Current).await {
                // Clients keep sending an access token that has long been none; the other one counted.
                Ok(()) | Err(Refusal::TokenInvalid) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        (Some(proof), _, scope) | (None, Some(proof), scope) => state.auth.logout(&caller, proof, scope).await?,
        (None, None, _) => return Err(Refusal::MissingToken.into()),
    }
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use crate::http::testing::{self, json, send};

    #[tokio::test]
    async fn a_logout_without_any_token_is_refused() {
        for body in ["", "{}", r#"{"scope":"all"}"#] {
            let answer = send(&testing::router(), json("POST", "/api/auth/logout", body)).await;
            assert_eq!((answer.status, answer.code()), (401, "MISSING_TOKEN".to_owned()), "{body}");
        }
    }

    #[tokio::test]
    async fn an_unknown_scope_or_token_has_its_own_answer() {
        let answer = send(&testing::router(), json("POST", "/api/auth/logout", r#"{"scope":"everything"}"#)).await;
        assert_eq!(answer.json()["errors"][0]["pointer"], "/scope");
        let answer = send(&testing::router(), json("POST", "/api/auth/logout", r#"{"refresh_token":"none"}"#)).await;
        assert_eq!(answer.status, 204);
    }
}
