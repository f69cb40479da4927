//! Access tokens in the `Authorization` header, as extractors: a handler's signature says what it asks for.

use crate::{
    auth::{Bearer, Refusal},
    domain::secret::Secret,
    http::{error::ApiError, state::HttpState},
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

/// Somebody whose token and session the database knows to be good now.
pub(crate) struct Authenticated(pub(crate) Bearer);

/// Somebody whose token is good as far as this instance's memory goes.
pub(crate) struct Verified(pub(crate) Bearer);

/// The token of the header, not looked at.
pub(crate) struct Presented(pub(crate) Option<Secret>);

impl FromRequestParts<HttpState> for Presented {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &HttpState) -> Result<Self, ApiError> {
        token(&parts.headers).map(Self)
    }
}

impl FromRequestParts<HttpState> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let token = token(&parts.headers)?.ok_or(Refusal::MissingToken)?;
        let bearer = state.auth.authenticate(token.reveal()).await?;
        note(&bearer);
        Ok(Self(bearer))
    }
}

impl FromRequestParts<HttpState> for Verified {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let token = token(&parts.headers)?.ok_or(Refusal::MissingToken)?;
        let bearer = state.auth.verify(token.reveal())?;
        note(&bearer);
        Ok(Self(bearer))
    }
}

fn note(bearer: &Bearer) {
    let span = tracing::Span::current();
    span.record("user_id", bearer.account.as_str());
    span.record("session_id", bearer.session.as_str());
}

/// The bearer token (RFC 6750 §2.1); `None` where the header is missing, of another scheme or empty.
///
/// # Errors
/// 400 for two headers, for bytes that are not ASCII, and for anything but one space between scheme and token.
pub(super) fn token(headers: &HeaderMap) -> Result<Option<Secret>, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::malformed("There are two Authorization headers."));
    }
    let malformed = || ApiError::malformed("The Authorization header has the form `Bearer TOKEN`.");
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, rest) = text.split_at(text.find([' ', '\t', ',']).unwrap_or(text.len()));
    if !scheme.eq_ignore_ascii_case("bearer") || rest.trim().is_empty() {
        return Ok(None);
    }
    let token = rest.strip_prefix(' ').filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
    token.map(|token| Some(Secret::new(token))).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<String>, u16> {
        let values = values.iter().map(|value| (header::AUTHORIZATION, value.to_vec().try_into().unwrap()));
        let token = token(&values.collect()).map_err(|error| error.code().status())?;
        Ok(token.map(|token| token.reveal().to_owned()))
    }

    #[test]
    fn the_scheme_has_no_case() {
        for text in ["Bearer abc", "bearer abc", "BEARER abc"] {
            assert_eq!(read(&[text.as_bytes()]), Ok(Some("abc".to_owned())), "{text}");
        }
    }

    #[test]
    fn no_token_is_no_error_yet() {
        assert_eq!(read(&[]), Ok(None));
        for text in ["Basic YTpi", "Bearer", "Bearer ", "Bearerabc", ""] {
            assert_eq!(read(&[text.as_bytes()]), Ok(None), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["Bearer  abc", "Bearer\tabc", "Bearer a b", "Bearer abc, Bearer def", "Bearer ab\tc", "Bearer,abc"]
        {
            assert_eq!(read(&[text.as_bytes()]), Err(400), "{text}");
        }
        assert_eq!(read(&[b"Bearer a\xffb"]), Err(400));
        assert_eq!(read(&[b"Bearer abc", b"Bearer abc"]), Err(400));
    }
}
