//! E-mail addresses and user names: one canonical form, which is its own.

use super::{must, reading};
use authd::domain::identifier::{Email, LoginName, Username};
use tests::fuzz::{LONG, Reading, SHORT, Target};

fn email_of(text: &str) -> Result<Email, String> {
    Email::parse(text).map_err(|_| format!("{text:?} is refused"))
}

#[test]
fn an_address_has_one_canonical_form() {
    let seeds = [
        "ada@example.org",
        "Ada.L+tag@Example.ORG.",
        "ada@BÜCHER.example",
        "e\u{301}va@xn--bcher-kva.example",
        "İSTANBUL@example.org",
        "ὈΔΥΣΣΕΎΣ@παράδειγμα.gr",
        "a@ｅｘａｍｐｌｅ。org",
    ];
    let words = [
        "@", ".", "..", "xn--", "-", "+", "ς", "Σ", "ǰ", "ΐ", "ﬃ", "\u{345}", "ſ", "K", "。", "\u{200d}", "\"",
        "1.2.3.4",
    ];
    Target { name: "e-mail addresses", seeds: &seeds, words: &words, full_ms: LONG }.run(|input| {
        let Ok(text) = std::str::from_utf8(input) else { return Ok(Reading::Refused) };
        let parsed = Email::parse(text);
        let Ok(email) = &parsed else { return Ok(Reading::Refused) };
        let canonical = email.canonical();
        must(email.display() == text, "the display form is what was typed")?;
        must(email_of(canonical)?.canonical() == canonical, &format!("{canonical:?} has another canonical form"))?;
        must(!canonical.chars().any(|c| c.is_control() || c.is_whitespace()), "controls or spaces")?;
        let (local, domain) = canonical.rsplit_once('@').ok_or("no @")?;
        must(!local.contains('@') && canonical.len() <= 254, "two @, or longer than an address may be")?;
        must(domain.is_ascii() && domain == domain.to_ascii_lowercase(), "a domain that is not in lower-case ASCII")?;
        variants(text, canonical)?;
        must(LoginName::email(text).key().is_some_and(|(_, key)| key == canonical), "a login looks up another name")?;
        Ok(reading(&parsed))
    });
}

/// The same address as others type it.
fn variants(text: &str, canonical: &str) -> Result<(), String> {
    let is_same = |typed: &str| Email::parse(typed).is_ok_and(|email| email.canonical() == canonical);
    must(is_same(&text.to_ascii_uppercase()) || text.contains("xn--"), "upper case is somebody else")?;
    must(is_same(&text.to_ascii_lowercase()), "lower case is somebody else")?;
    let (local, domain) = text.rsplit_once('@').ok_or("no @")?;
    if domain.is_ascii() && !domain.ends_with('.') && text.len() < 250 {
        must(is_same(&format!("{text}.")), "the root's dot is somebody else")?;
    }
    let wide: String = domain.chars().map(|c| if c.is_ascii_lowercase() { full_width(c) } else { c }).collect();
    let typed = format!("{local}@{wide}");
    must(typed.len() > 254 || is_same(&typed), "a domain in full width is somebody else")
}

fn full_width(c: char) -> char {
    char::from_u32(u32::from(c) + 0xfee0).unwrap_or(c)
}

#[test]
fn a_user_name_is_plain_ascii_without_case() {
    let seeds = ["ada", "Ada_Lovelace_1815", "___"];
    Target { name: "user names", seeds: &seeds, words: &["_", "-", "ADA", "ａ", "K", "@"], full_ms: SHORT }.run(
        |input| {
            let Ok(text) = std::str::from_utf8(input) else { return Ok(Reading::Refused) };
            let parsed = Username::parse(text);
            let Ok(name) = &parsed else { return Ok(Reading::Refused) };
            let canonical = name.canonical();
            let again = Username::parse(canonical).map_err(|_| "the canonical form is refused")?;
            must(again.canonical() == canonical, "the canonical form has another")?;
            must(canonical == text.to_ascii_lowercase(), "a form that is not the name without case")?;
            must((3..=50).contains(&canonical.len()) && canonical.is_ascii(), "a form that no user name has")?;
            must(!canonical.contains('@'), "a user name that looks like an address")?;
            Ok(reading(&parsed))
        },
    );
}
