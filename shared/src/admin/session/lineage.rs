//! The history of one session, which is the history of a family of refresh tokens.

use super::{Session, ShowRequest};
use crate::{
    admin::audit::{Actor, Outcome},
    id::EventId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

call!(
    /// What became of a session, oldest first: from the audit log, and from the session itself where nothing else
    /// knows.
    Lineage: "/v1/session/lineage", Read, ShowRequest => History
);

/// Answer of [`Lineage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The session as it is now.
    pub session: Session,
    /// Oldest first.
    pub steps: Vec<Step>,
    /// Whether older events were left out because there are too many.
    pub truncated: bool,
}

/// Something that happened to a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// What, as in the audit log: `session.refreshed`; `session.expired` when its time ran out.
    pub action: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How often the token had been rotated by then, where that is known.
    pub generation: Option<u64>,
    /// Why.
    pub reason: Option<String>,
    /// From which coarse network.
    pub network: Option<String>,
    /// With which device.
    pub device: Option<String>,
    /// Who; `null` where only the session itself knows of it.
    pub actor: Option<Actor>,
    /// In which request.
    pub request_id: Option<String>,
    /// The event of the audit log; `null` for what only the session itself knows, such as the last routine rotation.
    pub event: Option<EventId>,
}
