//! Reading the audit, which is itself audited; and events of the daemon and of refused operators.

use crate::auth::{Auth, Operator, OperatorRefusal, denial::Noted, operator::coarse_network, revoked::Forget};
use crate::domain::{
    audit::{Action, Event, EventFilter, EventOutcome, StoredEvent},
    page::{Page, PageRequest},
    store_error::StoreError,
    upkeep::Writes,
};

impl Auth {
    /// Events, newest first. The read is recorded.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn list_events(
        &self,
        operator: &Operator,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<Page<StoredEvent>, OperatorRefusal> {
        self.note_audit_read(operator, "list").await?;
        let network = filter.network.as_deref().map(coarse_network).transpose()?;
        Ok(self.parts.audit.list(EventFilter { network, ..filter }, page).await?)
    }

    /// Sealed events after `seq`, in order: what `tail` streams.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn events_after(&self, seq: i64, limit: u32) -> Result<Vec<StoredEvent>, OperatorRefusal> {
        Ok(self.parts.audit.after(seq, limit).await?)
    }

    /// The last sealed `seq`.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn audit_head(&self) -> Result<i64, OperatorRefusal> {
        Ok(self.parts.audit.head().await?)
    }

    /// Records that an operator reads the audit; further reads of a minute are counted into one event.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`]: what cannot be recorded is not shown.
    pub async fn note_audit_read(&self, operator: &Operator, how: &str) -> Result<(), OperatorRefusal> {
        self.note_denial(self.operator_event(operator, Action::AuditRead).about("audit", how)).await?;
        Ok(())
    }

    /// Records somebody who was refused on a socket; whether it was written at once and not only counted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_refused_peer(&self, operator: &Operator, socket: &str, why: &str) -> Result<bool, StoreError> {
        let event = self.operator_event(operator, Action::AdminRefused).about("socket", socket).denied(why);
        Ok(self.note_denial(event).await? != Noted::Counted)
    }

    /// Whether the audit log takes events now; leaves none.
    ///
    /// # Errors
    /// [`StoreError`]: no change can be made.
    pub async fn probe_audit(&self) -> Result<(), StoreError> {
        if self.parts.upkeep.writes() != Writes::Taken {
            // It takes none on purpose, while the database is being moved.
            return Ok(());
        }
        self.parts.audit.probe(self.job_event("readiness", Action::AuditRead)).await
    }

    /// Records a step of the daemon's life or a reload.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_daemon(
        &self,
        action: Action,
        outcome: EventOutcome,
        by: Option<&Operator>,
        detail: Vec<(&'static str, String)>,
    ) -> Result<(), StoreError> {
        self.parts.audit.append(vec![self.daemon_event(action, outcome, by, detail)]).await
    }

    /// Records an event that may be there already, from a try whose outcome is unknown.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_once(&self, event: &Event) -> Result<(), StoreError> {
        self.parts.audit.merge(vec![StoredEvent::from(event)]).await
    }

    /// A step of the daemon's life or a reload, to be recorded.
    pub fn daemon_event(
        &self,
        action: Action,
        outcome: EventOutcome,
        by: Option<&Operator>,
        detail: Vec<(&'static str, String)>,
    ) -> Event {
        let event = match by {
            Some(operator) => self.operator_event(operator, action),
            None => self.job_event("daemon", action),
        };
        let mut event = Event { outcome, ..event }.about("daemon", env!("CARGO_PKG_VERSION"));
        event.detail.extend(detail);
        event
    }

    /// Reads ends of sessions of all instances into memory.
    ///
    /// # Errors
    /// [`StoreError`]; what is in memory stays, and the next call goes on from there.
    pub async fn poll_revocations(&self) -> Result<(), StoreError> {
        loop {
            let (news, cursor) = self.parts.sessions.revocations(self.revoked.cursor()).await?;
            let forget = if self.is_wall_clock_believed() { Forget::Expired } else { Forget::Nothing };
            self.revoked.absorb(&news, cursor, self.now_ms(), forget);
            if !cursor.has_more() {
                return Ok(());
            }
        }
    }

    /// Erases what has outlived its use; how much. Nothing while the clock that says so is not believed: one that is
    /// ahead would erase ends of sessions whose tokens work again when it is put right.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep(&self, batch: u32) -> Result<u64, StoreError> {
        self.end_expired_mode().await?;
        if !self.is_clock_believed().await? {
            return Ok(0);
        }
        let settings = self.settings();
        self.parts.sessions.sweep(settings.grace_ms, settings.keyed_grace_ms, batch).await
    }
}
