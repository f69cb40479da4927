//! The configuration for people and programs: `config show` and the JSON schema.

use super::{Config, Effect, Key, Origin, Origins, keys, section_docs, value::Shape};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Dotted name as TOML writes it.
    pub key: String,
    /// Value as it would be written, secrets masked.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
    /// Default as it would be written.
    pub default: &'static str,
    /// What it means.
    pub doc: String,
    /// When a change takes effect.
    pub effect: Effect,
}

/// Every key with its value, in the order of the manual.
#[must_use]
pub fn describe(config: &Config, origins: &Origins) -> Vec<Described> {
    let row = |key: &'static Key| Described {
        key: key.toml_name(),
        value: key.show(config),
        origin: origins.get(&key.id()).cloned().unwrap_or(Origin::Default),
        default: key.default,
        doc: key.text(),
        effect: key.effect,
    };
    keys().map(row).collect()
}

/// JSON Schema (2020-12) of the configuration file.
#[must_use]
pub fn schema() -> Value {
    let mut root = Map::new();
    for (section, docs) in section_docs() {
        let mut properties = Map::new();
        for key in keys().filter(|key| key.section == *section) {
            properties.insert(key.name.to_owned(), key_schema(key));
        }
        let table = json!({
            "type": "object", "description": joined(docs), "additionalProperties": false, "properties": properties,
        });
        match section.split_once('.') {
            None => root.insert((*section).to_owned(), table),
            Some((outer, inner)) => {
                let outer = root.entry(outer).or_insert_with(|| {
                    json!({ "type": "object", "description": "Defaults of the limit policies.", "additionalProperties": false, "properties": {} })
                });
                let inside = outer.get_mut("properties").and_then(Value::as_object_mut);
                inside.and_then(|inside| inside.insert(inner.replace('"', ""), table))
            }
        };
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "authd.toml",
        "type": "object",
        "additionalProperties": false,
        "properties": root,
    })
}

fn key_schema(key: &Key) -> Value {
    let text = |form: &str| json!({ "type": "string", "description": form });
    let mut schema = match key.shape() {
        Shape::Text(_) | Shape::SpanOrAuto => json!({ "type": "string" }),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Whole => json!({ "type": "integer" }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::List(form) => json!({ "type": "array", "items": text(form) }),
        Shape::WholeOrAuto => json!({ "anyOf": [{ "type": "integer" }, { "const": "auto" }] }),
        Shape::FlagOrAuto => json!({ "anyOf": [{ "type": "boolean" }, { "const": "auto" }] }),
    };
    let Some(fields) = schema.as_object_mut() else { return schema };
    let later = if key.effect == Effect::Later { "Not in this version: " } else { "" };
    fields.insert("description".to_owned(), Value::String(format!("{later}{} ({}.)", key.text(), form(key))));
    fields.insert("default".to_owned(), default_value(key));
    if let (Shape::Whole, Some((low, high))) = (key.shape(), key.bounds) {
        let number = |text: &str| text.parse::<u64>().map_or(Value::Null, Value::from);
        fields.insert("minimum".to_owned(), number(low));
        fields.insert("maximum".to_owned(), number(high));
    }
    schema
}

fn default_value(key: &Key) -> Value {
    match key.shape() {
        Shape::Whole => key.default.parse::<u64>().map_or(Value::Null, Value::from),
        Shape::Flag => Value::Bool(key.default == "true"),
        Shape::List(_) => key.default.split(',').filter(|item| !item.is_empty()).map(Value::from).collect(),
        _ => Value::from(key.default),
    }
}

pub(super) fn joined(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// What is accepted, in a few words.
pub(super) fn form(key: &Key) -> String {
    let mut form = match key.shape() {
        Shape::Text(form) => form.to_owned(),
        Shape::Choice(words) => words.join(" | "),
        Shape::Whole => "number".to_owned(),
        Shape::Flag => "true or false".to_owned(),
        Shape::List(form) => format!("list: {form}"),
        Shape::WholeOrAuto => "number or auto".to_owned(),
        Shape::SpanOrAuto => "duration or auto".to_owned(),
        Shape::FlagOrAuto => "true, false or auto".to_owned(),
    };
    if let Some((low, high)) = key.bounds {
        let _ = write!(form, ", {low} to {high}");
    }
    form
}

/// The default as a line of a configuration file.
pub(super) fn default_line(key: &Key) -> String {
    match key.shape() {
        Shape::Whole | Shape::Flag => format!("{} = {}", key.name, key.default),
        Shape::List(_) => {
            let items: Vec<String> =
                key.default.split(',').filter(|item| !item.is_empty()).map(|item| format!("\"{item}\"")).collect();
            format!("{} = [{}]", key.name, items.join(", "))
        }
        _ => format!("{} = \"{}\"", key.name, key.default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::testing::args;

    #[test]
    fn values_are_shown_with_their_origin_and_without_secrets() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("kek"), "x").unwrap();
        let credentials = directory.path().to_str().unwrap();
        let url = "postgres://authd:s3cr3t@db/authd";
        let loaded =
            Config::load(&args(&[("CREDENTIALS_DIRECTORY", credentials), ("AUTHD_DATABASE__URL", url)])).unwrap();
        let rows = describe(&loaded.config, &loaded.origins);
        let row = rows.iter().find(|row| row.key == "database.url").unwrap();
        assert_eq!(row.value, "postgres://authd:***@db/authd");
        assert_eq!(row.origin, Origin::Env("AUTHD_DATABASE__URL".to_owned()));
        assert!(!format!("{loaded:?}").contains("s3cr3t"));
    }

    #[test]
    fn the_schema_has_every_key() {
        let schema = schema();
        for key in keys() {
            let table = match key.section.split_once('.') {
                None => &schema["properties"][key.section],
                Some((outer, inner)) => &schema["properties"][outer]["properties"][inner.replace('"', "")],
            };
            assert!(table["properties"][key.name]["description"].is_string(), "{}", key.id());
        }
    }

    #[test]
    fn every_default_line_is_accepted_as_a_file() {
        let mut text = String::new();
        for (section, _) in section_docs() {
            let _ = writeln!(text, "[{section}]");
            keys().filter(|key| key.section == *section).for_each(|key| {
                let _ = writeln!(text, "{}", default_line(key));
            });
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("authd.toml");
        std::fs::write(&file, text).unwrap();
        let mut args = args(&[]);
        let defaults = Config::load(&args).unwrap().config;
        args.file = Some(file);
        assert_eq!(Config::load(&args).map(|loaded| loaded.config), Ok(defaults));
    }
}
