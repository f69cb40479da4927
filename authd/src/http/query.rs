//! Query parameters as an extractor: those a route knows are strict, all others are ignored and never logged.

use crate::http::error::ApiError;
use axum::{
    extract::{FromRequestParts, Query},
    http::{Uri, request::Parts},
};

/// The parameters of a request.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// The parameters of a target.
    ///
    /// # Errors
    /// 400 when they cannot be read.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        pairs.map(|Query(pairs)| Self(pairs)).map_err(|_| ApiError::malformed("The query cannot be read."))
    }

    /// The value of a parameter.
    ///
    /// # Errors
    /// 400 when it was given twice.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
        let first = values.next();
        match values.next() {
            Some(_) => Err(ApiError::malformed("A query parameter was given twice.")),
            None => Ok(first),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(&parts.uri)
    }
}
