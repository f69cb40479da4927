//! The answer of login, registration and refresh.

use crate::{auth::Tokens, http::user::UserBody};
use serde::Serialize;
use utoipa::ToSchema;

/// Tokens of a session. Keep the refresh token safe and replace it by each answer's.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokensBody {
    /// A JWT (RFC 9068).
    access_token: String,
    /// Always `Bearer`.
    #[schema(pattern = "^Bearer$")]
    token_type: &'static str,
    /// Seconds the access token has left.
    #[schema(minimum = 0)]
    expires_in: i64,
    /// Single use: the next refresh answers its successor.
    refresh_token: String,
    /// Seconds until the refresh token ends by inactivity or for good.
    #[schema(minimum = 0)]
    refresh_expires_in: i64,
    /// The session.
    session_id: String,
    /// Keep it and send it with the next login of this account: it then has limits of its own, which strangers who
    /// guess the password cannot use up. Only a login or registration from a device that is not known yet answers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    device_token: Option<String>,
    /// The account.
    user: UserBody,
}

impl From<Tokens> for TokensBody {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access.reveal().to_owned(),
            token_type: "Bearer",
            expires_in: tokens.access_expires_in_s,
            refresh_token: tokens.refresh.reveal().to_owned(),
            refresh_expires_in: tokens.refresh_expires_in_s,
            session_id: tokens.session.into(),
            device_token: tokens.device.map(|token| token.reveal().to_owned()),
            user: tokens.account.into(),
        }
    }
}
