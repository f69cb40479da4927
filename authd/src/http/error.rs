//! Refusals of the public API: a code, and the headers that belong to it. The document itself is written by
//! [`crate::http::layers::surround`], which knows the request's id.

use crate::{
    auth::{Closing, Refusal},
    domain::failure::Condition,
};
use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use shared::error::{ErrorCode, FieldError, Problem};
use std::borrow::Cow;

/// Why a request is refused.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    code: ErrorCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after_s: Option<u64>,
    /// For the log, never for the client.
    cause: Option<String>,
}

/// Waiting times that clients are told, in seconds: coarse, so that they say nothing about a limit's inner state.
const WAITS_S: [u64; 10] = [1, 2, 5, 10, 30, 60, 120, 300, 600, 900];
const LONGEST_WAIT_S: u64 = 3_600;
const STORAGE_WAIT_S: u64 = 2;
const OVERLOAD_WAIT_S: u64 = 1;
const MODE_WAIT_S: u64 = 60;

impl ApiError {
    /// A refusal of this code; `detail` is shown to the client.
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after_s: None, cause: None }
    }

    /// A refusal because of one field of the body; an empty `pointer` is the body itself.
    pub(crate) fn field(code: ErrorCode, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let error = FieldError { pointer: pointer.into(), code, detail: detail.into() };
        Self { errors: vec![error], ..Self::new(code, code.title()) }
    }

    /// 400 `MALFORMED` for something that is not the body.
    pub(crate) fn malformed(detail: &'static str) -> Self {
        Self::new(ErrorCode::Malformed, detail)
    }

    /// 500: a bug; `cause` goes into the log.
    pub(crate) fn internal(cause: &'static str) -> Self {
        Self { cause: Some(cause.to_owned()), ..Self::new(ErrorCode::Internal, "This is a bug in authd.") }
    }

    /// 503: the request took longer than its budget.
    pub(crate) fn overloaded() -> Self {
        Self { retry_after_s: Some(OVERLOAD_WAIT_S), ..Self::new(ErrorCode::Overloaded, "Try again in a moment.") }
    }

    /// 503: `cause` goes into the log.
    pub(crate) fn unavailable(cause: impl Into<String>) -> Self {
        Self {
            retry_after_s: Some(STORAGE_WAIT_S),
            cause: Some(cause.into()),
            ..Self::new(ErrorCode::StorageUnavailable, "Nothing is known to have changed; try again in a moment.")
        }
    }

    /// 503: an operator's mode, or a restored database, closes the route.
    pub(crate) fn closed(closing: Closing) -> Self {
        let detail = match closing.condition {
            Condition::ReadOnly => "No changes are taken now; reading goes on.",
            Condition::NoLogin => "No sessions are opened now; the existing ones go on.",
            _ => "The service is closed for now.",
        };
        let left_s = closing.left_ms.map_or(MODE_WAIT_S, |left_ms| u64::try_from(left_ms).unwrap_or(0).div_ceil(1_000));
        Self {
            retry_after_s: Some(left_s.clamp(1, MODE_WAIT_S)),
            cause: Some(format!("closed by: {}", closing.condition.name())),
            ..Self::new(closing.condition.code(), detail)
        }
    }

    fn rate_limited(retry_after_ms: i64) -> Self {
        let needed_s = u64::try_from(retry_after_ms).unwrap_or(0).div_ceil(1_000).max(1);
        let told_s = WAITS_S.into_iter().find(|wait_s| *wait_s >= needed_s).unwrap_or(LONGEST_WAIT_S);
        Self { retry_after_s: Some(told_s), ..Self::new(ErrorCode::RateLimited, "Wait before the next attempt.") }
    }

    /// The same refusal, about this field of the body.
    #[must_use]
    pub(crate) fn in_field(mut self, pointer: &str) -> Self {
        for error in &mut self.errors {
            pointer.clone_into(&mut error.pointer);
        }
        self
    }

    /// Its code.
    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    /// What only the log may know.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The document for the client.
    pub(crate) fn problem(&self, request_id: &str) -> Problem {
        Problem { errors: self.errors.clone(), ..Problem::new(self.code, self.detail.clone(), request_id) }
    }

    fn headers(&self) -> HeaderMap {
        let retry_after = self.retry_after_s.map(|wait_s| (header::RETRY_AFTER, HeaderValue::from(wait_s)));
        // What is left of the body is not read.
        let unread = matches!(self.code, ErrorCode::Timeout | ErrorCode::PayloadTooLarge);
        let close = unread.then(|| (header::CONNECTION, HeaderValue::from_static("close")));
        retry_after.into_iter().chain(challenge(self.code)).chain(close).collect()
    }
}

/// `WWW-Authenticate` of a 401 (RFC 6750 §3.1): an error only where a token was presented.
fn challenge(code: ErrorCode) -> Option<(HeaderName, HeaderValue)> {
    let value = match code {
        ErrorCode::TokenExpired => r#"Bearer error="invalid_token", error_description="The token has expired""#,
        ErrorCode::TokenInvalid => r#"Bearer error="invalid_token""#,
        code if code.status() == 401 => "Bearer",
        _ => return None,
    };
    Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(value)))
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::InvalidEmail(error) => Self::field(ErrorCode::InvalidEmail, "/email", error.to_string()),
            Refusal::InvalidUsername(error) => Self::field(ErrorCode::InvalidUsername, "/username", error.to_string()),
            Refusal::WeakPassword(error) => Self::field(ErrorCode::WeakPassword, "/password", error.to_string()),
            Refusal::RegistrationClosed => {
                Self::new(ErrorCode::RegistrationClosed, "Accounts are made by the operator.")
            }
            Refusal::DuplicateEmail => Self::new(ErrorCode::DuplicateEmail, "The e-mail address has an account."),
            Refusal::DuplicateUsername => Self::new(ErrorCode::DuplicateUsername, "The user name has an account."),
            Refusal::InvalidCredentials => {
                Self::new(ErrorCode::InvalidCredentials, "The name or the password is wrong.")
            }
            Refusal::MissingToken => Self::new(ErrorCode::MissingToken, "Give a token."),
            Refusal::TokenExpired => Self::new(ErrorCode::TokenExpired, "The token has expired."),
            Refusal::TokenInvalid => Self::new(ErrorCode::TokenInvalid, "The token does not work."),
            Refusal::NotFound => Self::new(ErrorCode::NotFound, "There is nothing here."),
            Refusal::Conflict => {
                Self::new(ErrorCode::Conflict, "This token was already used by another request; use its answer.")
            }
            Refusal::SessionLimit => Self::new(ErrorCode::SessionLimit, "End another session first."),
            Refusal::RateLimited { retry_after_ms } => Self::rate_limited(retry_after_ms),
            Refusal::Overloaded => Self::overloaded(),
            Refusal::Storage(fault) => Self::unavailable(fault.to_string()),
            Refusal::NotReady(cause) => Self::unavailable(cause),
            Refusal::Internal(cause) => Self::internal(cause),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = self.headers();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::store_error::StoreError;
    use proptest::prelude::*;

    #[test]
    fn what_storage_said_is_for_the_log_alone() {
        let error = ApiError::from(Refusal::Storage(StoreError::unavailable("db7.internal refused")));
        let text = serde_json::to_string(&error.problem("r")).unwrap();
        assert!(!text.contains("db7"), "{text}");
        assert!(error.cause().unwrap().contains("db7"));
        assert!(error.problem("r").retryable);
        assert_eq!(error.into_response().headers()["retry-after"], "2");
    }

    #[test]
    fn every_401_has_a_challenge_and_only_a_presented_token_has_an_error() {
        for code in ErrorCode::ALL.iter().copied() {
            let headers = ApiError::new(code, "").headers();
            let challenge = headers.get("www-authenticate").map(|value| value.to_str().unwrap());
            assert_eq!(challenge.is_some(), code.status() == 401, "{code:?}");
            let names_token = matches!(code, ErrorCode::TokenExpired | ErrorCode::TokenInvalid);
            assert_eq!(challenge.is_some_and(|text| text.contains("invalid_token")), names_token, "{code:?}");
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_never_told_shorter_than_it_is(wait_ms in 1i64..3_600_000) {
            let told_s = ApiError::rate_limited(wait_ms).retry_after_s.unwrap();
            prop_assert!(told_s * 1_000 >= wait_ms.unsigned_abs());
        }
    }
}
