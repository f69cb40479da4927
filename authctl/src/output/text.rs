//! Text from elsewhere made safe to print, measured and cut as a terminal shows it.

pub use shared::print::{printable as clean, printable_json as clean_json};
use std::fmt;
use tabled::grid::util::string::get_string_width;

/// Columns a terminal needs for the text.
#[must_use]
pub fn width(text: &str) -> usize {
    get_string_width(text)
}

/// The text cut to `columns`, with `…` where something is missing.
#[must_use]
pub fn fit(text: &str, columns: usize) -> String {
    // Marks without a width of their own could make a narrow text endless.
    let longest = columns.saturating_mul(8);
    if width(text) <= columns && text.len() <= longest.max(64) {
        return text.to_owned();
    }
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if width(&kept) >= columns || kept.len() > longest {
            kept.pop();
            break;
        }
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// `1 event`, `2 events`.
#[must_use]
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The text in lines of at most `columns`, broken between words; a longer word gets a line of its own, and what begins
/// with spaces keeps that margin.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    text.split('\n').flat_map(|line| wrap_line(line, columns)).collect()
}

fn wrap_line(text: &str, columns: usize) -> Vec<String> {
    let words = text.trim_start_matches(' ');
    let margin = " ".repeat(text.len() - words.len());
    let mut lines = vec![margin.clone()];
    for word in words.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.len() == margin.len() {
            line.push_str(word);
        } else if width(line) + 1 + width(word) <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(format!("{margin}{word}"));
        }
    }
    lines
}

/// A size as people read it: `1.4 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut rest = bytes;
    let mut text = format!("{bytes} B");
    for unit in UNITS {
        if rest < 1_024 {
            break;
        }
        text = format!("{}.{} {unit}", rest / 1_024, rest % 1_024 * 10 / 1_024);
        rest /= 1_024;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::print::is_unsafe;

    #[test]
    fn nothing_printed_can_steer_a_terminal() {
        let hostile = "a\u{1b}[2Jb\nc\td\u{9b}31me\u{202e}f\u{7f}\u{200b}";
        let safe = clean(hostile);
        assert_eq!(safe, "a\\u{1b}[2Jb\\nc\\td\\u{9b}31me\\u{202e}f\\u{7f}\\u{200b}");
        assert!(!safe.chars().any(is_unsafe));
        assert_eq!(clean("Ünïcödé 名前"), "Ünïcödé 名前");
    }

    #[test]
    fn json_keeps_its_meaning_when_it_is_made_printable() {
        let value = serde_json::json!({"a": "x\u{9b}\u{202e}\u{e0041}\ny"});
        let safe = clean_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!safe.chars().any(|letter| letter != '\n' && is_unsafe(letter)));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn wrapped_text_keeps_every_word() {
        let text = "the database is older than what was seen before";
        let lines = wrap(text, 20);
        assert!(lines.iter().all(|line| width(line) <= 20), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(wrap("  fix: do this and that", 14), ["  fix: do this", "  and that"]);
        assert_eq!(wrap("", 20), [""]);
        assert_eq!(wrap("a-word-without-a-space-in-it b", 5), ["a-word-without-a-space-in-it", "b"]);
    }

    #[test]
    fn text_is_cut_by_what_a_terminal_shows() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
        assert_eq!(fit("名前名前", 6), "名前…");
        assert!(width(&fit("名前名前", 6)) <= 6);
        assert_eq!(fit("abc", 1), "…");
        assert!(fit(&format!("a{}", "\u{301}".repeat(10_000)), 5).len() < 100);
    }

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        let sizes = [0, 1_023, 1_024, 1_536, 1_500_000, 5 << 30].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.4 MiB", "5.0 GiB"]);
    }
}
