//! E-mail addresses and user names: one canonical form, used everywhere an account is looked up or limited.

use unicode_normalization::UnicodeNormalization;

/// An address that can have an account: what was typed, and the form that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    canonical: String,
    display: String,
}

/// A user name: what was typed, and the form that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    canonical: String,
    display: String,
}

/// Text that is no e-mail address an account can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address of the form name@example.org, at most 254 characters")]
pub struct InvalidEmail;

/// Text that is no user name an account can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a user name: 3 to 50 letters, digits or underscores of ASCII")]
pub struct InvalidUsername;

const MAX_EMAIL: usize = 254;
const MAX_LOCAL: usize = 64;
const MAX_LABEL: usize = 63;

impl Email {
    /// Reads an address: a dot-atom (RFC 5321 §4.1.2, letters of other scripts allowed as in RFC 6531), `@`, a host
    /// name of at least two labels. Quoted local parts, comments and address literals are refused. Case is folded,
    /// Unicode composed, the domain written in ASCII; dots and `+tags` of the local part are kept.
    ///
    /// # Errors
    /// [`InvalidEmail`].
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        if text.len() > MAX_EMAIL {
            return Err(InvalidEmail);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        if !is_dot_atom(local) {
            return Err(InvalidEmail);
        }
        let local = fold(local);
        let domain = canonical_domain(domain)?;
        let canonical = format!("{local}@{domain}");
        if local.len() > MAX_LOCAL || !is_dot_atom(&local) || canonical.len() > MAX_EMAIL {
            return Err(InvalidEmail);
        }
        Ok(Self { canonical, display: text.to_owned() })
    }

    /// The form that is compared and stored as the key.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// What the person typed.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.display
    }
}

/// Folding can change what composes (and the other way round), so it is repeated until nothing changes.
fn fold(text: &str) -> String {
    let mut folded: String = text.nfc().collect();
    for _ in 0..4 {
        let next: String = folded.to_lowercase().nfc().collect();
        if next == folded {
            break;
        }
        folded = next;
    }
    folded
}

fn is_dot_atom(local: &str) -> bool {
    !local.is_empty() && local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_character))
}

fn is_atom_character(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) } else { is_plain(c) }
}

/// Letters, digits and the marks that compose with them; no controls, spaces, format or private characters.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c)
}

fn canonical_domain(domain: &str) -> Result<String, InvalidEmail> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail)?;
    let mut labels = 0;
    for label in ascii.split('.') {
        let legal = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if label.is_empty() || label.len() > MAX_LABEL || !legal || label.starts_with('-') || label.ends_with('-') {
            return Err(InvalidEmail);
        }
        labels += 1;
    }
    // A last label of digits is an IP address in disguise, not a host name.
    let numeric_end = ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if labels < 2 || numeric_end { Err(InvalidEmail) } else { Ok(ascii) }
}

impl Username {
    /// Reads a user name: `[A-Za-z0-9_]{3,50}`, compared without case.
    ///
    /// # Errors
    /// [`InvalidUsername`].
    pub fn parse(text: &str) -> Result<Self, InvalidUsername> {
        let legal = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !legal || !(3..=50).contains(&text.len()) {
            return Err(InvalidUsername);
        }
        Ok(Self { canonical: text.to_ascii_lowercase(), display: text.to_owned() })
    }

    /// The form that is compared and stored as the key.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// What the person typed.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.display
    }
}

/// What kind of name identifies an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentifierKind {
    /// An e-mail address.
    Email,
    /// A user name.
    Username,
}

impl IdentifierKind {
    /// The text stored in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Username => "username",
        }
    }
}

/// Somebody who wants to log in: a well-formed name, or text that can belong to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginName {
    /// A well-formed e-mail address.
    Email(Email),
    /// A well-formed user name.
    Username(Username),
    /// Text that no account can have; it costs and answers the same as an unknown name.
    Nobody(String),
}

impl LoginName {
    /// An e-mail address as typed at login.
    #[must_use]
    pub fn email(text: &str) -> Self {
        Email::parse(text).map_or_else(|_| Self::Nobody(text.to_owned()), Self::Email)
    }

    /// A user name as typed at login.
    #[must_use]
    pub fn username(text: &str) -> Self {
        Username::parse(text).map_or_else(|_| Self::Nobody(text.to_owned()), Self::Username)
    }

    /// Kind and canonical form, where an account can have it.
    #[must_use]
    pub fn key(&self) -> Option<(IdentifierKind, &str)> {
        match self {
            Self::Email(email) => Some((IdentifierKind::Email, email.canonical())),
            Self::Username(name) => Some((IdentifierKind::Username, name.canonical())),
            Self::Nobody(_) => None,
        }
    }

    /// The text by which attempts are counted.
    #[must_use]
    pub fn canonical(&self) -> &str {
        match self {
            Self::Email(email) => email.canonical(),
            Self::Username(name) => name.canonical(),
            Self::Nobody(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_width_and_a_trailing_dot_do_not_make_another_account() {
        for (typed, same) in [
            ("Ada@Example.ORG", "ada@example.org"),
            ("ada@example.org.", "ada@example.org"),
            ("ADA@BÜCHER.example", "ada@xn--bcher-kva.example"),
            ("E\u{301}va@example.org", "éva@example.org"),
        ] {
            assert_eq!(Email::parse(typed).unwrap().canonical(), same, "{typed}");
        }
    }

    #[test]
    fn dots_and_tags_make_another_account() {
        let plain = Email::parse("ada.l@example.org").unwrap();
        assert_ne!(plain.canonical(), Email::parse("adal@example.org").unwrap().canonical());
        assert_ne!(plain.canonical(), Email::parse("ada.l+x@example.org").unwrap().canonical());
    }

    #[test]
    fn forms_that_confuse_mail_systems_and_logs_are_refused() {
        let long = format!("{}@example.org", "a".repeat(243));
        for typed in [
            "",
            "a",
            "a@",
            "@b.c",
            "a@b",
            "a b@example.org",
            "\"a b\"@example.org",
            "a@[1.2.3.4]",
            "a@1.2.3.4",
            "a(c)@example.org",
            "a@example.org\r\nBcc: x@y.z",
            "a\0@example.org",
            ".a@example.org",
            "a..b@example.org",
            "a@-example.org",
            "a@example..org",
            "a@example.org..",
            "<a@example.org>",
            "a@ex ample.org",
            "a@b@example.org",
            "a\u{202e}@example.org",
            &long,
        ] {
            assert_eq!(Email::parse(typed), Err(InvalidEmail), "{typed:?}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(text in "\\PC{1,20}@[a-z0-9é.-]{1,20}") {
            if let Ok(email) = Email::parse(&text) {
                let again = Email::parse(email.canonical()).unwrap();
                prop_assert_eq!(again.canonical(), email.canonical());
            }
        }
    }
}
