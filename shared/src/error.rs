//! Error codes and the problem document (RFC 9457) of both the public and the admin API.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $title:literal;)*) => {
        /// Every code an answer can carry, with its HTTP status and title.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl ErrorCode {
            /// All codes, in the order of their documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// HTTP status.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Short title, the same for every occurrence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request could not be read: syntax, types, unknown or duplicate fields.
    Malformed = "MALFORMED", 400, "The request could not be understood";
    /// Not an e-mail address that can have an account.
    InvalidEmail = "INVALID_EMAIL", 400, "The e-mail address is not valid";
    /// Not a user name that can have an account.
    InvalidUsername = "INVALID_USERNAME", 400, "The user name is not valid";
    /// The password is too short, too long, too easy to guess or known to be breached.
    WeakPassword = "WEAK_PASSWORD", 400, "The password cannot be used";
    /// Wrong identifier or password, or the account may not log in: never told apart.
    InvalidCredentials = "INVALID_CREDENTIALS", 401, "The credentials are not valid";
    /// No token was given.
    MissingToken = "MISSING_TOKEN", 401, "A token is needed";
    /// The token was good once and has reached its end.
    TokenExpired = "TOKEN_EXPIRED", 401, "The token has expired";
    /// Any other token that does not work.
    TokenInvalid = "TOKEN_INVALID", 401, "The token is not valid";
    /// The caller may not do this.
    Forbidden = "FORBIDDEN", 403, "This is not allowed";
    /// New accounts are made by the operator only.
    RegistrationClosed = "REGISTRATION_CLOSED", 403, "Registration is closed";
    /// A fresher or stronger login is needed.
    StepUpRequired = "STEP_UP_REQUIRED", 403, "A stronger login is needed";
    /// A cross-site request was refused.
    Csrf = "CSRF", 403, "The request came from another site";
    /// Nothing is here, or nothing the caller may see.
    NotFound = "NOT_FOUND", 404, "Not found";
    /// The route exists, not with this method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, "The method is not allowed here";
    /// The request did not arrive, or was not finished, in time.
    Timeout = "TIMEOUT", 408, "The request took too long";
    /// The e-mail address has an account.
    DuplicateEmail = "DUPLICATE_EMAIL", 409, "The e-mail address is taken";
    /// The user name has an account.
    DuplicateUsername = "DUPLICATE_USERNAME", 409, "The user name is taken";
    /// The state changed, or a key was used for something else.
    Conflict = "CONFLICT", 409, "The request conflicts with the current state";
    /// The account has as many sessions as it may have.
    SessionLimit = "SESSION_LIMIT", 409, "Too many sessions";
    /// The body is larger than the route takes.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 413, "The request body is too large";
    /// The target of the request is too long.
    UriTooLong = "URI_TOO_LONG", 414, "The request target is too long";
    /// The body is not JSON in UTF-8.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415, "The media type is not supported";
    /// Too many requests; see `Retry-After`.
    RateLimited = "RATE_LIMITED", 429, "Too many requests";
    /// The header section is too large.
    HeadersTooLarge = "HEADERS_TOO_LARGE", 431, "The request headers are too large";
    /// A bug in authd.
    Internal = "INTERNAL", 500, "Internal error";
    /// The database cannot be asked or written; nothing changed.
    StorageUnavailable = "STORAGE_UNAVAILABLE", 503, "Storage is unavailable";
    /// More work than can be done in time; nothing changed.
    Overloaded = "OVERLOADED", 503, "Overloaded";
    /// authd takes no changes now.
    ReadOnly = "READ_ONLY", 503, "Read-only";
}

impl ErrorCode {
    /// The code with this text, if this version knows it.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// Whether the same request can succeed later without being changed.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::StorageUnavailable | Self::Overloaded | Self::ReadOnly | Self::RateLimited | Self::Timeout)
    }
}

/// One field that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the request body.
    pub pointer: String,
    /// What is wrong.
    pub code: ErrorCode,
    /// For people.
    pub detail: String,
}

/// A problem document (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// A URI reference for the kind of problem; `about:blank` stands for the status alone.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short title of the kind.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened here, for people.
    pub detail: String,
    /// What happened here, for programs.
    pub code: ErrorCode,
    /// The id to quote when asking about it.
    pub request_id: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Fields that were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem of this code without field errors.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>, request_id: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            request_id: request_id.into(),
            retryable: code.is_retryable(),
            errors: Vec::new(),
        }
    }
}
