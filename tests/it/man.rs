//! The manual pages in `man/` are what the programs would write, and what they tell people to type is understood.
//! `AUTHD_BLESS=1 tests/run manual` writes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../man")
}

/// Every page by its file name.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::from([
        ("authd.8".to_owned(), authd::cli::man_page().expect("authd(8) is written to memory")),
        ("authd.toml.5".to_owned(), authd::config::man_page()),
        ("authd-failures.7".to_owned(), authd::cli::failures_page()),
        ("authd-http.7".to_owned(), authd::cli::http_page()),
        ("authd-security.7".to_owned(), authd::cli::security_page()),
        ("authd-events.7".to_owned(), authd::cli::events_page()),
    ]);
    pages.extend(authctl::man_pages().expect("pages of authctl are written to memory"));
    pages
}

/// The lines of all examples.
fn examples(page: &str) -> Vec<String> {
    let blocks = page.split("\n.EX\n").skip(1).filter_map(|rest| rest.split_once("\n.EE"));
    blocks.flat_map(|(block, _)| block.lines().map(plain)).collect()
}

/// A line without the escapes of roff.
fn plain(line: &str) -> String {
    line.replace("\\-", "-").replace("\\(aq", "'").replace("\\(ti", "~")
}

/// The words of a line of a shell that uses quotes and nothing else.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in line.chars() {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, ' ') if !word.is_empty() => words.push(std::mem::take(&mut word)),
            (None, ' ') => {}
            _ => word.push(letter),
        }
    }
    words.into_iter().chain(Some(word).filter(|word| !word.is_empty())).collect()
}

#[test]
fn the_manual_is_what_the_programs_would_write() {
    let pages = pages();
    if std::env::var_os("AUTHD_BLESS").is_some() {
        std::fs::create_dir_all(directory()).expect("the source tree can be written");
        for (name, text) in &pages {
            std::fs::write(directory().join(name), text).expect("the source tree can be written");
        }
    }
    let again = "run `AUTHD_BLESS=1 tests/run manual` and look at the difference";
    for (name, text) in &pages {
        let found = std::fs::read_to_string(directory().join(name)).unwrap_or_default();
        assert!(found == *text, "man/{name} is stale: {again}");
    }
    let present = std::fs::read_dir(directory()).expect("there is a manual").flatten();
    let present = present.map(|entry| entry.file_name().to_string_lossy().into_owned());
    for name in present.filter(|name| name.starts_with("authctl")) {
        assert!(pages.contains_key(&name), "man/{name} is of a command that is gone: remove it");
    }
}

#[test]
fn the_manual_refers_to_pages_that_exist() {
    let pages = pages();
    let named = |name: &str, section: &str| format!("{}.{section}", plain(name));
    for (page, text) in &pages {
        let references = text.lines().filter_map(|line| line.strip_prefix(".BR ")?.split_once(" ("));
        for (name, rest) in references.filter(|(name, _)| name.starts_with("auth")) {
            let section = rest.chars().take(1).collect::<String>();
            assert!(pages.contains_key(&named(name, &section)), "{page} refers to {name}({section})");
        }
    }
}

#[test]
fn every_command_of_the_manuals_examples_is_understood() {
    let mut seen = BTreeSet::new();
    for (page, text) in pages() {
        for line in examples(&text).iter().filter(|line| line.starts_with("authctl ")) {
            // Where the output goes is the shell's business.
            let command = line.split(" > ").next().unwrap_or_default();
            let understood = authctl::command().try_get_matches_from(words(command));
            assert!(
                understood.is_ok(),
                "{page}: {line}: {}",
                understood.err().map_or_else(String::new, |e| e.to_string())
            );
            seen.insert(line.clone());
        }
    }
    assert!(seen.len() >= 10, "{seen:?}");
}

#[test]
fn the_manuals_example_of_a_configuration_can_be_used() {
    let page = pages().remove("authd.toml.5").expect("authd.toml(5)");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let kek = tests::daemon::new_kek(dir.path());
    let section = page.split_once("\n.SH EXAMPLE\n").and_then(|(_, rest)| rest.split("\n.SH ").next());
    let example = examples(&format!("\n{}\n", section.expect("an example"))).join("\n");
    let example = example.replace("/etc/authd/kek", &kek.display().to_string());
    assert!(example.contains("public_url"), "{example}");
    let file = dir.path().join("authd.toml");
    std::fs::write(&file, &example).expect("a temporary directory");
    let mut args = authd::config::Args::new(authd::config::Account::Other, []);
    args.file = Some(file);
    let loaded = authd::config::Config::load(&args);
    assert!(loaded.as_ref().is_ok_and(|loaded| loaded.warnings.is_empty()), "{loaded:#?}\n{example}");
}

#[test]
fn the_manual_has_the_date_of_its_version_and_only_macros_that_every_man_knows() {
    const KNOWN: [&str; 22] = [
        "TH", "SH", "SS", "PP", "TP", "IP", "B", "I", "BR", "RB", "BI", "IB", "IR", "RI", "EX", "EE", "RS", "RE", "br",
        "nh", "nr", "ad",
    ];
    for (page, text) in pages() {
        for line in text.lines().filter(|line| line.starts_with(['.', '\''])) {
            let name: String = line.chars().skip(1).take_while(char::is_ascii_alphanumeric).collect();
            let is_quote_definition = ["ie", "el"].contains(&name.as_str());
            assert!(KNOWN.contains(&name.as_str()) || is_quote_definition, "{page}: {line}");
            let dated = format!(" \"{}\" \"authd ", shared::roff::MANUAL_DATE);
            assert!(name != "TH" || line.contains(&dated), "{page}: {line}");
        }
        assert!(text.is_ascii(), "{page} would look different in another locale");
    }
}

#[test]
fn nothing_of_the_manual_displeases_mandoc() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in pages() {
        let file = dir.path().join(&name);
        std::fs::write(&file, text).expect("a temporary directory");
        let lint = std::process::Command::new("mandoc").args(["-T", "lint"]).arg(&file).output();
        let said = String::from_utf8_lossy(&lint.expect("mandoc is installed: tests/run does it").stdout).into_owned();
        // A line of an example is as long as what it shows; a reference to a page of another package is none of ours.
        let complaints = said.lines().filter(|line| !line.contains("referenced manual not found"));
        assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new(), "{name}");
    }
}
