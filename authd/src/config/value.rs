//! How a written value becomes a typed one: what every type of the configuration can do.

use shared::{rate::Rate, time::Span};
use std::{fmt, net::SocketAddr, path::PathBuf};

/// A value as it was written, before anybody knows what it should be.
#[derive(Clone, PartialEq)]
pub enum Raw {
    /// Text from TOML, the environment or the command line.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// `true` or `false`.
    Flag(bool),
    /// An array.
    List(Vec<Raw>),
    /// Something no key takes (a date, a fraction, a table): its name.
    Other(&'static str),
}

impl Raw {
    /// What was found, for a message that must not repeat the value itself.
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Whole(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }
}

/// Hides the value: it may be a password.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({})", self.kind())
    }
}

/// The kind of value a key takes, for the schema and the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Text in a form that the word describes.
    Text(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Whole,
    /// `true` or `false`.
    Flag,
    /// A list of texts in a form that the word describes.
    List(&'static str),
    /// A whole number or `"auto"`.
    WholeOrAuto,
    /// A duration or `"auto"`.
    SpanOrAuto,
    /// `true`, `false` or `"auto"`.
    FlagOrAuto,
}

/// A type that a key of the configuration can have.
pub trait Setting: Sized + Clone + PartialEq + 'static {
    /// What is accepted.
    const SHAPE: Shape;
    /// Whether the value must never be shown in full.
    const SECRET: bool = false;

    /// Reads a written value.
    ///
    /// # Errors
    /// What was expected, without the value itself when it may be a secret.
    fn read(raw: &Raw) -> Result<Self, String>;

    /// The value as it would be written, with secrets masked.
    fn show(&self) -> String;

    /// What the bounds of a key are compared with; `None` when bounds make no sense for this value.
    fn size(&self) -> Option<u64> {
        None
    }
}

/// The message for a value of the wrong kind or form.
pub(super) fn expected<T>(what: &str, raw: &Raw) -> Result<T, String> {
    match raw {
        Raw::Text(text) => Err(format!("expected {what}, found \"{}\"", crate::config::printable(text))),
        Raw::Whole(number) => Err(format!("expected {what}, found {number}")),
        other => Err(format!("expected {what}, found {}", other.kind())),
    }
}

impl Setting for bool {
    const SHAPE: Shape = Shape::Flag;
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Flag(flag) => Ok(*flag),
            Raw::Text(text) if text == "true" => Ok(true),
            Raw::Text(text) if text == "false" => Ok(false),
            other => expected("true or false", other),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for u32 {
    const SHAPE: Shape = Shape::Whole;
    fn read(raw: &Raw) -> Result<Self, String> {
        let number = match raw {
            Raw::Whole(number) => Self::try_from(*number).ok(),
            Raw::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.map_or_else(|| expected("a whole number, zero or more", raw), Ok)
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn size(&self) -> Option<u64> {
        Some(u64::from(*self))
    }
}

impl Setting for Span {
    const SHAPE: Shape = Shape::Text("duration");
    fn read(raw: &Raw) -> Result<Self, String> {
        let Raw::Text(text) = raw else {
            return expected("a duration like \"500ms\", \"90s\", \"15m\" or \"14d\"", raw);
        };
        text.parse().or_else(|_| expected("a duration like \"500ms\", \"90s\", \"15m\" or \"14d\"", raw))
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn size(&self) -> Option<u64> {
        u64::try_from(self.as_millis()).ok()
    }
}

impl Setting for Rate {
    const SHAPE: Shape = Shape::Text("rate");
    fn read(raw: &Raw) -> Result<Self, String> {
        let Raw::Text(text) = raw else {
            return expected("a rate like \"30/min\", \"3/h\", \"10/15min\" or \"off\"", raw);
        };
        text.parse().or_else(|_| expected("a rate like \"30/min\", \"3/h\", \"10/15min\" or \"off\"", raw))
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for String {
    const SHAPE: Shape = Shape::Text("text");
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) if text.chars().any(char::is_control) => expected("text without control characters", raw),
            Raw::Text(text) if !text.is_empty() => Ok(text.clone()),
            other => expected("text", other),
        }
    }
    fn show(&self) -> String {
        self.clone()
    }
}

impl Setting for PathBuf {
    const SHAPE: Shape = Shape::Text("absolute path");
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) if text.starts_with('/') && !text.contains('\0') => Ok(Self::from(text)),
            other => expected("an absolute path", other),
        }
    }
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Setting for SocketAddr {
    const SHAPE: Shape = Shape::Text("address:port");
    fn read(raw: &Raw) -> Result<Self, String> {
        let what = "an address and port like \"127.0.0.1:8480\" or \"[::]:8480\"";
        let Raw::Text(text) = raw else { return expected(what, raw) };
        text.parse().or_else(|_| expected(what, raw))
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// Empty text means that there is no value.
impl<T: Setting> Setting for Option<T> {
    const SHAPE: Shape = T::SHAPE;
    const SECRET: bool = T::SECRET;
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) if text.is_empty() => Ok(None),
            other => T::read(other).map(Some),
        }
    }
    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
    fn size(&self) -> Option<u64> {
        self.as_ref().and_then(T::size)
    }
}

/// A TOML array, or texts separated by commas.
impl<T: Setting> Setting for Vec<T> {
    const SHAPE: Shape = Shape::List(match T::SHAPE {
        Shape::Text(form) => form,
        _ => "text",
    });
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::List(items) => items.iter().map(T::read).collect(),
            Raw::Text(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| T::read(&Raw::Text(item.to_owned()))).collect()
            }
            other => expected("a list", other),
        }
    }
    fn show(&self) -> String {
        self.iter().map(T::show).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn a_list_reads_arrays_and_commas() {
        let comma = Vec::<u32>::read(&text("1, 2,,3"));
        assert_eq!(comma, Vec::<u32>::read(&Raw::List(vec![Raw::Whole(1), text("2"), Raw::Whole(3)])));
        assert_eq!(comma.map(|list| list.show()), Ok("1,2,3".to_owned()));
        assert_eq!(Vec::<String>::read(&text("")), Ok(Vec::new()));
    }

    #[test]
    fn numbers_out_of_range_are_refused_not_wrapped() {
        assert!(u32::read(&Raw::Whole(-1)).is_err());
        assert!(u32::read(&Raw::Whole(1 << 40)).is_err());
        assert!(u32::read(&text("4294967296")).is_err());
    }

    #[test]
    fn paths_must_be_absolute_because_a_daemon_has_no_working_directory() {
        assert!(PathBuf::read(&text("kek")).is_err());
        assert_eq!(Option::<PathBuf>::read(&text("")), Ok(None));
    }
}
