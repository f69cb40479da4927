//! What the bytes of strangers become before a route runs, reachable without a server: for the fuzz targets.

use super::{
    bearer,
    client::Client,
    error::ApiError,
    idempotency, json,
    login::LoginBody,
    logout::LogoutBody,
    password::{ChangePasswordBody, ResetPasswordBody},
    refresh::RefreshBody,
    register::RegisterBody,
    request_id,
    state::HttpOptions,
    user::DeleteUserBody,
};
use crate::{auth::Caller, domain::clock::Random, listener::Peer};
use axum::{
    extract::Request,
    http::{HeaderMap, Uri},
};
use shared::error::Problem;
use std::net::SocketAddr;

/// A body of the public API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyOf {
    /// `POST /api/auth/register`.
    Register,
    /// `POST /api/auth/login`.
    Login,
    /// `POST /api/auth/refresh`.
    Refresh,
    /// `POST /api/auth/logout`.
    Logout,
    /// `POST /api/auth/password/reset`.
    ResetPassword,
    /// `PATCH /api/user/password`.
    ChangePassword,
    /// `DELETE /api/user`.
    DeleteUser,
}

impl BodyOf {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Register,
        Self::Login,
        Self::Refresh,
        Self::Logout,
        Self::ResetPassword,
        Self::ChangePassword,
        Self::DeleteUser,
    ];
}

/// Reads a body into the type of its route.
///
/// # Errors
/// The document that the client would get.
pub fn body(of: BodyOf, bytes: &[u8]) -> Result<(), Box<Problem>> {
    match of {
        BodyOf::Register => json::read::<RegisterBody>(bytes).map(drop),
        BodyOf::Login => json::read::<LoginBody>(bytes).map(drop),
        BodyOf::Refresh => json::read::<RefreshBody>(bytes).map(drop),
        BodyOf::Logout => json::read::<LogoutBody>(bytes).map(drop),
        BodyOf::ResetPassword => json::read::<ResetPasswordBody>(bytes).map(drop),
        BodyOf::ChangePassword => json::read::<ChangePasswordBody>(bytes).map(drop),
        BodyOf::DeleteUser => json::read::<DeleteUserBody>(bytes).map(drop),
    }
    .map_err(|error| shown(&error))
}

/// Who calls, as far as peer and headers tell.
#[must_use]
pub fn caller(peer: SocketAddr, headers: &HeaderMap, options: &HttpOptions, random: &dyn Random) -> Caller {
    let mut request = Request::new(axum::body::Body::empty());
    *request.headers_mut() = headers.clone();
    request.extensions_mut().insert(Peer(peer));
    Client::of(&request, options, random).caller()
}

/// The access token of the `Authorization` header.
///
/// # Errors
/// The document that the client would get.
pub fn bearer(headers: &HeaderMap) -> Result<Option<String>, Box<Problem>> {
    let token = bearer::token(headers).map_err(|error| shown(&error))?;
    Ok(token.map(|token| token.reveal().to_owned()))
}

/// Whether there is an `Idempotency-Key`.
///
/// # Errors
/// The document that the client would get.
pub fn has_idempotency_key(headers: &HeaderMap) -> Result<bool, Box<Problem>> {
    idempotency::given(headers).map(|key| key.is_some()).map_err(|error| shown(&error))
}

/// The trace that the request belongs to, for the log.
#[must_use]
pub fn trace_id(headers: &HeaderMap) -> Option<&str> {
    request_id::trace_id(headers)
}

/// The one value of a query parameter.
///
/// # Errors
/// The document that the client would get.
pub fn parameter(uri: &Uri, name: &str) -> Result<Option<String>, Box<Problem>> {
    let parameters = super::query::Parameters::of(uri).map_err(|error| shown(&error))?;
    parameters.one(name).map(|value| value.map(str::to_owned)).map_err(|error| shown(&error))
}

fn shown(error: &ApiError) -> Box<Problem> {
    error.problem("").into()
}
