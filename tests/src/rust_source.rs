//! Reads which paths a Rust source file names, well enough to hold modules to their direction of imports.
//!
//! Not a parser: comments, literals and `#[cfg(test)]` items are taken out, the rest is cut into words, and every path
//! is followed to its root. It errs on the side of seeing a path.

use std::path::{Path, PathBuf};

/// A word of the source: an identifier, `::`, or one other character.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Name(String),
    Colons,
    Other(char),
}

/// After these a leading `::` begins a path.
const KEYWORDS_BEFORE_PATHS: &[&str] =
    &["use", "in", "as", "dyn", "impl", "return", "mut", "for", "else", "match", "if"];

/// A path that a file names, by its first two segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Edge {
    /// `crate::<module>`, also when it was written with `super`.
    Module(String),
    /// `<package>::…`, a package or the standard library.
    Package(String),
}

/// Files with the ending `.rs` below `dir`, sorted.
///
/// # Panics
/// When `dir` cannot be read: the test that asked cannot go on.
#[must_use]
pub fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The module a file makes, from its path below `src`: `http/login.rs` is `["http", "login"]`, `http/mod.rs`
/// `["http"]`.
#[must_use]
pub fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// Every edge of a file that makes the module `module`, each once; tests inside the file are left out.
#[must_use]
pub fn edges(source: &str, module: &[String]) -> Vec<Edge> {
    let words = without_tests(&words(source));
    let locals = declared_modules(&words);
    let grouped = inside_groups(&words);
    let roots = (0..words.len()).zip(grouped).filter(|(_, grouped)| !grouped).map(|(at, _)| at);
    let mut edges: Vec<Edge> = roots.flat_map(|at| edges_at(&words, at, module, &locals)).collect();
    edges.sort();
    edges.dedup();
    edges
}

/// The edges of the path that starts at `at`, if one does.
fn edges_at(words: &[Word], at: usize, module: &[String], locals: &[String]) -> Vec<Edge> {
    let Some(Word::Name(root)) = words.get(at) else { return Vec::new() };
    let inside_a_path = at > 0 && matches!(words.get(at - 1), Some(Word::Colons | Word::Other('.')));
    let leading = inside_a_path && words.get(at - 1) == Some(&Word::Colons) && !ends_a_segment(words, at - 1);
    if inside_a_path && !leading {
        return Vec::new();
    }
    let opens_path = words.get(at + 1) == Some(&Word::Colons);
    match root.as_str() {
        "crate" if opens_path => modules_at(words, at + 2),
        "super" if opens_path => climb(words, at, module),
        "self" | "Self" | "super" | "crate" => Vec::new(),
        keyword if opens_path && KEYWORDS_BEFORE_PATHS.contains(&keyword) => Vec::new(),
        _ if opens_path && !locals.contains(root) => vec![Edge::Package(root.clone())],
        _ if !opens_path && imports_whole_package(words, at) => vec![Edge::Package(root.clone())],
        _ => Vec::new(),
    }
}

/// Whether the `::` at `at` continues a path (`a::b`, `<T>::b`) rather than starting one (`::a`).
fn ends_a_segment(words: &[Word], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| words.get(before));
    match before {
        Some(Word::Name(name)) => !KEYWORDS_BEFORE_PATHS.contains(&name.as_str()),
        Some(Word::Other('>')) => at < 2 || words.get(at - 2) != Some(&Word::Other('-')),
        _ => false,
    }
}

/// `use sqlx;`, `use sqlx as s;`, `use {sqlx, …}` at the top, `extern crate sqlx`.
fn imports_whole_package(words: &[Word], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| words.get(before));
    matches!(before, Some(Word::Name(name)) if name == "use")
        || matches!(before, Some(Word::Name(name)) if name == "crate" && words.get(at.saturating_sub(2)) == Some(&Word::Name("extern".into())))
}

/// The modules named where a path under `crate` goes on: one name, or the first names of a group.
fn modules_at(words: &[Word], at: usize) -> Vec<Edge> {
    match words.get(at) {
        Some(Word::Name(name)) => vec![Edge::Module(name.clone())],
        Some(Word::Other('{')) => group_heads(words, at).into_iter().map(Edge::Module).collect(),
        _ => Vec::new(),
    }
}

/// First names inside `{a, b::{c, d}, e}`: a, b, e.
fn group_heads(words: &[Word], open: usize) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0_usize;
    let mut fresh = false;
    for word in words.iter().skip(open) {
        match word {
            Word::Other('{') => {
                depth += 1;
                fresh = depth == 1;
            }
            Word::Other('}') if depth == 1 => return heads,
            Word::Other('}') => depth -= 1,
            Word::Other(',') if depth == 1 => fresh = true,
            Word::Name(name) if fresh => {
                heads.push(name.clone());
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

/// Follows `super::super::x` from `module`; what stays inside the top module is an edge to itself.
fn climb(words: &[Word], at: usize, module: &[String]) -> Vec<Edge> {
    let mut ups = 0;
    let mut next = at;
    while words.get(next) == Some(&Word::Name("super".into())) && words.get(next + 1) == Some(&Word::Colons) {
        ups += 1;
        next += 2;
    }
    if ups >= module.len() { modules_at(words, next) } else { Vec::new() }
}

/// For each word, whether it stands inside the braces of `a::{…}`, where no path begins.
fn inside_groups(words: &[Word]) -> Vec<bool> {
    let mut open: Vec<bool> = Vec::new();
    let mut inside = Vec::with_capacity(words.len());
    let mut before = None;
    for word in words {
        inside.push(open.contains(&true));
        match word {
            Word::Other('{') => open.push(before == Some(&Word::Colons)),
            Word::Other('}') => drop(open.pop()),
            _ => {}
        }
        before = Some(word);
    }
    inside
}

/// Names after `mod`: they shadow packages in paths.
fn declared_modules(words: &[Word]) -> Vec<String> {
    let pairs = words.iter().zip(words.iter().skip(1));
    pairs
        .filter_map(|(first, second)| match (first, second) {
            (Word::Name(keyword), Word::Name(name)) if keyword == "mod" => Some(name.clone()),
            _ => None,
        })
        .collect()
}

/// Takes out every item under `#[cfg(test)]`.
fn without_tests(words: &[Word]) -> Vec<Word> {
    let name = |text: &str| Word::Name(text.to_owned());
    let mark = [
        Word::Other('#'),
        Word::Other('['),
        name("cfg"),
        Word::Other('('),
        name("test"),
        Word::Other(')'),
        Word::Other(']'),
    ];
    let mut kept = Vec::with_capacity(words.len());
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if words.get(at..).is_some_and(|rest| rest.starts_with(&mark)) {
            at = end_of_item(words, at + mark.len());
        } else {
            kept.push(word.clone());
            at += 1;
        }
    }
    kept
}

/// Where the item that starts at `at` is over: after its `;` or its closing brace.
fn end_of_item(words: &[Word], at: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, word) in words.iter().enumerate().skip(at) {
        match word {
            Word::Other('{') => depth += 1,
            Word::Other('}') => {
                depth -= 1;
                if depth == 0 {
                    return offset + 1;
                }
            }
            Word::Other(';') if depth == 0 => return offset + 1,
            _ => {}
        }
    }
    words.len()
}

/// Cuts source into words; comments and literals leave nothing.
fn words(source: &str) -> Vec<Word> {
    let text: Vec<char> = source.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(&here) = text.get(at) {
        let next = text.get(at + 1).copied();
        at = match (here, next) {
            ('/', Some('/')) => skip_while(&text, at, |c| c != '\n'),
            ('/', Some('*')) => skip_block_comment(&text, at),
            ('r', Some('"' | '#')) if is_raw_string(&text, at + 1) => skip_raw_string(&text, at + 1),
            ('b', Some('r')) if is_raw_string(&text, at + 2) => skip_raw_string(&text, at + 2),
            ('"', _) => skip_quoted(&text, at),
            ('b' | 'c', Some('"')) => skip_quoted(&text, at + 1),
            ('\'', _) => skip_char_or_lifetime(&text, at),
            (':', Some(':')) => {
                words.push(Word::Colons);
                at + 2
            }
            _ if here.is_alphanumeric() || here == '_' => {
                let end = skip_while(&text, at, |c| c.is_alphanumeric() || c == '_');
                let name: String = text.get(at..end).unwrap_or_default().iter().collect();
                words.push(Word::Name(name));
                end
            }
            _ => {
                if !here.is_whitespace() {
                    words.push(Word::Other(here));
                }
                at + 1
            }
        };
    }
    words
}

fn skip_while(text: &[char], at: usize, keep: impl Fn(char) -> bool) -> usize {
    text.iter().enumerate().skip(at).find(|(_, c)| !keep(**c)).map_or(text.len(), |(end, _)| end)
}

fn skip_block_comment(text: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut at = at;
    loop {
        match (text.get(at), text.get(at + 1)) {
            (Some('/'), Some('*')) => {
                depth += 1;
                at += 2;
            }
            (Some('*'), Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            (None, _) => return text.len(),
            _ => at += 1,
        }
    }
}

/// Whether hashes from `at` on end in a quote: `r#"…"#` is a string, `r#type` a name.
fn is_raw_string(text: &[char], at: usize) -> bool {
    text.get(skip_while(text, at, |c| c == '#')) == Some(&'"')
}

fn skip_raw_string(text: &[char], at: usize) -> usize {
    let quote = skip_while(text, at, |c| c == '#');
    let hashes = quote - at;
    let mut end = quote + 1;
    while end < text.len() {
        let closed = text.get(end) == Some(&'"') && skip_while(text, end + 1, |c| c == '#') - (end + 1) >= hashes;
        if closed {
            return end + 1 + hashes;
        }
        end += 1;
    }
    text.len()
}

fn skip_quoted(text: &[char], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(here) = text.get(at) {
        match here {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn skip_char_or_lifetime(text: &[char], at: usize) -> usize {
    match (text.get(at + 1), text.get(at + 2)) {
        (Some('\\'), _) => skip_while(text, at + 3, |c| c != '\'') + 1,
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges_of(source: &str, module: &str) -> Vec<Edge> {
        edges(source, &module_of(Path::new(module)))
    }

    fn module(name: &str) -> Edge {
        Edge::Module(name.into())
    }

    fn package(name: &str) -> Edge {
        Edge::Package(name.into())
    }

    #[test]
    fn paths_groups_and_expressions_are_seen() {
        assert_eq!(edges_of("use crate::store::Db;", "http/login.rs"), [module("store")]);
        assert_eq!(
            edges_of("use crate::{auth::{self, Auth}, domain, store::{a, b}};", "http/mod.rs"),
            [module("auth"), module("domain"), module("store")]
        );
        assert_eq!(edges_of("fn f() { let x = crate::limit::memory(); }", "auth/mod.rs"), [module("limit")]);
        assert_eq!(edges_of("fn f(db: &sqlx::PgPool) {}", "auth/mod.rs"), [package("sqlx")]);
        assert_eq!(edges_of("#[tokio::test] async fn f() {}", "auth/mod.rs"), [package("tokio")]);
        assert_eq!(edges_of("use sqlx as s; use ::axum::Router;", "auth/mod.rs"), [package("axum"), package("sqlx")]);
        assert_eq!(edges_of("fn f() -> ::axum::Router { todo() }", "auth/mod.rs"), [package("axum")]);
    }

    #[test]
    fn super_is_followed_to_the_root() {
        assert_eq!(edges_of("use super::super::store::Db;", "http/login.rs"), [module("store")]);
        assert_eq!(edges_of("use super::store::Db;", "http/mod.rs"), [module("store")]);
        assert_eq!(edges_of("use super::{store::Db, limit};", "http.rs"), [module("limit"), module("store")]);
        assert_eq!(edges_of("use super::store::Db;", "http/login.rs"), []);
    }

    #[test]
    fn comments_literals_tests_and_own_modules_are_not_edges() {
        let source = r##"
            //! use crate::store::Db;
            /* crate::a /* sqlx::b */ crate::c */
            mod http; use http::x;
            const A: &str = "crate::store"; const B: &str = r#"sqlx::"#; const C: char = '"'; const D: &'static str = "\"axum::";
            fn f<'a>(x: &'a str) -> u8 { b'\'' }
            #[cfg(test)] use crate::limit;
            #[cfg(test)] mod tests { use crate::store::Db; fn g() { sqlx::query("") } }
            fn h() { x.sqlx(); y::sqlx::z(); Self::a(); <T>::b(); }
        "##;
        assert_eq!(edges_of(source, "auth/mod.rs"), [package("y")]);
    }
}
