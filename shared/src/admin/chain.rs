//! Calls about the audit chain: show, count, verify, export, sign, purge.

use super::{Access, Call, Shape, audit::Event};
use crate::{
    chain::{Checkpoint, Report, export::Line},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

call!(
    /// One event with its MAC and its hash.
    Show: "/v1/audit/show", Read, ShowRequest => Shown
);
call!(
    /// The log in numbers.
    Stats: "/v1/audit/stats", Read, StatsRequest => Numbers
);
call!(
    /// Signs how far the log has come.
    MakeCheckpoint: "/v1/audit/checkpoint", Admin, CheckpointRequest => Made
);
call!(
    /// Deletes events that have outlived `audit.retention`.
    Purge: "/v1/audit/purge", Admin, PurgeRequest => Purged
);

/// Checks the whole log; the last line has the report.
#[derive(Debug, Clone, Copy)]
pub struct Verify;

impl Call for Verify {
    const PATH: &'static str = "/v1/audit/verify";
    const ACCESS: Access = Access::Read;
    const SHAPE: Shape = Shape::Lines;
    type Request = VerifyRequest;
    type Response = Progress;
}

/// Everything, with what proves it: see [`crate::chain::export`].
#[derive(Debug, Clone, Copy)]
pub struct Export;

impl Call for Export {
    const PATH: &'static str = "/v1/audit/export";
    const ACCESS: Access = Access::Admin;
    const SHAPE: Shape = Shape::Lines;
    type Request = ExportRequest;
    type Response = Line;
}

/// Request of [`Show`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRequest {
    /// Its id, or its place.
    pub id: String,
}

/// Answer of [`Show`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// Proves who wrote it; hexadecimal.
    pub mac: String,
    /// Its link of the chain; `null` until it is sealed.
    pub hash: Option<String>,
}

/// Request of [`Stats`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatsRequest {
    /// Count events from here on; `null`: of the last 24 hours.
    pub since: Option<Timestamp>,
}

/// Answer of [`Stats`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// Sealed events that are kept.
    pub events: u64,
    /// Events that wait for their place; counted up to 10 001.
    pub unsealed: u64,
    /// Milliseconds since everything committed was sealed last.
    pub seal_lag_ms: u64,
    /// The oldest event that is kept.
    pub first_seq: Option<u64>,
    /// When it happened.
    pub first_at: Option<Timestamp>,
    /// The last sealed event.
    pub last_seq: u64,
    /// The last checkpoint.
    pub checkpoint: Option<u64>,
    /// Up to which event it signs.
    pub checkpoint_seq: Option<u64>,
    /// When it was made.
    pub checkpoint_at: Option<Timestamp>,
    /// Up to which event the anchor file of this instance has seen the log.
    pub anchored_seq: Option<u64>,
    /// Events that were purged.
    pub purged: u64,
    /// When events were purged last.
    pub purged_at: Option<Timestamp>,
    /// How long events are kept, in milliseconds.
    pub retention_ms: u64,
    /// From when on `recent` counts.
    pub since: Timestamp,
    /// Events by action and outcome, the most frequent first.
    pub recent: Vec<Count>,
}

/// So many events of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What happened.
    pub action: String,
    /// How it ended.
    pub outcome: String,
    /// How often.
    pub events: u64,
}

/// Request of [`MakeCheckpoint`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointRequest {
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    pub ticket: Option<String>,
    /// Change nothing: the last checkpoint.
    pub dry_run: bool,
}

/// Answer of [`MakeCheckpoint`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The last checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// The anchor that belongs to it: one line of text to keep elsewhere.
    pub anchor: Option<String>,
}

/// Request of [`Verify`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyRequest {
    /// The text of an anchor that was kept elsewhere; that of the daemon's own file counts in any case.
    pub anchor: Option<String>,
}

/// A line of [`Verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Events checked so far.
    pub checked: u64,
    /// Events to check.
    pub of: u64,
    /// What was found; on the last line only.
    pub report: Option<Report>,
}

/// Request of [`Export`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportRequest {
    /// Only what follows this event.
    pub after: Option<u64>,
}

/// Request of [`Purge`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeRequest {
    /// The clock is right, however long ago the last run was.
    pub confirm_clock: bool,
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// Where it was asked for, for the audit log.
    pub ticket: Option<String>,
    /// Say what would go.
    pub dry_run: bool,
}

/// Answer of [`Purge`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Events that went, or would go.
    pub purged: u64,
    /// The last of them.
    pub up_to_seq: Option<u64>,
    /// What is older has outlived its retention.
    pub cut_off: Timestamp,
    /// Why nothing went that could have.
    pub refused: Option<String>,
}
