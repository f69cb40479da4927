//! The request's id: a trusted proxy's, or a new one; and the trace it belongs to.

use crate::domain::clock::{Random, random_bytes};
use axum::http::{HeaderMap, HeaderName};
use shared::hex;

/// The header, in requests and answers.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const MAX_LEN: usize = 128;

/// The id that the request carries, where it is one: 1 to 128 letters, digits or `-_.:/+=@` of ASCII, given once.
pub(crate) fn given(headers: &HeaderMap) -> Option<&str> {
    let text = only(headers, &HEADER)?;
    let legal = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte));
    (legal && (1..=MAX_LEN).contains(&text.len())).then_some(text)
}

/// A new id: 128 random bits in hexadecimal.
pub(crate) fn generate(random: &dyn Random) -> String {
    hex::encode(&random_bytes::<16>(random))
}

/// The trace id of a `traceparent` (W3C Trace Context §3.2), for the log.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut fields = only(headers, &TRACE_PARENT)?.split('-');
    let (version, trace) = (fields.next()?, fields.next()?);
    let (parent, flags) = (fields.next()?, fields.next()?);
    let is_hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_set = |text: &str| text.bytes().any(|byte| byte != b'0');
    let whole = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    (whole && version != "ff" && is_set(trace) && is_set(parent)).then_some(trace)
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_id_is_short_plain_and_alone() {
        assert_eq!(given(&headers("x-request-id", &["a-1_2.3:4/5+6=7@8"])), Some("a-1_2.3:4/5+6=7@8"));
        let long = "a".repeat(129);
        for values in [vec![], vec![""], vec!["a b"], vec!["a\"b"], vec!["a", "b"], vec![long.as_str()]] {
            assert_eq!(given(&headers("x-request-id", &values)), None, "{values:?}");
        }
    }

    #[test]
    fn a_trace_is_read_from_a_whole_traceparent_only() {
        let whole = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(&headers("traceparent", &[whole])), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for text in ["", "00", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", &whole.to_uppercase()] {
            assert_eq!(trace_id(&headers("traceparent", &[text])), None, "{text}");
        }
    }
}
