//! The configuration file that a package installs: every key with its default, commented out.

use super::{
    Effect, Key,
    describe::{default_line, form, joined},
    keys, section_docs,
};
use std::fmt::Write as _;

/// Letters of a line, without the "# " in front of it.
const WIDTH: usize = 98;

const HEAD: &str = "\
# Configuration of authd, see authd.toml(5). Every key stands here with its default: to change one,
# remove the # in front of it. More files can stand in conf.d/*.toml beside this one; they win.
#
#   authd check                 lists what is wrong, with file and line
#   systemctl reload authd      puts what is marked \"live\" into force; the rest waits for a restart
#
# Set server.public_url before the first login: it is the issuer of every token.
";

/// The file as it stands in the package: true, because it is written from the table of keys.
#[must_use]
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    for (section, docs) in section_docs() {
        let present: String =
            keys().filter(|key| key.section == *section && key.effect != Effect::Later).map(entry).collect();
        if !present.is_empty() {
            let _ = write!(text, "\n{}[{section}]\n{present}", comment(&joined(docs)));
        }
    }
    text
}

fn entry(key: &Key) -> String {
    let live = if key.effect == Effect::Live { "; live" } else { "" };
    format!("{}#{}\n\n", comment(&format!("{} ({}{live})", key.text(), form(key))), default_line(key))
}

/// Text as lines of a comment.
fn comment(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("# {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, source::testing::args};

    /// The file as somebody leaves it who removes the mark in front of every key.
    fn opened() -> String {
        let mut text = String::new();
        for line in example().lines() {
            let _ = writeln!(text, "{}", line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line));
        }
        text
    }

    #[test]
    fn the_example_changes_nothing_and_what_it_says_are_the_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let mut args = args(&[]);
        let defaults = Config::load(&args).unwrap().config;
        for text in [example(), opened()] {
            let file = directory.path().join("authd.toml");
            std::fs::write(&file, &text).unwrap();
            args.file = Some(file);
            assert_eq!(Config::load(&args).map(|loaded| loaded.config), Ok(defaults.clone()), "{text}");
        }
        assert!(opened().contains("\naccess_ttl = \"10m\"\n"));
        let present = keys().filter(|key| key.effect != Effect::Later).count();
        let is_key = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && line.contains(" = ");
        assert_eq!(example().lines().filter(is_key).count(), present);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_of_100_columns() {
        for line in example().lines() {
            assert!(line.chars().count() <= WIDTH + 2, "{line}");
        }
    }
}
