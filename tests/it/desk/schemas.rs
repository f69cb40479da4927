//! What `-o json` prints is what `authctl schema` says.

use serde_json::Value;
use std::{collections::BTreeSet, path::Path};
use tests::daemon::Daemon;

/// What the value has that the schema does not allow: the part of JSON Schema 2020-12 that `authctl schema` uses.
fn violations(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut wrong = |what: String| found.push(format!("{place}: {what}"));
    if let Some(expected) = schema.get("const")
        && expected != value
    {
        wrong(format!("{value} is not {expected}"));
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        wrong(format!("{value} is none of {allowed:?}"));
    }
    if let Some(kind) = schema.get("type").and_then(Value::as_str) {
        let is_it = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("the schema says {other}"),
        };
        if !is_it {
            wrong(format!("{value} is no {kind}"));
        }
    }
    if let Some(start) = schema.get("pattern").and_then(Value::as_str).and_then(|pattern| pattern.split("_[").next())
        && let (Some(prefix), Some(text)) = (start.strip_prefix('^').filter(|start| start.len() == 3), value.as_str())
        && !(text.starts_with(&format!("{prefix}_")) && text.len() == 30)
    {
        wrong(format!("{text} is no id of the kind {prefix}"));
    }
    if schema.get("format").is_some_and(|format| format == "date-time") {
        let is_time = value.as_str().is_some_and(|text| text.parse::<shared::time::Timestamp>().is_ok());
        if !is_time {
            wrong(format!("{value} is no time"));
        }
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if value.as_object().is_some_and(|members| !members.contains_key(name)) {
            wrong(format!("{name} is missing"));
        }
    }
    if let Some(forms) = schema.get("anyOf").and_then(Value::as_array)
        && forms.iter().all(|form| !violations(form, value, place).is_empty())
    {
        wrong(format!("{value} has none of the forms {forms:?}"));
    }
    let members = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    for (name, inner) in members {
        if let Some(member) = value.get(name) {
            found.extend(violations(inner, member, &format!("{place}/{name}")));
        }
    }
    if let (Some(inner), Some(items)) = (schema.get("items"), value.as_array()) {
        found.extend(items.iter().flat_map(|item| violations(inner, item, &format!("{place}/*"))));
    }
    found
}

/// Members that the schema does not know: they are allowed, and a sign that the schema is behind.
fn unknown(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let Some(known) = schema.get("properties").and_then(Value::as_object) else {
        let forms = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        let of_forms = forms.flat_map(|form| unknown(form, value, place));
        let items = value.as_array().into_iter().flatten();
        let of_items = items.flat_map(|item| unknown(schema.get("items").unwrap_or(&Value::Null), item, place));
        return of_forms.chain(of_items).collect();
    };
    let members = value.as_object().into_iter().flatten();
    members
        .flat_map(|(name, member)| match known.get(name) {
            None => vec![format!("{place}/{name}")],
            Some(inner) => unknown(inner, member, &format!("{place}/{name}")),
        })
        .collect()
}

/// Asserts that a document is of its kind.
fn assert_of_its_kind(document: &Value) {
    let kind = document["schema"].as_str().expect("a document says its kind");
    let schema = authctl::schema::of(kind).unwrap_or_else(|| panic!("`authctl schema` does not know {kind}"));
    let found = violations(&schema, document, kind);
    assert!(found.is_empty(), "{found:#?}\n{document:#}");
    let more = unknown(&schema, document, kind);
    assert!(more.is_empty(), "the schema does not know {more:?}");
}

on_both! {
    async fn the_output_of_every_command_is_of_its_schema(options) {
        let daemon = Daemon::start(options.config("[limit.\"login.account\"]\nburst = 2\nfirst_delay = \"60s\"")).await;
        let tokens = daemon.client().register("ada@example.org").await;
        daemon.client().login("ada@example.org").await;
        for _ in 0..4 {
            daemon.client().try_login("ada@example.org", "not-her-password").await;
        }
        let key = daemon.ctl().run(&["key", "list", "-o", "ids"]).await.stdout;
        let key = key.lines().next().expect("a key");
        let ada = "ada@example.org";
        let backup = daemon.data_dir().join("backup").to_string_lossy().into_owned();
        let lines: Vec<Vec<&str>> = vec![
            vec!["status"],
            vec!["session", "list"],
            vec!["session", "show", &tokens.session],
            vec!["user", "list"],
            vec!["user", "show", ada],
            vec!["key", "list"],
            vec!["key", "show", key],
            vec!["key", "jwks"],
            vec!["key", "rotate", "--dry-run"],
            vec!["limit", "list"],
            vec!["limit", "show", "login.account"],
            vec!["limit", "top"],
            vec!["limit", "test", "login.net", "1/h", "--replay", "1h"],
            vec!["limit", "set", "login.ip", "20/min", "--for", "1h"],
            vec!["limit", "reset", "login.ip"],
            vec!["mode", "show"],
            vec!["mode", "set", "normal", "--yes"],
            vec!["ban", "add", "192.0.2.1", "--for", "1h"],
            vec!["ban", "list"],
            vec!["ban", "remove", "192.0.2.1"],
            vec!["allow", "add", "192.0.2.1"],
            vec!["allow", "list"],
            vec!["allow", "remove", "192.0.2.1"],
            vec!["audit", "list"],
            vec!["audit", "tail"],
            vec!["audit", "show", "1"],
            vec!["audit", "stats"],
            vec!["audit", "checkpoint"],
            vec!["audit", "verify"],
            vec!["audit", "purge", "--yes"],
            vec!["events"],
            vec!["breaker", "list"],
            vec!["breaker", "close", "database"],
            vec!["config", "show"],
            vec!["config", "check"],
            vec!["config", "diff"],
            vec!["reload", "--dry-run"],
            vec!["db", "status"],
            vec!["db", "migrate"],
            vec!["db", "backup", "unused", "--dry-run"],
            vec!["db", "backup", &backup],
            vec!["db", "verify-backup", &backup],
            vec!["why", ada],
            vec!["why", &tokens.session],
            vec!["why", "127.0.0.1"],
            vec!["user", "create", "eve@example.org"],
            vec!["user", "reset-password", "eve@example.org"],
            vec!["user", "disable", "eve@example.org", "--yes"],
            vec!["user", "enable", "eve@example.org"],
            vec!["user", "unlock", "eve@example.org"],
            vec!["user", "logout", "eve@example.org", "--yes"],
            vec!["user", "delete", "eve@example.org", "--yes"],
            vec!["session", "revoke", "--user", ada, "--yes"],
            vec!["session", "epoch-bump", "--yes"],
            vec!["doctor"],
            vec!["top"],
            vec!["schema"],
            vec!["version"],
            vec!["session", "show", "ses_01hzzzzzzzzzzzzzzzzzzzzzzz"],
        ];
        for line in lines {
            let args = [&line[..], &["-o", "json"]].concat();
            let ran = daemon.ctl().run(&args).await;
            assert!(matches!(ran.code, Some(0 | 14)) || ran.json()["schema"] == "authctl.error/1", "{line:?}: {ran:?}");
            assert_of_its_kind(&ran.json());
        }
    }
}

#[test]
fn a_document_that_is_not_of_its_kind_is_noticed() {
    let schema = authctl::schema::of("version").expect("a kind");
    let good =
        serde_json::json!({"schema": "authctl.version/1", "data": {"version": "1"}, "page": null, "warnings": []});
    assert!(violations(&schema, &good, "").is_empty());
    for (pointer, value) in [("/data/version", 1.into()), ("/schema", "authctl.status/1".into()), ("/page", 1.into())] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect("a member") = value;
        assert!(!violations(&schema, &bad, "").is_empty(), "{bad}");
    }
    let users = authctl::schema::of("user.show").expect("a kind");
    assert!(!violations(&users["properties"]["data"], &serde_json::json!({"id": "ses_x"}), "").is_empty());
}

/// Names of kinds in the source: what stands beside `schema:` or begins a document, a list or an item.
fn kinds_in(text: &str) -> BTreeSet<String> {
    let product = text.split("#[cfg(test)]").next().unwrap_or_default();
    let is_kind = |word: &&str| {
        let (noun, verb) = word.split_once('.').unwrap_or((word, "x"));
        [noun, verb].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
    };
    let after = |marker: &'static str| {
        let starts = product.split(marker).skip(1);
        starts
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
            .filter(is_kind)
            .map(str::to_owned)
    };
    ["schema: ", "output.list(", "output.item(", "output.document(", ", _>("].into_iter().flat_map(after).collect()
}

#[test]
fn every_kind_that_a_command_prints_has_a_schema() {
    let mut kinds = BTreeSet::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../authctl/src/cmd")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("the source of authctl").flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                kinds.extend(kinds_in(&text));
            }
        }
    }
    assert!(kinds.len() > 25, "{kinds:?}");
    let without: Vec<&String> = kinds.iter().filter(|kind| authctl::schema::of(kind).is_none()).collect();
    assert!(without.is_empty(), "add these to authctl/src/schema.rs: {without:?}");
}
