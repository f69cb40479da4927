//! What every manual page of this project begins with, and how its lines are kept short.

use std::fmt::Write as _;

/// The date in the pages: that of the version, moved when one is released, so that a page is the same wherever it is
/// made.
pub const MANUAL_DATE: &str = "2026-11-21";

/// Longest line of text, in bytes: what mandoc asks for.
const WIDTH: usize = 80;

/// Title line and settings: no hyphenation, which would break names, and a ragged right margin.
#[must_use]
pub fn title(name: &str, section: u8, version: &str, volume: &str) -> String {
    let name = name.to_uppercase();
    format!(".TH {name} {section} \"{MANUAL_DATE}\" \"authd {version}\" \"{volume}\"\n.nh\n.nr HY 0\n.ad l\n")
}

/// Text that roff takes for nothing else.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

/// The same; what stands in backticks is bold.
#[must_use]
pub fn prose(text: &str) -> String {
    let escaped = escape(text).replace('\n', " ");
    let bold = |(number, part): (usize, &str)| match number % 2 {
        1 => format!("\\fB{part}\\fR"),
        _ => part.to_owned(),
    };
    escaped.split('`').enumerate().map(bold).collect()
}

/// Words that are defined and the text about each, as a list.
#[must_use]
pub fn tagged(entries: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (word, about) in entries {
        // Writing to a string cannot fail.
        let _ = write!(text, ".TP\n.B \"{}\"\n{}\n", escape(word), prose(about));
    }
    text
}

/// The page with its long lines of running text broken between words, and without spaces at the ends of lines. Lines of
/// examples and of macros stay as they are.
#[must_use]
pub fn tidy(page: &str) -> String {
    let mut tidy = String::with_capacity(page.len());
    let mut is_example = false;
    for line in page.lines().map(str::trim_end) {
        match line {
            ".EX" => is_example = true,
            ".EE" => is_example = false,
            _ => {}
        }
        let is_macro = line.starts_with(['.', '\'']);
        if is_example || is_macro || line.len() <= WIDTH {
            tidy.push_str(line);
        } else {
            broken(line, &mut tidy);
        }
        tidy.push('\n');
    }
    tidy
}

fn broken(line: &str, into: &mut String) {
    let mut length = 0;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        // A word that would begin a line as a macro stays where it is.
        let fits = length + 1 + word.len() <= WIDTH || word.starts_with(['.', '\'']);
        if length > 0 && fits {
            into.push(' ');
            length += 1;
        } else if length > 0 {
            into.push('\n');
            length = 0;
        }
        into.push_str(word);
        length += word.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_broken_and_examples_and_macros_are_not() {
        let long = "word ".repeat(40);
        let page = tidy(&format!("{long}\n.B {long}\n.EX\n{long}\n.EE\nshort  \n"));
        let lines: Vec<&str> = page.lines().collect();
        assert!(lines.first().is_some_and(|line| line.len() <= WIDTH));
        assert_eq!(lines.iter().filter(|line| line.len() > WIDTH).count(), 2);
        assert_eq!(page.split_whitespace().filter(|word| *word == "word").count(), 120);
        assert!(page.ends_with("short\n"));
    }

    #[test]
    fn no_word_becomes_a_macro_by_being_broken() {
        let page = tidy(&format!("{} .so /etc/passwd", "x".repeat(79)));
        assert!(page.lines().all(|line| !line.starts_with('.')), "{page}");
    }

    #[test]
    fn text_is_escaped_and_backticks_are_bold() {
        assert_eq!(prose("it's `a-b`"), "it\\(aqs \\fBa\\-b\\fR");
    }
}
