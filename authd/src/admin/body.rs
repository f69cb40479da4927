//! Reading a request's body: bounded in size and time, and exact about what is wrong with it.

use super::problem::Denied;
use axum::body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// Largest request, in bytes.
const LIMIT: usize = 1 << 20;
/// For a whole body.
const DEADLINE: Duration = Duration::from_secs(30);

/// Reads a request as JSON; no body at all stands for `{}`.
///
/// # Errors
/// [`Denied::TooLarge`], [`Denied::TooSlow`], or [`Denied::Malformed`] saying where and why.
pub(super) async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Denied> {
    let whole = timeout(DEADLINE, Limited::new(body, LIMIT).collect()).await.map_err(|_| Denied::TooSlow)?;
    let bytes = match whole {
        Ok(whole) => whole.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Denied::TooLarge),
        Err(error) => return Err(Denied::Malformed(format!("the request broke off: {error}"))),
    };
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    // Unknown and duplicate fields are refused by the types; serde's messages name field, line and column.
    let request = serde_json::from_slice(text).map_err(|error| Denied::Malformed(error.to_string()))?;
    let whole = serde_json::from_slice(text).map_err(|error| Denied::Malformed(error.to_string()))?;
    if holds_nul(&whole) { Err(Denied::Malformed("a text contains NUL".to_owned())) } else { Ok(request) }
}

/// Whether any text has a NUL: no database column of PostgreSQL can hold one.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.values().any(holds_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::admin::session::ListRequest;

    async fn refusal(text: &str) -> String {
        read::<ListRequest>(Body::from(text.to_owned())).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_exactly() {
        assert!(refusal(r#"{"usr":"a"}"#).await.contains("unknown field `usr`"));
        assert!(refusal(r#"{"user":"a","user":"b"}"#).await.contains("duplicate field `user`"));
        assert!(refusal(r#"{"limit":"many"}"#).await.contains("line 1 column"));
        assert!(refusal("[1").await.contains("line 1"));
        assert!(refusal(r#"{"user":"a\u0000"}"#).await.contains("NUL"));
        assert!(refusal("{} {}").await.contains("trailing characters"));
    }

    #[tokio::test]
    async fn no_body_is_an_empty_request_and_a_huge_one_is_refused() {
        assert_eq!(read::<ListRequest>(Body::empty()).await.unwrap(), ListRequest::default());
        let huge = Body::from(vec![b' '; LIMIT + 1]);
        assert!(matches!(read::<ListRequest>(huge).await, Err(Denied::TooLarge)));
    }
}
