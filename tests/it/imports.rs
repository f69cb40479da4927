//! The direction of imports, module by module and package by package, and the sizes files may have.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use tests::rust_source::{Edge, edges, module_of, rust_files};

/// Which modules of the crate a module may name beside itself. A module that is not listed has no place yet.
const MODULES: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("auth", &["domain"]),
    ("store", &["domain"]),
    ("spool", &["domain"]),
    ("limit", &["domain"]),
    ("crypto", &["domain", "sys"]),
    ("config", &["domain"]),
    ("http", &["auth", "domain", "lifecycle", "listener"]),
    ("admin", &["auth", "config", "domain", "lifecycle", "listener", "sys", "tasks"]),
    ("jobs", &["auth", "domain", "lifecycle", "sys", "tasks"]),
    ("feature", &["auth", "domain", "http", "store"]),
    ("listener", &["config", "lifecycle", "sys", "tasks"]),
    ("lifecycle", &["config", "log", "sys", "tasks"]),
    ("log", &["config"]),
    ("metrics", &["domain"]),
    ("sys", &[]),
    ("tasks", &[]),
];

/// Files that join everything and are held to nothing.
const JOINERS: &[&str] = &["daemon", "cli", "main"];

/// Modules that name no packages but these (and the standard library).
const ONLY_PACKAGES: &[(&str, &[&str])] = &[
    (
        "domain",
        &[
            "async_trait",
            "base64",
            "crc32fast",
            "getrandom",
            "idna",
            "ipnet",
            "sha2",
            "shared",
            "subtle",
            "thiserror",
            "unicode_normalization",
            "zeroize",
        ],
    ),
    ("auth", &["async_trait", "base64", "ipnet", "sha2", "shared", "subtle", "thiserror", "zeroize"]),
];

/// Packages that only these modules name (the joiners too).
const HOMES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("redis", &["limit"]),
    ("argon2", &["crypto"]),
    ("bcrypt", &["crypto"]),
    ("zxcvbn", &["crypto"]),
    ("jsonwebtoken", &["crypto"]),
    ("ed25519_dalek", &["crypto"]),
    ("p256", &["crypto"]),
    ("aes_gcm", &["crypto"]),
    ("hkdf", &["crypto"]),
    ("hmac", &["crypto"]),
    ("axum", &["http", "admin", "listener", "feature"]),
    ("tower", &["http", "admin", "listener", "feature"]),
    ("tower_http", &["http", "admin", "listener", "feature"]),
    ("hyper", &["http", "admin", "listener", "feature"]),
    ("hyper_util", &["http", "admin", "listener", "feature"]),
    ("http_body_util", &["http", "admin", "listener", "feature"]),
    ("utoipa", &["http", "feature"]),
    ("utoipa_axum", &["http", "feature"]),
    ("clap", &[]),
    ("anyhow", &[]),
    ("libc", &["sys"]),
    ("toml", &["config"]),
    ("prometheus", &["metrics"]),
    ("tracing_journald", &["log"]),
    ("tracing_subscriber", &["log"]),
];

const STANDARD: &[&str] = &["std", "core", "alloc"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn row<'a>(table: &'a [(&str, &'a [&'a str])], key: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(name, _)| *name == key).map(|(_, row)| *row)
}

/// What is wrong with the edges of the file at `file` (below `authd/src`).
fn wrong(file: &Path, source: &str) -> Vec<String> {
    let module = module_of(file);
    let Some(top) = module.first().map(String::as_str) else { return Vec::new() };
    if JOINERS.contains(&top) || is_test(file) {
        return Vec::new();
    }
    // Tests may use what tests need.
    if file.file_name().is_some_and(|name| name == "tests.rs") {
        return Vec::new();
    }
    let say = |what: String| format!("{}: {what}", file.display());
    let Some(may) = row(MODULES, top) else {
        return vec![say(format!(
            "`{top}` has no place in the direction of imports: give it one in tests/it/imports.rs"
        ))];
    };
    let edges = edges(source, &module);
    edges
        .iter()
        .filter_map(|edge| match edge {
            Edge::Module(to) if to == top || may.contains(&to.as_str()) => None,
            Edge::Module(to) => Some(say(format!("`{top}` must not import `crate::{to}`"))),
            Edge::Package(package) => wrong_package(top, package).map(say),
        })
        .collect()
}

/// A module of tests in a file of its own.
fn is_test(file: &Path) -> bool {
    file.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"))
}

fn wrong_package(top: &str, package: &str) -> Option<String> {
    let known = |name: &str| name.chars().next().is_some_and(char::is_lowercase) && !STANDARD.contains(&name);
    if !known(package) {
        return None;
    }
    if row(HOMES, package).is_some_and(|homes| !homes.contains(&top)) {
        return Some(format!("`{package}` does not belong into `{top}`"));
    }
    let only = row(ONLY_PACKAGES, top)?;
    let primitive =
        ["u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "isize", "f32", "f64", "str", "char"];
    (!only.contains(&package) && !primitive.contains(&package) && is_dependency(package))
        .then(|| format!("`{top}` must not use the package `{package}`"))
}

/// Whether `authd/Cargo.toml` has it: a path may also begin with a name that was imported.
fn is_dependency(package: &str) -> bool {
    let manifest = read(&root().join("authd/Cargo.toml"));
    manifest
        .lines()
        .any(|line| line.split(['.', ' ', '=']).next().is_some_and(|name| name.replace('-', "_") == package))
}

#[test]
fn every_module_of_authd_imports_only_what_its_place_allows() {
    let src = root().join("authd/src");
    let files = rust_files(&src);
    assert!(files.len() > 40, "only {} files found below {}", files.len(), src.display());
    let found: Vec<String> =
        files.iter().flat_map(|file| wrong(file.strip_prefix(&src).expect("below src"), &read(file))).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_checker_sees_a_forbidden_edge_however_it_is_written() {
    let refused = [
        ("domain/session.rs", "use crate::auth::Auth;"),
        ("domain/session.rs", "fn f(x: serde_json::Value) {}"),
        ("domain/session.rs", "use tokio::sync::Mutex;"),
        ("auth/login.rs", "use crate::{domain::session, store::Db};"),
        ("auth/login.rs", "#[tokio::main] async fn f() {}"),
        ("auth/login.rs", "fn f(x: serde::de::Error) {}"),
        ("http/login.rs", "use super::super::store::Db;"),
        ("http/mod.rs", "pub fn f() { crate::crypto::jwt::sign() }"),
        ("http/mod.rs", "fn f() { ::sqlx::query(\"\"); }"),
        ("admin/mod.rs", "use crate::limit;"),
        ("jobs/seal.rs", "use crate::store::{self, Db};"),
        ("jobs/seal.rs", "use axum::Router;"),
        ("store/mod.rs", "use crate::auth::Auth;"),
        ("limit/memory.rs", "use super::super::{domain, crypto};"),
        ("crypto/jwt.rs", "use hyper::Request;"),
        ("listener.rs", "use super::store::Db;"),
        ("newcomer/mod.rs", ""),
    ];
    for (file, source) in refused {
        assert_eq!(wrong(Path::new(file), source).len(), 1, "{file}: {source}");
    }
    let permitted = [
        (
            "domain/session.rs",
            "use std::fmt; use shared::id::SessionId; use crate::domain::{audit, clock}; fn f() { i64::from(1); }",
        ),
        ("auth/login.rs", "use super::refusal::Refusal; use crate::domain::audit::Event; // crate::store\n"),
        ("auth/login.rs", "#[cfg(test)] mod tests { use crate::store::Db; use tokio::time; }"),
        ("store/mod.rs", "use sqlx::SqlitePool; use crate::{domain::session::SessionStore, store::dialect};"),
        ("http/mod.rs", "use axum::Router; use crate::auth::Auth;"),
        ("daemon.rs", "use crate::{config, crypto, limit, store};"),
    ];
    for (file, source) in permitted {
        assert_eq!(wrong(Path::new(file), source), Vec::<String>::new(), "{file}: {source}");
    }
}

#[test]
fn no_source_file_has_more_than_500_lines() {
    let long: Vec<String> = ["authd/src", "authctl/src", "shared/src", "tests"]
        .iter()
        .flat_map(|dir| rust_files(&root().join(dir)))
        .filter(|file| !is_test(file))
        .map(|file| (read(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > 500)
        .map(|(lines, file)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "\n{}\n", long.join("\n"));
}

#[test]
fn both_programs_start_in_a_main_that_fits_on_a_screen() {
    for main in ["authd/src/main.rs", "authctl/src/main.rs"] {
        let lines = read(&root().join(main)).lines().count();
        assert!(lines <= 40, "{main} has {lines} lines");
    }
}

#[test]
fn every_migration_exists_for_both_databases() {
    let names = |kind: &str| -> BTreeSet<String> {
        let dir = root().join("migrations").join(kind);
        let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let (sqlite, postgres) = (names("sqlite"), names("postgres"));
    assert!(!sqlite.is_empty());
    assert_eq!(sqlite, postgres);
}
