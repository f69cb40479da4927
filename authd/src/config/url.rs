//! The URLs of the configuration: origins that browsers compare, and the database with its password.

use super::value::{Raw, Setting, Shape, expected};
use std::{fmt, net::Ipv6Addr, path::PathBuf};

/// `http(s)://host[:port]` in the form browsers send as `Origin` (RFC 6454 §6.1): lower case, no default port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// The origin as text, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Setting for WebOrigin {
    const SHAPE: Shape = Shape::Text("http(s)://host[:port]");
    fn read(raw: &Raw) -> Result<Self, String> {
        let what = "http(s)://host[:port] without path, query or user";
        let Raw::Text(text) = raw else { return expected(what, raw) };
        canonical_origin(text).map_or_else(|| expected(what, raw), |origin| Ok(Self(origin)))
    }
    fn show(&self) -> String {
        self.0.clone()
    }
}

fn canonical_origin(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest).to_ascii_lowercase();
    let (host, port) = split_port(&authority)?;
    if !is_host(host) {
        return None;
    }
    match port {
        Some(port) if port != default_port => Some(format!("{scheme}://{host}:{port}")),
        _ => Some(format!("{scheme}://{host}")),
    }
}

/// Splits a port off; a colon inside `[…]` belongs to the address.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_bracket = authority.rfind(']').unwrap_or(0);
    let Some(colon) = authority.rfind(':').filter(|colon| *colon > after_bracket) else {
        return Some((authority, None));
    };
    let (host, port) = authority.split_at(colon);
    let digits = port.strip_prefix(':')?;
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = digits.parse().ok().filter(|port| valid && *port > 0)?;
    Some((host, Some(port)))
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

/// Where the data lives.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// SQLite in the data directory.
    DataDir,
    /// SQLite in this file.
    Sqlite(PathBuf),
    /// SQLite without a file: gone when the daemon stops.
    Memory,
    /// PostgreSQL; the URL may hold a password.
    Postgres(SecretUrl),
}

/// A URL whose password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The whole URL, password included: for the driver that connects, for nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The URL with a password, and every option that could hold one, masked.
    #[must_use]
    pub fn masked(&self) -> String {
        let Some(parts) = Parts::of(&self.0) else { return "***".to_owned() };
        let user = parts.user.map(|user| format!("{}@", mask_password(user))).unwrap_or_default();
        let options: Vec<String> = parts.options().map(mask_option).collect();
        let mark = if options.is_empty() { "" } else { "?" };
        format!("{}://{user}{}{}{mark}{}", parts.scheme, parts.host, parts.path, options.join("&"))
    }
}

/// The pieces of a URL that is written so that its password can be told from the rest.
struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    /// `None` when a piece is ambiguous: an `@`, `/` or `?` in the password that is not percent-encoded.
    fn of(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before.split_at(before.find('/').unwrap_or(before.len()));
        let (user, host) = match authority.split_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let port_ok = host
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit()));
        let parts = Self { scheme, user, host, path, query };
        let clear =
            !host.contains('@') && !path.contains('@') && port_ok && parts.options().all(|option| option.contains('='));
        clear.then_some(parts)
    }

    fn options(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.query.split('&').filter(|option| !option.is_empty())
    }
}

fn mask_password(user: &str) -> String {
    user.split_once(':').map_or_else(|| user.to_owned(), |(name, _)| format!("{name}:***"))
}

fn mask_option(option: &str) -> String {
    match option.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}=***"),
        _ => option.to_owned(),
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

impl Setting for SecretUrl {
    const SHAPE: Shape = Shape::Text("URL");
    const SECRET: bool = true;
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) if Parts::of(text).is_some() && !text.chars().any(char::is_control) => {
                Ok(Self(text.clone()))
            }
            _ => Err("expected a URL; @, / and ? in its password are written %40, %2F and %3F".to_owned()),
        }
    }
    fn show(&self) -> String {
        self.masked()
    }
}

impl Setting for DatabaseUrl {
    const SHAPE: Shape = Shape::Text("URL");
    const SECRET: bool = true;
    fn read(raw: &Raw) -> Result<Self, String> {
        // The value is not repeated: a mistyped URL still holds the password.
        let refusal = "expected \"sqlite:/absolute/file\" or \"postgres://user@host/database\"";
        let Raw::Text(text) = raw else { return Err(refusal.to_owned()) };
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return SecretUrl::read(raw).map(Self::Postgres);
        }
        let Some(file) = text.strip_prefix("sqlite:") else { return Err(refusal.to_owned()) };
        match file.strip_prefix("//").unwrap_or(file) {
            "" => Ok(Self::DataDir),
            ":memory:" => Ok(Self::Memory),
            path if path.starts_with('/') && !path.contains(['?', '\0']) => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err(refusal.to_owned()),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::DataDir => "sqlite:".to_owned(),
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Memory => "sqlite::memory:".to_owned(),
            Self::Postgres(url) => url.masked(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Option<String> {
        WebOrigin::read(&Raw::Text(text.to_owned())).ok().map(|origin| origin.as_str().to_owned())
    }

    #[test]
    fn an_origin_has_the_form_browsers_send() {
        assert_eq!(origin("HTTPS://Login.Example.org:443/").as_deref(), Some("https://login.example.org"));
        assert_eq!(origin("http://127.0.0.1:8480").as_deref(), Some("http://127.0.0.1:8480"));
        assert_eq!(origin("http://[::1]:80").as_deref(), Some("http://[::1]"));
    }

    #[test]
    fn a_public_url_with_anything_beyond_the_origin_is_refused() {
        let bad =
            ["", "example.org", "ftp://a", "https://a/b", "https://a?x", "https://a#x", "https://u@a", "https://a b"];
        for text in bad.into_iter().chain([
            "https://",
            "https://a:0",
            "https://a:+5",
            "https://a:70000",
            "https://-a",
            "https://[zz]",
        ]) {
            assert_eq!(origin(text), None, "{text}");
        }
    }

    #[test]
    fn passwords_of_database_urls_are_masked_wherever_they_stand() {
        let show = |text: &str| DatabaseUrl::read(&Raw::Text(text.to_owned())).map(|url| format!("{url:?}"));
        let masked = show("postgres://authd:s3cr3t@db:5432/authd?sslmode=require&sslpassword=s3cr3t");
        assert_eq!(masked.as_deref(), Ok("postgres://authd:***@db:5432/authd?sslmode=require&sslpassword=***"));
        for text in [
            "postgres://u:s3cr3t@x/y@db/a",
            "postgres://u:s3cr3t",
            "postgres://u:5?s3cr3t@db/a",
            "postgres://u:a/s3cr3t@db",
        ] {
            assert!(show(text).is_err_and(|reason| reason.contains("%40") && !reason.contains("s3cr3t")), "{text}");
        }
        let wrong = DatabaseUrl::read(&Raw::Text("mysql://a:s3cr3t@b".to_owned()));
        assert!(wrong.is_err_and(|reason| !reason.contains("s3cr3t")));
    }

    #[test]
    fn sqlite_files_are_absolute_or_in_the_data_directory() {
        let read = |text: &str| DatabaseUrl::read(&Raw::Text(text.to_owned()));
        assert_eq!(read("sqlite:"), Ok(DatabaseUrl::DataDir));
        assert_eq!(read("sqlite:///srv/a.db"), Ok(DatabaseUrl::Sqlite(PathBuf::from("/srv/a.db"))));
        assert_eq!(read("sqlite::memory:"), Ok(DatabaseUrl::Memory));
        assert!(read("sqlite:a.db").is_err());
    }
}
