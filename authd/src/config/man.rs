//! authd.toml(5): every key of the table, between a text before and a text behind.

use super::{
    Effect, Key,
    describe::{default_line, form, joined},
    keys, later, section_docs,
};
use shared::roff::{tidy, title};
use std::fmt::Write as _;

const HEAD: &str = include_str!("man/head.5.roff");
const TAIL: &str = include_str!("man/tail.5.roff");

/// authd.toml(5) in roff.
#[must_use]
pub fn man_page() -> String {
    let mut page = title("authd.toml", 5, env!("CARGO_PKG_VERSION"), "File Formats") + HEAD;
    for (section, docs) in section_docs() {
        let present = keys().filter(|key| key.section == *section && key.effect != Effect::Later);
        let entries: String = present.map(|key| entry(key, &default_line(key))).collect();
        if !entries.is_empty() {
            let _ = write!(page, ".SH \"[{}]\"\n{}\n{entries}", roff(section), roff(&joined(docs)));
        }
    }
    page += RESERVED;
    for key in keys().filter(|key| key.effect == Effect::Later) {
        let (name, text) = (roff(&key.toml_name()), roff(&key.text()));
        let _ = write!(page, ".TP\n.B {name}\n{text}\n(This version has no {}.)\n", roff(later::lacking(key)));
    }
    tidy(&(page + TAIL))
}

const RESERVED: &str = ".SH \"RESERVED KEYS\"
These belong to later versions.
A value that would have no effect is refused.
";

fn entry(key: &Key, line: &str) -> String {
    let live = if key.effect == Effect::Live { "; live" } else { "" };
    format!(".TP\n.B {}\n{}\n({}{live})\n", roff(line), roff(&key.text()), roff(&form(key)))
}

/// Text for roff: nothing in it is a request or an escape; what stands in backticks is bold.
fn roff(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('"', "\\(dq")
        .replace('~', "\\(ti");
    let mut out = String::new();
    for (number, part) in escaped.split('`').enumerate() {
        if number % 2 == 1 {
            let _ = write!(out, "\\fB{part}\\fR");
        } else {
            out.push_str(part);
        }
    }
    if out.starts_with('.') { format!("\\&{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_key_and_those_of_later_versions_apart() {
        let page = man_page();
        let (present, reserved) = page.split_once("RESERVED KEYS").unwrap();
        for key in keys() {
            let line = format!("\n.B {}\n", roff(&default_line(key)));
            assert_eq!(present.contains(&line), key.effect != Effect::Later, "{}", key.id());
            let name = format!("\n.B {}\n", roff(&key.toml_name()));
            assert_eq!(reserved.contains(&name), key.effect == Effect::Later, "{}", key.id());
        }
    }

    #[test]
    fn text_is_never_a_request_or_an_escape() {
        assert_eq!(roff(".so \\x 'a' \"b\" `c-d`"), "\\&.so \\ex \\(aqa\\(aq \\(dqb\\(dq \\fBc\\-d\\fR");
    }
}
