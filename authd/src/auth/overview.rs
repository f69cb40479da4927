//! What operators ask about sessions beside lists: how many of which kinds there are, and what became of one.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::{
    audit::EventFilter,
    census::Census,
    lineage::{Step, steps},
    page::{MAX_PAGE, PageRequest},
    session::{Session, SessionFilter},
    session_stats::SessionStats,
    store_error::StoreError,
};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// Accounts and networks in an overview.
const TOP: u32 = 10;

/// The last count of live sessions, and whether a job has to make another.
#[derive(Debug, Default)]
pub(super) struct LastCensus {
    last: Mutex<Option<Census>>,
    is_wanted: AtomicBool,
}

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

    /// How many sessions live, counted now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_sessions(&self) -> Result<u64, StoreError> {
        let begun_ms = self.parts.clock.monotonic_ms();
        let live = self.parts.sessions.count_live(SessionFilter::default()).await?;
        let at_ms = self.parts.clock.monotonic_ms();
        let census = Census { live, at_ms, took_ms: at_ms.saturating_sub(begun_ms) };
        *self.census.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(census);
        Ok(live)
    }

    /// The last count, as long as [`Census::is_good_at`] allows.
    #[must_use]
    pub fn remembered_sessions(&self) -> Option<u64> {
        let last = *self.census.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|census| census.is_good_at(self.parts.clock.monotonic_ms())).map(|census| census.live)
    }

    /// Somebody gave up waiting for a count: a job makes one for the next who asks.
    pub fn want_census(&self) {
        self.census.is_wanted.store(true, Ordering::Relaxed);
    }

    /// Counts for those who have not waited.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn follow_census(&self) -> Result<(), StoreError> {
        if self.census.is_wanted.swap(false, Ordering::Relaxed) {
            self.count_sessions().await?;
        }
        Ok(())
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
