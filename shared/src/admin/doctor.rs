//! The call by which the daemon examines itself.

use super::Empty;
use serde::{Deserialize, Serialize};

call!(
    /// What only the daemon can see of its own health, with the places that `authctl doctor` looks at itself.
    Checkup: "/v1/doctor", Read, Empty => Examined
);

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and not as well as it could, or nobody can tell.
    Warn,
    /// Something does not work, or will not when it is needed.
    Bad,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub check: String,
    /// How it ended.
    pub result: Verdict,
    /// What was found.
    pub finding: String,
    /// What to do, in one line.
    pub fix: Option<String>,
}

impl Check {
    /// All is well.
    #[must_use]
    pub fn ok(check: &str, finding: impl Into<String>) -> Self {
        Self { check: check.to_owned(), result: Verdict::Ok, finding: finding.into(), fix: None }
    }

    /// It could be better.
    #[must_use]
    pub fn warn(check: &str, finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.to_owned(), result: Verdict::Warn, finding: finding.into(), fix: Some(fix.into()) }
    }

    /// It has to be put right.
    #[must_use]
    pub fn bad(check: &str, finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { result: Verdict::Bad, ..Self::warn(check, finding, fix) }
    }
}

/// Answer of [`Checkup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// What the daemon found.
    pub checks: Vec<Check>,
    /// Process id of the daemon.
    pub pid: u32,
    /// Socket of administrators.
    pub admin_socket: String,
    /// Socket of readers.
    pub read_socket: String,
    /// The groups that may use the sockets: of administrators, of readers.
    pub groups: (Vec<String>, Vec<String>),
    /// What clients reach it by.
    pub public_url: String,
    /// Directory of what lasts.
    pub data_dir: String,
}
