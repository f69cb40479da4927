//! `/api/auth/sessions`: a user's own sessions.

use crate::{
    auth::{Auth, Bearer, Keep, Refusal},
    domain::{
        page::PageRequest,
        session::{DeviceSummary, Session},
    },
    http::{
        bearer::Authenticated, client::Client, error::ApiError, json::Json, openapi::refusals, query::Parameters,
        state::HttpState,
    },
};
use axum::{
    extract::{FromRequestParts, RawPathParams, State},
    http::{StatusCode, request::Parts},
};
use serde::Serialize;
use shared::{id::SessionId, time::Timestamp};
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

/// A page of sessions, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionPage)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionPageBody {
    sessions: Vec<SessionBody>,
    /// Give this as `after` for the next page; null at the end.
    #[schema(required = true)]
    next: Option<String>,
}

/// A session; no token can be made from it.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
#[serde(deny_unknown_fields)]
struct SessionBody {
    id: String,
    /// Whether it is the caller's.
    current: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When its tokens were last refreshed.
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Timestamp,
    /// When it ends at the latest.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// What the device called itself, coarsely.
    #[schema(required = true)]
    device: Option<String>,
    /// The network around the address of the last login or refresh.
    #[schema(required = true)]
    network: Option<String>,
    /// How the user logged in (RFC 8176).
    amr: Vec<String>,
}

impl SessionBody {
    fn new(session: Session, current: &SessionId) -> Self {
        Self {
            current: session.id == *current,
            id: session.id.into(),
            created_at: Timestamp(session.created_ms),
            last_seen_at: Timestamp(session.last_seen_ms),
            expires_at: Timestamp(session.expires_ms),
            device: session.device.as_ref().map(DeviceSummary::as_str).map(str::to_owned),
            network: session.network.map(|network| network.to_string()),
            amr: session.amr,
        }
    }
}

/// How many sessions ended.
#[derive(Serialize, ToSchema)]
#[schema(as = RevokedSessions)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokedBody {
    #[schema(minimum = 0)]
    revoked: usize,
}

/// The page a request asks for; a cursor is good for the account it was made for only.
fn page(parameters: &Parameters, auth: &Auth, bearer: &Bearer) -> Result<PageRequest, ApiError> {
    let limit = match parameters.one("limit")? {
        None => DEFAULT_LIMIT,
        Some(text) => plain_number(text)
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| ApiError::malformed("limit is a number from 1 to 100."))?,
    };
    let after = match parameters.one("after")? {
        None => None,
        Some(cursor) => {
            let opened = auth.open_cursor(&bearer.account, cursor);
            Some(opened.ok_or_else(|| ApiError::malformed("after is the next of the page before."))?)
        }
    };
    Ok(PageRequest { after, ..PageRequest::first(limit) })
}

/// Digits only: no sign, no space.
fn plain_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

refusals!(ListRefusals: ANY BEARER);

/// The account's live sessions.
#[utoipa::path(
    get, path = "/api/auth/sessions", tag = "session", security(("bearer" = [])),
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "How many; 50 where nothing is said."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
    ),
    responses((status = 200, description = "Newest first.", body = SessionPageBody), ListRefusals),
)]
pub(super) async fn list_sessions(
    State(state): State<HttpState>,
    Authenticated(bearer): Authenticated,
    parameters: Parameters,
) -> Result<Json<SessionPageBody>, ApiError> {
    let page = page(&parameters, &state.auth, &bearer)?;
    let found = state.auth.sessions(&bearer, page).await?;
    let next = found.next.map(|after| state.auth.sign_cursor(&bearer.account, &after));
    let sessions = found.items.into_iter().map(|session| SessionBody::new(session, &bearer.session)).collect();
    Ok(Json(SessionPageBody { sessions, next }))
}

refusals!(EndAllRefusals: ANY BODY BEARER);

/// End the account's sessions: all, or all but the caller's.
#[utoipa::path(
    delete, path = "/api/auth/sessions", tag = "session", security(("bearer" = [])),
    params(("keep" = Option<String>, Query, pattern = "^current$", description = "`current` keeps the caller's.")),
    responses((status = 200, description = "They have ended.", body = RevokedBody), EndAllRefusals),
)]
pub(super) async fn end_sessions(
    State(state): State<HttpState>,
    client: Client,
    Authenticated(bearer): Authenticated,
    parameters: Parameters,
) -> Result<Json<RevokedBody>, ApiError> {
    let keep = match parameters.one("keep")? {
        None => Keep::None,
        Some("current") => Keep::Current,
        Some(_) => return Err(ApiError::malformed("keep is `current` or left out.")),
    };
    let revoked = state.auth.end_own_sessions(&client.caller(), &bearer, keep).await?;
    Ok(Json(RevokedBody { revoked }))
}

/// The session a path names; text that is no id names none.
pub(super) struct Named(SessionId);

impl FromRequestParts<HttpState> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let parameters = RawPathParams::from_request_parts(parts, state).await;
        let id = parameters.ok().and_then(|all| {
            all.iter().find(|(name, _)| *name == "id").and_then(|(_, text)| SessionId::parse(text).ok())
        });
        Ok(Self(id.ok_or(Refusal::NotFound)?))
    }
}

refusals!(EndRefusals: ANY BODY BEARER, NotFound);

/// End one of the account's sessions.
#[utoipa::path(
    delete, path = "/api/auth/sessions/{id}", tag = "session", security(("bearer" = [])),
    params(("id" = String, Path, description = "The session.")),
    responses((status = 204, description = "It has ended."), EndRefusals),
)]
pub(super) async fn end_session(
    State(state): State<HttpState>,
    client: Client,
    Authenticated(bearer): Authenticated,
    Named(id): Named,
) -> Result<StatusCode, ApiError> {
    state.auth.end_session(&client.caller(), &bearer, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_in_digits() {
        assert_eq!(plain_number("100"), Some(100));
        for text in ["", "+1", "-1", " 1", "1e2", "9223372036854775808", "1_0"] {
            assert_eq!(plain_number(text), None, "{text}");
        }
    }
}
