//! Strict JSON: what a body may be, and how an answer is written.
//!
//! A body is one object in UTF-8 with exactly the fields its type has. It is read in two steps, so that a duplicate is
//! seen wherever it stands and every refusal names its field: first into its members, then into the type.

use crate::http::{error::ApiError, state::HttpState};
use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;
use shared::error::ErrorCode;
use std::{cell::RefCell, fmt};

/// A request body that must be there.
pub(crate) struct Body<T>(pub(crate) T);

/// A request body that may be left out.
pub(crate) struct OptionalBody<T>(pub(crate) Option<T>);

/// An answer in JSON.
pub(crate) struct Json<T>(pub(crate) T);

/// The media type of every JSON answer but problems.
pub(crate) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
/// No body has as many members: what stands behind them cannot make it good, and is not looked at.
const MAX_MEMBERS: usize = 64;
/// Member names are shown back up to this many characters.
const SHOWN_NAME: usize = 64;

impl<T: DeserializeOwned> FromRequest<HttpState> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &HttpState) -> Result<Self, ApiError> {
        require_json(request.headers())?;
        read(&bytes_of(request).await?).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<HttpState> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &HttpState) -> Result<Self, ApiError> {
        let media_type = require_json(request.headers());
        let bytes = bytes_of(request).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        media_type?;
        read(&bytes).map(|body| Self(Some(body)))
    }
}

/// The body that [`crate::http::body::read_body`] has put into memory, within the limit.
async fn bytes_of(request: Request) -> Result<axum::body::Bytes, ApiError> {
    let bytes = axum::body::to_bytes(request.into_body(), usize::MAX).await;
    bytes.map_err(|_| ApiError::malformed("The body could not be read."))
}

/// `application/json`, alone or with `charset=utf-8`, and not compressed.
fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let plain = headers.get_all(header::CONTENT_ENCODING).iter().all(|value| value == "identity");
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, second) = (types.next().and_then(|value| value.to_str().ok()), types.next());
    if plain && second.is_none() && first.is_some_and(is_json) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::UnsupportedMediaType, "Send JSON in UTF-8 as application/json."))
}

fn is_json(media_type: &str) -> bool {
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    essence.eq_ignore_ascii_case("application/json") && parts.all(|part| part.is_empty() || is_utf8_charset(part))
}

fn is_utf8_charset(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}

/// Reads a body into its type.
///
/// # Errors
/// 400 `MALFORMED` that names the first member at fault.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.is_empty() {
        return Err(malformed("", "the body is empty"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("", "the body is not UTF-8"))?;
    let members: Members = serde_json::from_str(text).map_err(|error| not_an_object(&error))?;
    if let Some(name) = members.duplicate {
        return Err(malformed(&pointer(&name), "the member stands here twice"));
    }
    let place = RefCell::new(Place::End);
    let access = MemberAccess { left: members.members.into_iter(), value: None, place: &place };
    T::deserialize(MapAccessDeserializer::new(access)).map_err(|error| at(&place.borrow(), &error))
}

fn malformed(pointer: &str, detail: impl Into<String>) -> ApiError {
    ApiError::field(ErrorCode::Malformed, pointer, detail)
}

fn not_an_object(error: &serde_json::Error) -> ApiError {
    match error.classify() {
        serde_json::error::Category::Data => malformed("", "the body is not a JSON object"),
        _ => malformed("", format!("not valid JSON at line {}, column {}", error.line(), error.column())),
    }
}

fn at(place: &Place, error: &serde_json::Error) -> ApiError {
    match place {
        Place::Name(name) => malformed(&pointer(name), "there is no such member"),
        Place::Nul(name) => malformed(&pointer(name), "the text contains NUL"),
        Place::Value(name, "text") => malformed(&pointer(name), "the text is not one of the allowed values"),
        Place::Value(name, kind) => malformed(&pointer(name), format!("{kind} is not allowed here")),
        Place::End => {
            // The only name in the message is one of the type's own.
            let message = error.to_string();
            let name = message.split('`').nth(1).unwrap_or_default().to_owned();
            malformed(&pointer(&name), "the member is missing")
        }
    }
}

/// RFC 6901 pointer to a member.
fn pointer(name: &str) -> String {
    let shown: String = name.chars().take(SHOWN_NAME).collect();
    format!("/{}", shown.replace('~', "~0").replace('/', "~1"))
}

/// Where reading into the type has come to.
enum Place {
    Name(String),
    Nul(String),
    Value(String, &'static str),
    End,
}

/// The members of an object, in order.
struct Members {
    members: Vec<(String, Value)>,
    duplicate: Option<String>,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut found = Members { members: Vec::new(), duplicate: None };
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if found.members.len() >= MAX_MEMBERS {
                        continue;
                    }
                    if found.duplicate.is_none() && found.members.iter().any(|(other, _)| *other == name) {
                        found.duplicate = Some(name);
                    } else {
                        found.members.push((name, value));
                    }
                }
                Ok(found)
            }
        }
        from.deserialize_map(Object)
    }
}

/// Hands the members to the type and remembers which one it is at.
struct MemberAccess<'a> {
    left: std::vec::IntoIter<(String, Value)>,
    value: Option<Value>,
    place: &'a RefCell<Place>,
}

impl<'de> MapAccess<'de> for MemberAccess<'_> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let Some((name, value)) = self.left.next() else {
            self.place.replace(Place::End);
            return Ok(None);
        };
        if matches!(&value, Value::String(text) if text.contains('\0')) {
            self.place.replace(Place::Nul(name));
            return Err(serde::de::Error::custom("NUL"));
        }
        self.place.replace(Place::Name(name.clone()));
        let key = seed.deserialize(IntoDeserializer::<Self::Error>::into_deserializer(name.clone()))?;
        self.place.replace(Place::Value(name, kind(&value)));
        self.value = Some(value);
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        seed.deserialize(self.value.take().unwrap_or(Value::Null))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response(),
            Err(_) => ApiError::internal("an answer does not serialise").into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        note: Option<String>,
    }

    fn refused(body: impl AsRef<[u8]>) -> (String, String) {
        let error = read::<Sample>(body.as_ref()).unwrap_err();
        let problem = error.problem("r");
        assert_eq!(problem.code, ErrorCode::Malformed);
        let [field] = problem.errors.as_slice() else { panic!("one field error") };
        (field.pointer.clone(), field.detail.clone())
    }

    #[test]
    fn a_body_of_the_right_form_is_read() {
        let sample = read::<Sample>(r#" {"note": null, "name": "a\ud83d\ude00"} "#.as_bytes()).unwrap();
        assert_eq!(sample, Sample { name: "a😀".to_owned(), note: None });
    }

    #[test]
    fn a_refusal_names_the_member_at_fault() {
        for (body, pointer) in [
            (r#"{"name":"a","is_admin":true}"#, "/is_admin"),
            (r#"{"name":"a","a/b~c":1}"#, "/a~1b~0c"),
            (r#"{"name":"a","name":"b"}"#, "/name"),
            (r#"{"name":"a","\u006eame":"b"}"#, "/name"),
            (r#"{"name":1}"#, "/name"),
            (r#"{"name":null}"#, "/name"),
            (r#"{"name":["a"]}"#, "/name"),
            (r#"{"name":{"name":"a"}}"#, "/name"),
            (r#"{"name":"a\u0000"}"#, "/name"),
            (r#"{"note":"a"}"#, "/name"),
            ("{}", "/name"),
            ("", ""),
            (" ", ""),
            ("[]", ""),
            (r#""name""#, ""),
            ("null", ""),
            (r#"{"name":"a"}x"#, ""),
            (r#"{"name":"a"}{"name":"a"}"#, ""),
            (r#"{"name":"a",}"#, ""),
            (r#"{name:"a"}"#, ""),
            (r#"{"name":"a\ud800"}"#, ""),
            ("\u{feff}{\"name\":\"a\"}", ""),
            ("{\"name\":\"a\0\"}", ""),
            ("{\"name\":\"a\nb\"}", ""),
        ] {
            assert_eq!(refused(body).0, pointer, "{body}");
        }
        assert_eq!(refused(b"{\"name\":\"\xff\"}").0, "");
    }

    #[test]
    fn depth_and_numbers_beyond_reason_are_refused() {
        let deep = format!(r#"{{"name":{}{}}}"#, "[".repeat(8_000), "]".repeat(8_000));
        assert_eq!(refused(deep).0, "");
        let long = format!(r#"{{"name":{}}}"#, "9".repeat(15_000));
        refused(long);
    }

    #[test]
    fn a_body_of_very_many_members_is_refused_soon() {
        let members: Vec<String> = (0..2_000).map(|n| format!(r#""m{n}":0"#)).collect();
        assert_eq!(refused(format!("{{{}}}", members.join(","))).0, "/m0");
    }

    #[test]
    fn what_was_sent_is_not_shown_back_as_a_value() {
        let (_, detail) = refused(r#"{"name":123456789}"#);
        assert_eq!(detail, "a number is not allowed here");
    }

    #[test]
    fn only_json_in_utf_8_is_json() {
        for text in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
            assert!(is_json(text), "{text}");
        }
        for text in
            ["", "text/json", "application/json; charset=utf-16", "application/json; v=1", "application/jsonp", "*/*"]
        {
            assert!(!is_json(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read::<Sample>(&bytes);
        }

        #[test]
        fn any_text_without_nul_comes_through_unchanged(name in "[^\0]{0,50}") {
            let body = serde_json::json!({ "name": name }).to_string();
            prop_assert_eq!(read::<Sample>(body.as_bytes()).unwrap().name, name);
        }
    }
}
