//! `GET /api/auth/verify`: forward-auth for Traefik and Caddy, from memory alone.

use crate::{
    domain::login::AccessClaims,
    http::{bearer::Verified, error::ApiError, openapi::refusals, state::HttpState},
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue},
};

const USER: HeaderName = HeaderName::from_static("remote-user");
const SESSION: HeaderName = HeaderName::from_static("x-authd-session");
const ACR: HeaderName = HeaderName::from_static("x-authd-acr");
const AMR: HeaderName = HeaderName::from_static("x-authd-amr");
const AUTH_TIME: HeaderName = HeaderName::from_static("x-authd-auth-time");
const EXPIRES: HeaderName = HeaderName::from_static("x-authd-expires");
const AGE: HeaderName = HeaderName::from_static("x-authd-revocation-age");

refusals!(VerifyRefusals: ANY BEARER);

/// Whether a request may pass, and who makes it.
#[utoipa::path(
    get, path = "/api/auth/verify", tag = "gateway", security(("bearer" = [])),
    responses(
        (status = 200, description = "It may.", headers(
            ("Remote-User" = String, description = "The account's id."),
            ("X-Authd-Session" = String, description = "The session's id."),
            ("X-Authd-Acr" = String, description = "Assurance level."),
            ("X-Authd-Amr" = String, description = "How the user logged in, separated by spaces (RFC 8176)."),
            ("X-Authd-Auth-Time" = i64, description = "When, in Unix seconds."),
            ("X-Authd-Expires" = i64, description = "End of the token, in Unix seconds."),
            ("X-Authd-Revocation-Age" = i64, description = "Seconds since ended sessions were last read."),
        )),
        VerifyRefusals,
    ),
)]
pub(super) async fn verify(State(state): State<HttpState>, Verified(bearer): Verified) -> Result<HeaderMap, ApiError> {
    let loaded_ms = state.auth.revoked().loaded_ms().unwrap_or_default();
    let age_s = state.clock.now_ms().saturating_sub(loaded_ms).max(0) / 1_000;
    facts(&bearer.claims, age_s).ok_or_else(|| ApiError::internal("a claim does not fit into a header"))
}

fn facts(claims: &AccessClaims, age_s: i64) -> Option<HeaderMap> {
    let text = |value: &str| HeaderValue::from_str(value).ok();
    Some(HeaderMap::from_iter([
        (USER, text(claims.account.as_str())?),
        (SESSION, text(claims.session.as_str())?),
        (ACR, text(&claims.acr)?),
        (AMR, text(&claims.amr.join(" "))?),
        (AUTH_TIME, HeaderValue::from(claims.auth_time_s)),
        (EXPIRES, HeaderValue::from(claims.expires_s)),
        (AGE, HeaderValue::from(age_s)),
    ]))
}

#[cfg(test)]
mod tests {
    use crate::{
        auth::Forget,
        domain::revocation::FeedCursor,
        http::testing::{self, send},
    };
    use axum::{body::Body, extract::Request};

    fn request() -> Request {
        Request::get("/api/auth/verify?access_token=secret").body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_good_token_passes_while_storage_is_down() {
        let state = testing::state();
        state.auth.revoked().absorb(&[], FeedCursor::default(), 0, Forget::Expired);
        let answer = send(&crate::http::router(state), testing::with_bearer(request(), "good")).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("remote-user").unwrap().starts_with("usr_"));
        assert!(answer.header("x-authd-session").unwrap().starts_with("ses_"));
        assert_eq!((answer.header("x-authd-acr"), answer.header("x-authd-amr")), (Some("1"), Some("pwd")));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }

    #[tokio::test]
    async fn an_instance_that_never_loaded_revocations_does_not_vouch_for_anybody() {
        let answer = send(&testing::router(), testing::with_bearer(request(), "good")).await;
        assert_eq!((answer.status, answer.code()), (503, "STORAGE_UNAVAILABLE".to_owned()));
    }

    #[tokio::test]
    async fn tokens_that_do_not_work_have_their_own_codes_and_challenges() {
        let state = testing::state();
        state.auth.revoked().absorb(&[], FeedCursor::default(), 0, Forget::Expired);
        let router = crate::http::router(state);
        for (token, code, challenge) in [
            ("bad", "TOKEN_INVALID", r#"Bearer error="invalid_token""#),
            ("expired", "TOKEN_EXPIRED", r#"Bearer error="invalid_token", error_description="The token has expired""#),
        ] {
            let answer = send(&router, testing::with_bearer(request(), token)).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, code));
            assert_eq!(answer.header("www-authenticate"), Some(challenge));
        }
        let answer = send(&router, request()).await;
        assert_eq!((answer.code().as_str(), answer.header("www-authenticate")), ("MISSING_TOKEN", Some("Bearer")));
    }
}
