//! Operating modes: what the public API takes part in while operators work on something.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Text that names no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a mode: normal, read-only, no-login or lockdown")]
pub struct InvalidMode;

/// An operating mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Everything is served.
    #[default]
    Normal,
    /// The public API reads and verifies, and changes nothing: no refresh either.
    ReadOnly,
    /// No new sessions; the existing ones go on.
    NoLogin,
    /// The public API answers 503; the admin sockets go on.
    Lockdown,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 4] = [Self::Normal, Self::ReadOnly, Self::NoLogin, Self::Lockdown];

    /// The mode as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ReadOnly => "read-only",
            Self::NoLogin => "no-login",
            Self::Lockdown => "lockdown",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = InvalidMode;
    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(InvalidMode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_reads_back_as_text_and_as_json() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
        }
        assert_eq!("open".parse::<Mode>(), Err(InvalidMode));
    }
}
