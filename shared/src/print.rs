//! Text from elsewhere made safe to print: in logs, on terminals, in messages about configuration.

use std::fmt::Write as _;

/// Whether a terminal may do something else with this character than show it: controls (C0, DEL, C1), separators of
/// lines and paragraphs, what turns the direction of writing (Unicode UAX #9 §2), what hides itself.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with every unsafe character written out as an escape (`\n`, `\u{1b}`).
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) { out.extend(character.escape_default()) } else { out.push(character) }
    }
    out
}

/// JSON text with the same characters escaped in JSON's own way, which changes nothing of its meaning.
#[must_use]
pub fn printable_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for character in text.chars() {
        if character == '\n' || !is_unsafe(character) {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut units) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_breaks_turns_or_hides_is_written_out_and_letters_stay() {
        assert_eq!(printable("a\n\t\u{1b}[2J\u{9b}\u{202e}b"), "a\\n\\t\\u{1b}[2J\\u{9b}\\u{202e}b");
        assert_eq!(printable("Ünïcödé 名前 \"x\" \\"), "Ünïcödé 名前 \"x\" \\");
    }
}
