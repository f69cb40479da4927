//! The JSON schemas of what `-o json` prints: one a kind, made from the types of the admin API.
//!
//! The answer of a call `/v1/noun/verb` is printed as the kind `noun.verb`, so a new call has a kind without a line
//! here; [`OTHERS`] has the kinds that are not just a call's answer.

use crate::cmd::{config::Difference, db::Migration};
use serde_json::{Map, Value, json};
use shared::{
    admin::{
        CALLS, Page, Shape,
        audit::Event,
        db::{BackedUp, Moved, Verified},
        doctor::Check,
        limit::{Limit, Limited},
        user,
    },
    chain::Report,
    schema,
};
use std::collections::BTreeMap;

/// What stands in `data`.
enum Data {
    /// One thing.
    One(Value),
    /// A list, with `page` beside it.
    List(Value),
}

/// A kind that is not just a call's answer, and what stands in its `data`.
type Other = (&'static str, fn() -> Data);

const OTHERS: &[Other] = &[
    ("audit.verify", || Data::One(schema::of::<Report>())),
    ("config.diff", || Data::List(schema::of::<Difference>())),
    ("doctor", || Data::List(schema::of::<Check>())),
    ("db.backup", || Data::One(schema::of::<BackedUp>())),
    ("db.migrate", || Data::One(schema::of::<Migration>())),
    ("audit.show", || Data::One(event_shown())),
    ("db.move", || Data::One(schema::of::<Moved>())),
    ("db.verify-backup", || Data::One(schema::of::<Verified>())),
    ("events", || Data::List(schema::of::<Event>())),
    ("limit.show", || Data::One(limit_shown())),
    ("man", || Data::One(object(&[("pages", json!({"type": "array", "items": {"type": "string"}}))]))),
    ("schema", || Data::List(schema::of::<crate::cmd::schema::Kind>())),
    ("top", || Data::One(schema::of::<crate::cmd::top::View>())),
    ("user.delete", changed_users),
    ("user.disable", changed_users),
    ("user.enable", changed_users),
    ("user.export-file", || Data::One(schema::of::<crate::cmd::user::Exported>())),
    ("user.import", || Data::One(schema::of::<crate::cmd::user::ImportedFile>())),
    ("user.logout", changed_users),
    ("user.unlock", changed_users),
    ("version", || Data::One(object(&[("version", json!({"type": "string"}))]))),
];

/// Every kind, in the order of the alphabet.
#[must_use]
pub fn kinds() -> Vec<String> {
    schemas().into_keys().chain([ERROR.to_owned()]).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// The schema of the document that `-o json` prints for this kind (`session.list`, `authctl.session.list/1`).
#[must_use]
pub fn of(kind: &str) -> Option<Value> {
    let kind = kind.strip_prefix("authctl.").unwrap_or(kind);
    let kind = kind.strip_suffix("/1").unwrap_or(kind);
    if kind == ERROR {
        return Some(error());
    }
    schemas().remove(kind).map(|make| envelope(kind, make))
}

const ERROR: &str = "error";

fn schemas() -> BTreeMap<String, Data> {
    let of_calls = CALLS.iter().map(|call| {
        let answer = (call.answer)();
        let data = match call.shape {
            Shape::Value => page_items(&answer).map_or(Data::One(answer), Data::List),
            Shape::Lines => Data::List(answer),
        };
        (call.path.trim_start_matches("/v1/").replace('/', "."), data)
    });
    let others = OTHERS.iter().map(|(kind, make)| ((*kind).to_owned(), make()));
    of_calls.chain(others).collect()
}

/// What a page has items of, if the schema is a page's.
fn page_items(answer: &Value) -> Option<Value> {
    let page = schema::of::<Page<u8>>();
    let is_page = answer.get("required").is_some_and(|names| page.get("required") == Some(names));
    answer.pointer("/properties/items/items").filter(|_| is_page).cloned()
}

fn changed_users() -> Data {
    Data::One(json!({"type": "array", "items": schema::of::<user::Changed>()}))
}

/// A limit with those it refuses, written into one object.
fn limit_shown() -> Value {
    let limited = json!({"type": "array", "items": schema::of::<Limited>()});
    joined(schema::of::<Limit>(), &[("limited", limited)])
}

/// An event with its proofs, written into one object.
fn event_shown() -> Value {
    let (mac, hash) = (json!({"type": "string"}), json!({"type": ["string", "null"]}));
    joined(schema::of::<Event>(), &[("mac", mac), ("hash", hash)])
}

/// An object with these members more.
fn joined(mut object: Value, more: &[(&str, Value)]) -> Value {
    for (name, schema) in more {
        if let Some(members) = object.get_mut("properties").and_then(Value::as_object_mut) {
            members.insert((*name).to_owned(), schema.clone());
        }
        if let Some(names) = object.get_mut("required").and_then(Value::as_array_mut) {
            names.push(json!(name));
        }
    }
    object
}

fn object(members: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    let members: Map<String, Value> =
        members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({"type": "object", "required": names, "properties": members})
}

fn or_null(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn document(kind: &str, members: &[(&str, Value)]) -> Value {
    let name = format!("authctl.{kind}/1");
    let mut all = vec![("schema", json!({"const": name}))];
    all.extend(members.iter().map(|(name, schema)| (*name, schema.clone())));
    let mut schema = object(&all);
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        members.insert("title".to_owned(), json!(name));
    }
    schema
}

fn envelope(kind: &str, data: Data) -> Value {
    let (data, page) = match data {
        Data::One(data) => (data, json!({"type": "null"})),
        Data::List(item) => {
            let page = object(&[
                ("next", or_null(&json!({"type": "string"}))),
                ("total", or_null(&json!({"type": "integer", "minimum": 0}))),
                ("total_exact", json!({"type": "boolean"})),
            ]);
            (json!({"type": "array", "items": item}), page)
        }
    };
    let warnings = json!({"type": "array", "items": {"type": "string"}});
    document(kind, &[("data", data), ("page", page), ("warnings", warnings)])
}

fn error() -> Value {
    let text = json!({"type": "string"});
    let error = object(&[
        ("code", text.clone()),
        ("message", text.clone()),
        ("hint", text.clone()),
        ("exit", json!({"type": "integer", "minimum": 1, "maximum": 255})),
        ("request_id", or_null(&text)),
    ]);
    document(ERROR, &[("error", error)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_kind_and_its_name_may_be_given_in_full() {
        let schema = of("authctl.session.list/1").unwrap();
        assert_eq!(schema["title"], "authctl.session.list/1");
        assert_eq!(schema["properties"]["data"]["items"]["properties"]["state"]["enum"][0], "live");
        assert_eq!(schema["properties"]["page"]["properties"]["total_exact"]["type"], "boolean");
        assert_eq!(of("session.show").unwrap()["properties"]["page"]["type"], "null");
        assert_eq!(of("session.explode"), None);
    }

    #[test]
    fn the_kinds_are_those_of_all_calls_and_the_others() {
        let kinds = kinds();
        assert!(kinds.is_sorted() && kinds.len() > CALLS.len());
        assert!(kinds.iter().all(|kind| of(kind).is_some()));
    }
}
