//! The sources of the configuration in their order: files, environment, flags; each later one wins.

use super::{
    Config, Key, POLICIES, closest, keys,
    problem::{Origin, Problem, printable},
    value::Raw,
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Largest configuration file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Most files of `conf.d` that are read.
const FILES_MAX: usize = 256;

/// For whom the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The superuser.
    Root,
    /// Anybody else.
    Other,
}

/// What the caller of `authd` said, and the environment it runs in.
#[derive(Debug, Clone)]
pub struct Args {
    /// `--config`: this file must exist.
    pub file: Option<PathBuf>,
    /// Read when no file was named; may be absent.
    pub standard_file: PathBuf,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Who runs the daemon.
    pub account: Account,
}

impl Args {
    /// No flags, and this environment; names and values that are not UTF-8 are read with replacement characters.
    pub fn new(account: Account, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        Self {
            file: None,
            standard_file: PathBuf::from("/etc/authd/authd.toml"),
            data_dir: None,
            listen: None,
            environment: environment.into_iter().map(|(name, value)| (text(name), text(value))).collect(),
            account,
        }
    }

    /// An absolute path in a variable; of a list with colons the first.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let first = self.environment.get(name)?.split(':').next()?;
        first.starts_with('/').then(|| PathBuf::from(first))
    }
}

/// A value that was written somewhere.
pub(super) struct Written {
    raw: Raw,
    /// Tried when `raw` does not fit: the environment has no quotes to tell text from numbers.
    or_text: Option<String>,
    pub(super) origin: Origin,
}

impl Written {
    /// Puts the value into the configuration.
    pub(super) fn apply(&self, key: &Key, config: &mut Config) -> Result<(), String> {
        let first = key.set(config, &self.raw);
        match (&first, &self.or_text) {
            (Err(_), Some(text)) => key.set(config, &Raw::Text(text.clone())),
            _ => first,
        }
    }
}

/// Values by [`Key::id`].
pub(super) type Read = BTreeMap<String, Written>;

/// Reads all sources.
pub(super) fn read(args: &Args) -> (Read, Vec<Problem>) {
    let mut reader = Reader { read: Read::new(), problems: Vec::new() };
    reader.files(args);
    reader.environment(&args.environment);
    if let Some(listen) = &args.listen {
        let written = Written { raw: Raw::Text(listen.clone()), or_text: None, origin: Origin::Flag("--listen") };
        reader.read.insert("server.listen".to_owned(), written);
    }
    (reader.read, reader.problems)
}

struct Reader {
    read: Read,
    problems: Vec<Problem>,
}

impl Reader {
    fn files(&mut self, args: &Args) {
        let main = args.file.as_deref().unwrap_or(&args.standard_file);
        if args.file.is_some() || main.exists() {
            self.file(main);
        }
        let directory = main.parent().unwrap_or(Path::new("/")).join("conf.d");
        let Ok(entries) = std::fs::read_dir(&directory) else { return };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
        paths.sort();
        if paths.len() > FILES_MAX {
            let message = format!("{} files; at most {FILES_MAX} are read", paths.len());
            self.problems.push(Problem::new(Origin::File { path: directory.into(), line: 0 }, "", message));
        }
        paths.iter().take(FILES_MAX).for_each(|path| self.file(path));
    }

    fn file(&mut self, path: &Path) {
        let shared: Arc<Path> = path.into();
        let at = |line: usize| Origin::File { path: Arc::clone(&shared), line };
        let text = match read_text(path) {
            Ok(text) => text,
            Err(reason) => {
                let hint = "name an existing file with --config, and see that authd may read it";
                self.problems.push(Problem::new(at(0), "", format!("cannot be read: {reason}")).hint(hint));
                return;
            }
        };
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in &errors {
            let line = line_of(&text, error.span().map_or(0, |span| span.start));
            self.problems.push(Problem::new(at(line), "", printable(error.message())));
        }
        // After a syntax error the rest of the file may mean something else.
        if errors.is_empty() {
            let mut found = Vec::new();
            flatten(table.get_ref(), &mut Vec::new(), &mut found);
            found.sort_by_key(|(_, offset, _)| *offset);
            let mut seen = BTreeMap::new();
            for (path, offset, raw) in found {
                let line = line_of(&text, offset);
                let first = *seen.entry(path.join(".")).or_insert(line);
                if first != line {
                    self.problems.push(Problem::new(at(line), path.join("."), format!("already set in line {first}")));
                }
                self.take(&path, Written { raw, or_text: None, origin: at(line) });
            }
        }
    }

    fn environment(&mut self, environment: &BTreeMap<String, String>) {
        for (name, text) in environment {
            let Some(rest) = name.strip_prefix("AUTHD_") else { continue };
            let origin = Origin::Env(printable(name));
            let written = Written { raw: toml_value(text), or_text: Some(text.clone()), origin };
            if let Some(key) = keys().find(|key| key.env_name() == *name) {
                self.read.insert(key.id(), written);
            } else if rest.contains("__") {
                let parts: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
                self.unknown_variable(name, &parts, written);
            } else if let Some(key) = keys().find(|key| key.env_name().replace("__", "_") == *name) {
                // Other names are left alone: container platforms put AUTHD_PORT and the like into the environment.
                let hint = format!("write {}", key.env_name());
                self.problems.push(Problem::new(written.origin, "", "is not the name of a key").hint(hint));
            }
        }
    }

    fn unknown_variable(&mut self, name: &str, parts: &[String], written: Written) {
        if parts.first().is_some_and(|first| first == "feature" || first == "limit") {
            self.take(parts, written);
            return;
        }
        let names: Vec<String> = keys().map(Key::env_name).collect();
        let problem = Problem::new(written.origin, "", "no such key");
        let hint = closest(name, names.iter().map(String::as_str)).map(|name| format!("did you mean {name}?"));
        self.problems.push(with_hint(problem, hint));
    }

    /// Stores a value under its key, or says why there is none.
    fn take(&mut self, path: &[String], written: Written) {
        let id = path.join(".");
        if let Some(key) = keys().find(|key| key.id() == id) {
            self.read.insert(key.id(), written);
            return;
        }
        match path {
            [feature, rest @ ..] if feature == "feature" => self.feature(rest, &written),
            [limit, policy @ .., _] if limit == "limit" && !is_policy(&policy.join(".")) => {
                let message = format!("this version has no limit policy {}", printable(&policy.join(".")));
                let close =
                    closest(&policy.join("."), POLICIES.iter().copied()).map(|name| format!("did you mean {name}? "));
                let hint = format!("{}the policies are {}", close.unwrap_or_default(), POLICIES.join(", "));
                self.problems.push(Problem::new(written.origin, id, message).hint(hint));
            }
            _ => self.problems.push(unknown_key(path, written.origin)),
        }
    }

    /// Features of other versions may be named to be off.
    fn feature(&mut self, rest: &[String], written: &Written) {
        let off = written.raw == Raw::Flag(false);
        if matches!(rest, [_, last] if last == "enabled" && off) {
            return;
        }
        let name = rest.first().map_or("", String::as_str);
        let message = format!("this version has no feature {}", printable(name));
        let problem = Problem::new(written.origin.clone(), format!("feature.{}", rest.join(".")), message);
        self.problems.push(problem.hint("remove the section, or set enabled = false"));
    }
}

fn is_policy(name: &str) -> bool {
    // The environment cannot write the dot.
    POLICIES.iter().any(|policy| *policy == name || policy.replace('.', "_") == name)
}

fn unknown_key(path: &[String], origin: Origin) -> Problem {
    let (name, section) =
        path.split_last().map_or(("", ""), |(name, rest)| (name.as_str(), rest.first().map_or("", String::as_str)));
    let rest = path.split_last().map(|(_, rest)| rest.join(".")).unwrap_or_default();
    let siblings: Vec<&str> = keys().filter(|key| key.section.replace('"', "") == rest).map(|key| key.name).collect();
    let id = path.join(".");
    if !siblings.is_empty() {
        let hint = closest(name, siblings.iter().copied()).map(|name| format!("did you mean {name}?"));
        let elsewhere = keys().find(|key| key.name == name).map(|key| format!("did you mean {}?", key.toml_name()));
        let all = format!("[{rest}] has {}", siblings.join(", "));
        return Problem::new(origin, id, "no such key").hint(hint.or(elsewhere).unwrap_or(all));
    }
    let sections: Vec<&str> = keys().map(|key| key.section.split('.').next().unwrap_or_default()).collect();
    let unknown = if section.is_empty() { name } else { section };
    let hint = closest(unknown, sections.iter().copied()).map(|name| format!("did you mean [{name}]?"));
    let elsewhere = keys()
        .find(|key| section.is_empty() && key.name == name)
        .map(|key| format!("did you mean {}?", key.toml_name()));
    with_hint(Problem::new(origin, id, "no such section or key"), hint.or(elsewhere))
}

fn with_hint(problem: Problem, hint: Option<String>) -> Problem {
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn read_text(path: &Path) -> Result<String, std::io::Error> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX { Err(std::io::Error::other("larger than 1 MiB")) } else { Ok(text) }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Every value of a table with its path and byte offset; an empty table has no values and means nothing.
fn flatten(table: &DeTable<'_>, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, usize, Raw)>) {
    for (name, value) in table.iter() {
        path.push(name.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => flatten(inner, path, found),
            other => found.push((path.clone(), name.span().start, raw_of(other))),
        }
        path.pop();
    }
}

fn raw_of(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("a number that is too large"), Raw::Whole),
        DeValue::Float(_) => Raw::Other("a fraction"),
        DeValue::Boolean(flag) => Raw::Flag(*flag),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw_of(Spanned::get_ref(item))).collect()),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

/// The text as a TOML value, else as text.
fn toml_value(text: &str) -> Raw {
    DeValue::parse(text.trim()).map_or_else(|_| Raw::Text(text.to_owned()), |value| raw_of(value.get_ref()))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// An ordinary user with this environment and no file.
    pub(in crate::config) fn args(environment: &[(&str, &str)]) -> Args {
        let mut args = Args::new(Account::Other, environment.iter().map(|(name, value)| (name.into(), value.into())));
        args.standard_file = PathBuf::from("/nonexistent/authd.toml");
        args
    }
}
