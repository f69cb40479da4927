//! What operators ask about sessions beside lists: how many of which kinds there are, and what became of one.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::{
    audit::EventFilter,
    lineage::{Step, steps},
    page::{MAX_PAGE, PageRequest},
    session::Session,
    session_stats::SessionStats,
};

/// Accounts and networks in an overview.
const TOP: u32 = 10;

/// A session with what became of it.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// As it is now.
    pub session: Session,
    /// Oldest first.
    pub steps: Vec<Step>,
    /// Whether the log has older events than were read.
    pub is_truncated: bool,
}

impl Auth {
    /// How many sessions there are, of which kinds, and where most of them are.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn session_stats(&self) -> Result<SessionStats, OperatorRefusal> {
        Ok(self.parts.sessions.stats(TOP).await?)
    }

    /// What became of a session, named by its id or an unambiguous beginning of it. Reads the audit, which is recorded.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn session_lineage(&self, operator: &Operator, id: &str) -> Result<Lineage, OperatorRefusal> {
        let session = self.show_session(id).await?;
        self.note_audit_read(operator, "lineage").await?;
        let filter = EventFilter { target: Some(session.id.to_string()), ..EventFilter::default() };
        let page = self.parts.audit.list(filter, PageRequest::first(MAX_PAGE)).await?;
        let is_truncated = page.next.is_some();
        Ok(Lineage { steps: steps(&session, page.items), session, is_truncated })
    }
}
