//! Refusals of the admin API and their problem documents.

use super::{guard::Foreign, peer::Why};
use crate::{
    auth::{OperatorRefusal, Refusal},
    domain::store_error::StoreError,
};
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use shared::error::{ErrorCode, FieldError, Problem};

/// Seconds after which to try again what storage or load refused.
const RETRY_AFTER: &str = "1";

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// By a use case.
    #[error(transparent)]
    Operator(#[from] OperatorRefusal),
    /// It cannot be read, or asks for something without sense.
    #[error("{0}")]
    Malformed(String),
    /// This version has no such call.
    #[error("{}", shared::admin::NO_SUCH_CALL)]
    NoSuchCall,
    /// It exists and wants POST.
    #[error("calls are made with POST")]
    Method,
    /// The body is larger than 1 MiB.
    #[error("the request is larger than 1 MiB")]
    TooLarge,
    /// The body did not come in time.
    #[error("the request did not arrive in time")]
    TooSlow,
    /// The peer may not make it.
    #[error("{0}")]
    Peer(Why),
    /// This user id makes too many calls (`admin.uid`).
    #[error("too many calls of this user id; wait a moment")]
    TooMany {
        /// Milliseconds until the next is let through.
        wait_ms: i64,
    },
    /// It does not look like a call of an operator's tool.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// The answer cannot be written, a bug.
    #[error("the answer cannot be written")]
    Unwritable,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Operator(refusal.into())
    }
}

impl From<StoreError> for Denied {
    fn from(fault: StoreError) -> Self {
        Self::Operator(OperatorRefusal::Storage(fault))
    }
}

impl Denied {
    /// The code of the answer.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Operator(refusal) => code_of(refusal),
            Self::Malformed(_) => ErrorCode::Malformed,
            Self::NoSuchCall => ErrorCode::NotFound,
            Self::Method => ErrorCode::MethodNotAllowed,
            Self::TooLarge => ErrorCode::PayloadTooLarge,
            Self::TooSlow => ErrorCode::Timeout,
            Self::Peer(_) | Self::Foreign(_) => ErrorCode::Forbidden,
            Self::TooMany { .. } => ErrorCode::RateLimited,
            Self::Unwritable => ErrorCode::Internal,
        }
    }

    fn detail(&self) -> String {
        match self {
            // Causes name files and statements: they are for the log.
            Self::Operator(OperatorRefusal::Storage(StoreError::UnknownOutcome(_))) => {
                "storage failed while the change was written: it may or may not have happened".to_owned()
            }
            Self::Operator(OperatorRefusal::Storage(_)) => "storage is unavailable: nothing was changed".to_owned(),
            Self::Operator(OperatorRefusal::Ambiguous(_)) => "several match".to_owned(),
            Self::Operator(OperatorRefusal::NotFound) => "nothing has the given id or name".to_owned(),
            other => other.to_string(),
        }
    }

    fn candidates(&self) -> Vec<FieldError> {
        let Self::Operator(OperatorRefusal::Ambiguous(candidates)) = self else { return Vec::new() };
        let one = |id: &String| FieldError { pointer: String::new(), code: ErrorCode::Conflict, detail: id.clone() };
        candidates.iter().map(one).collect()
    }

    /// The answer.
    #[must_use]
    pub fn response(&self, request_id: &str) -> Response<Body> {
        let code = self.code();
        match self {
            Self::Operator(OperatorRefusal::Storage(fault)) => tracing::warn!(request_id, %fault, "storage failed"),
            other if code == ErrorCode::Internal => tracing::error!(request_id, error = %other, "a call failed"),
            _ => {}
        }
        let problem = Problem { errors: self.candidates(), ..Problem::new(code, self.detail(), request_id) };
        let mut response = Response::new(Body::from(serde_json::to_vec(&problem).unwrap_or_default()));
        *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::TooMany { wait_ms } => {
                let wait_s = u64::try_from(*wait_ms).unwrap_or(0).div_ceil(1_000).max(1);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
            }
            _ if problem.retryable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            _ => {}
        }
        if matches!(self, Self::Method) {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

fn code_of(refusal: &OperatorRefusal) -> ErrorCode {
    match refusal {
        OperatorRefusal::NotFound | OperatorRefusal::Unknown(_) => ErrorCode::NotFound,
        OperatorRefusal::Ambiguous(_) | OperatorRefusal::Drifted { .. } | OperatorRefusal::Conflict(_) => {
            ErrorCode::Conflict
        }
        OperatorRefusal::Invalid(_) => ErrorCode::Malformed,
        OperatorRefusal::Storage(_) => ErrorCode::StorageUnavailable,
        OperatorRefusal::Refused(refusal) => match refusal {
            Refusal::InvalidEmail(_) => ErrorCode::InvalidEmail,
            Refusal::InvalidUsername(_) => ErrorCode::InvalidUsername,
            Refusal::WeakPassword(_) => ErrorCode::WeakPassword,
            Refusal::RegistrationClosed => ErrorCode::RegistrationClosed,
            Refusal::DuplicateEmail => ErrorCode::DuplicateEmail,
            Refusal::DuplicateUsername => ErrorCode::DuplicateUsername,
            Refusal::InvalidCredentials => ErrorCode::InvalidCredentials,
            Refusal::MissingToken => ErrorCode::MissingToken,
            Refusal::TokenExpired => ErrorCode::TokenExpired,
            Refusal::TokenInvalid => ErrorCode::TokenInvalid,
            Refusal::NotFound => ErrorCode::NotFound,
            Refusal::Conflict => ErrorCode::Conflict,
            Refusal::SessionLimit => ErrorCode::SessionLimit,
            Refusal::RateLimited { .. } => ErrorCode::RateLimited,
            Refusal::Overloaded => ErrorCode::Overloaded,
            Refusal::Storage(_) | Refusal::NotReady(_) => ErrorCode::StorageUnavailable,
            Refusal::Internal(_) => ErrorCode::Internal,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn document(denied: Denied) -> (StatusCode, serde_json::Value) {
        let response = denied.response("req_1");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn storage_faults_are_503_and_do_not_show_their_cause() {
        let fault = StoreError::unavailable("no such table: account in /var/lib/authd/authd.db");
        let (status, body) = document(fault.into()).await;
        assert_eq!(
            (status.as_u16(), &body["code"], &body["retryable"]),
            (503, &"STORAGE_UNAVAILABLE".into(), &true.into())
        );
        assert!(!body.to_string().contains("authd.db"), "{body}");
    }

    #[tokio::test]
    async fn candidates_of_an_ambiguous_target_stand_in_errors() {
        let candidates = vec!["usr_1".to_owned(), "usr_2".to_owned()];
        let (status, body) = document(OperatorRefusal::Ambiguous(candidates).into()).await;
        assert_eq!((status.as_u16(), &body["code"]), (409, &"CONFLICT".into()));
        assert_eq!(body["errors"][1]["detail"], "usr_2");
        assert_eq!(body["request_id"], "req_1");
    }

    #[tokio::test]
    async fn a_refused_peer_learns_which_rule_refuses_it() {
        let (status, body) = document(Denied::Peer(Why::ReaderChanges)).await;
        assert_eq!((status.as_u16(), &body["code"]), (403, &"FORBIDDEN".into()));
        assert!(body["detail"].as_str().unwrap().contains("admin.read_groups"));
    }
}
