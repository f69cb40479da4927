//! Calls about the operating mode.

use super::Empty;
pub use crate::mode::Mode;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

call!(
    /// The mode in force.
    Show: "/v1/mode/show", Read, Empty => Standing
);
call!(
    /// Changes the mode of all instances, for good or for a time.
    Set: "/v1/mode/set", Admin, SetRequest => Changed
);

/// The mode in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Which.
    pub mode: Mode,
    /// When it was set; `null`: never, or it has ended by itself.
    pub changed_at: Option<Timestamp>,
    /// Who set it: `uid:1000`.
    pub changed_by: Option<String>,
    /// When it returns to normal by itself.
    pub expires_at: Option<Timestamp>,
    /// Whether a restored database keeps the public API closed, whatever the mode is.
    pub restore_pending: bool,
}

/// Request of [`Set`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// Which.
    pub mode: Mode,
    /// How long it holds; `null`: until it is changed again.
    #[serde(default, rename = "for")]
    pub lasting: Option<Span>,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Say what would happen and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer of [`Set`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The mode as it is now, on a dry run as it would be.
    pub mode: Standing,
    /// What it was before.
    pub previous: Standing,
}
