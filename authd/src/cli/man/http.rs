//! authd-http(7): the public API for those who write clients, from the document that the daemon serves.

use serde_json::{Map, Value};
use shared::{
    error::ErrorCode,
    roff::{escape, prose, tidy, title},
};
use std::fmt::Write as _;

const HEAD: &str = include_str!("authd-http.head.roff");
const TAIL: &str = include_str!("authd-http.tail.roff");

/// Groups of routes: tag of the document, heading.
const GROUPS: [(&str, &str); 5] = [
    ("login", "Registration and login"),
    ("session", "Sessions"),
    ("user", "The caller's account"),
    ("gateway", "For gateways and verifiers"),
    ("service", "The service itself"),
];
/// Objects that answers have, in the order of the page.
const OBJECTS: [&str; 4] = ["Tokens", "User", "Session", "Problem"];

/// authd-http(7) in roff.
#[must_use]
pub fn http_page() -> String {
    let document = crate::http::openapi_document();
    let mut page = title("authd\\-http", 7, env!("CARGO_PKG_VERSION"), "authd") + HEAD;
    page +=
        ".SH ROUTES\nAfter each route: what its body takes, what it answers, and the codes it can be refused with.\n";
    page += "Every route can also answer the codes of trouble listed under ERRORS.\n";
    for (tag, heading) in GROUPS {
        let _ = writeln!(page, ".SS {}", escape(heading));
        page += &routes(&document, tag);
    }
    page += ".SH OBJECTS\n";
    for name in OBJECTS {
        let _ = write!(page, ".SS {name}\n{}", members(&document, name));
    }
    page += &errors();
    tidy(&(page + TAIL))
}

fn routes(document: &Value, tag: &str) -> String {
    let mut text = String::new();
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let tags = operation.get("tags").and_then(Value::as_array).into_iter().flatten();
            if tags.into_iter().any(|found| found == tag) {
                text += &route(document, &format!("{} {path}", method.to_uppercase()), operation);
            }
        }
    }
    text
}

fn route(document: &Value, name: &str, operation: &Value) -> String {
    let said = |field: &str| operation.get(field).and_then(Value::as_str).map(prose).unwrap_or_default();
    let mut text = format!(".TP\n.B \"{}\"\n{}\n", escape(name), said("summary"));
    let description = said("description");
    if !description.is_empty() {
        let _ = writeln!(text, "{description}");
    }
    let takes = body(document, operation).or_else(|| parameters(operation));
    if let Some(takes) = takes {
        let _ = writeln!(text, ".br\nTakes: {takes}.");
    }
    let (answers, refusals) = responses(operation);
    let _ = writeln!(text, ".br\nAnswers: {answers}.");
    if !refusals.is_empty() {
        let _ = writeln!(text, ".br\nRefuses: {refusals}.");
    }
    text
}

/// The members that a body takes, those that may be left out with a question mark.
fn body(document: &Value, operation: &Value) -> Option<String> {
    let name = operation.pointer("/requestBody/content/application~1json/schema/$ref")?.as_str()?;
    let schema = document.pointer(name.strip_prefix('#')?)?;
    let forms = match schema.get("oneOf").and_then(Value::as_array) {
        Some(forms) => forms.iter().map(form).collect(),
        None => vec![form(schema)],
    };
    Some(forms.join(", or "))
}

fn form(schema: &Value) -> String {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let members = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let names = members.map(|(name, _)| {
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        format!("{}{mark}", escape(name))
    });
    format!("{{{}}}", names.collect::<Vec<_>>().join(", "))
}

fn parameters(operation: &Value) -> Option<String> {
    let names = operation.get("parameters")?.as_array()?.iter().filter_map(|parameter| {
        let name = escape(parameter.get("name")?.as_str()?);
        let place = parameter.get("in")?.as_str()?;
        Some(if place == "query" { format!("?{name}=") } else { format!("{name} ({place})") })
    });
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// What it answers when all is well, and the codes it refuses with; those that every route has are left out.
fn responses(operation: &Value) -> (String, String) {
    let everywhere = [ErrorCode::Internal, ErrorCode::Overloaded, ErrorCode::StorageUnavailable, ErrorCode::ReadOnly];
    let (mut answers, mut refusals) = (Vec::new(), Vec::new());
    for (status, answer) in operation.get("responses").and_then(Value::as_object).into_iter().flatten() {
        let about = answer.get("description").and_then(Value::as_str).unwrap_or_default();
        if status.starts_with(['4', '5']) {
            let codes = about.split('`').filter(|code| ErrorCode::from_text(code).is_some());
            let own = codes.filter(|code| everywhere.iter().all(|common| common.as_str() != *code));
            refusals.extend(own.map(|code| format!("{status} {code}")));
        } else {
            answers.push(format!("{status} {}", prose(about.trim_end_matches('.'))));
        }
    }
    (answers.join("; "), refusals.join(", "))
}

fn members(document: &Value, name: &str) -> String {
    let none = Map::new();
    let members = document.pointer(&format!("/components/schemas/{name}/properties")).and_then(Value::as_object);
    let mut text = String::new();
    for (name, schema) in members.unwrap_or(&none) {
        let kind = kind(document, schema);
        let about = schema.get("description").and_then(Value::as_str).map(prose).unwrap_or_default();
        let _ = write!(
            text,
            ".TP\n.BR {} \" ({kind})\"\n{}\n",
            escape(name),
            if about.is_empty() { "\\&" } else { &about }
        );
    }
    text
}

fn kind(document: &Value, schema: &Value) -> String {
    let referred =
        schema.get("$ref").and_then(Value::as_str).and_then(|place| document.pointer(place.strip_prefix('#')?));
    match referred.unwrap_or(schema).get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "object".to_owned(),
    }
}

fn errors() -> String {
    let mut text = String::from(
        ".SH ERRORS\nA refusal is a problem document (RFC 9457).\nPrograms look at\n.B code\nand\n.BR retryable ,\n\
         people read\n.BR detail .\n\
         Codes of trouble, which any route can answer, are 500 and 503: nothing has changed then, or a repeat of the \
         same call finds out.\n",
    );
    for code in ErrorCode::ALL {
        let again = if code.is_retryable() { " The same request may succeed later: see Retry\\-After." } else { "" };
        let _ = write!(text, ".TP\n.BR {} \" ({})\"\n{}.{again}\n", code.as_str(), code.status(), prose(code.title()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_route_and_every_code_of_the_document() {
        let (page, document) = (http_page(), crate::http::openapi_document());
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let heading = format!(".B \"{}\"\n", escape(&format!("{} {path}", method.to_uppercase())));
                assert_eq!(page.matches(&heading).count(), 1, "{heading}");
            }
        }
        for code in ErrorCode::ALL {
            assert!(page.contains(&format!(".BR {} \" ({})\"", code.as_str(), code.status())), "{code:?}");
        }
        assert!(page.contains("Takes: {email, password, username?}."), "{page}");
    }
}
