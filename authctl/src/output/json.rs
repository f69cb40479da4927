//! The JSON documents and lines of `-o json` and `-o jsonl`.

use super::text::clean_json;
use crate::error::Error;
use serde::Serialize;
use serde_json::{Value, json};

fn printed(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Answer(error.to_string()))?;
    Ok(clean_json(&text) + "\n")
}

/// The document of a command: `authctl.{schema}/1`.
///
/// # Errors
/// [`Error::Answer`] when the data cannot be written as JSON.
pub fn envelope<T: Serialize + ?Sized>(
    schema: &str,
    data: &T,
    page: Value,
    warnings: &[String],
) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Envelope<'a, T: ?Sized> {
        schema: String,
        data: &'a T,
        page: Value,
        warnings: &'a [String],
    }
    printed(&Envelope { schema: format!("authctl.{schema}/1"), data, page, warnings })
}

/// The document of a failure: `authctl.error/1`.
///
/// # Errors
/// [`Error::Answer`] when it cannot be written as JSON.
pub fn error(error: &Error, hint: &str) -> Result<String, Error> {
    printed(&json!({
        "schema": "authctl.error/1",
        "error": {
            "code": error.code(),
            "message": error.to_string(),
            "hint": hint,
            "exit": error.exit().code(),
            "request_id": error.request_id(),
        },
    }))
}

/// One value a line.
///
/// # Errors
/// [`Error::Answer`] when a value cannot be written as JSON.
pub fn lines<T: Serialize>(items: &[T]) -> Result<String, Error> {
    let mut text = String::new();
    for item in items {
        let line = serde_json::to_string(item).map_err(|error| Error::Answer(error.to_string()))?;
        text.push_str(&clean_json(&line));
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_has_the_documented_fields() {
        let text = envelope("session.list", &[1, 2], json!({"next": null}), &["careful".to_owned()]).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let expected = json!({
            "schema": "authctl.session.list/1", "data": [1, 2], "page": {"next": null}, "warnings": ["careful"],
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn an_error_document_carries_what_a_script_needs() {
        let value: Value = serde_json::from_str(&error(&Error::Declined, "look").unwrap()).unwrap();
        assert_eq!(value["schema"], "authctl.error/1");
        assert_eq!(value["error"]["exit"], 13);
        assert_eq!(value["error"]["code"], "DECLINED");
        assert_eq!(value["error"]["request_id"], Value::Null);
    }
}
