//! Calls about the configuration.

use super::{Empty, Page};
use serde::{Deserialize, Serialize};

call!(
    /// Every setting with its value in force. Secrets are left out.
    Show: "/v1/config/show", Admin, Empty => Page<Setting>
);
call!(
    /// Reads the configuration files and says what is wrong with them and what a reload would change.
    Check: "/v1/config/check", Admin, Empty => Checked
);
call!(
    /// The JSON schema of the configuration file.
    Schema: "/v1/config/schema", Read, Empty => serde_json::Value
);

/// A setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// `section.key`.
    pub key: String,
    /// The value in force.
    pub value: serde_json::Value,
    /// What it would be if nobody had said anything.
    pub default: serde_json::Value,
    /// Who said it: `default`, `file:LINE`, `env:NAME`, `flag`.
    pub origin: String,
    /// Whether a reload can change it.
    pub live: bool,
}

/// A setting that differs between what is in force and what the files say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `section.key`.
    pub key: String,
    /// In force.
    pub from: String,
    /// In the files.
    pub to: String,
}

/// Something that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `section.key`, where it belongs to one.
    pub key: Option<String>,
    /// File, or the name of a variable or flag.
    pub file: Option<String>,
    /// Line in the file, from 1.
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Answer of [`Check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// What is wrong; empty when a start would succeed.
    pub problems: Vec<Problem>,
    /// What a reload would change.
    pub live: Vec<Change>,
    /// What would need a restart.
    pub restart: Vec<Change>,
}
