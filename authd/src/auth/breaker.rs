//! Circuit breakers: what operators see and do, and the events that must not be lost because the database is what is
//! away.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::{
    audit::{Action, Event, StoredEvent},
    breaker::{BreakerState, Held},
    circuit::{Circuit, CircuitChange, CircuitReport},
    store_error::StoreError,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events that wait for the database; beyond it a call of an operator is refused.
const MAX_WAITING: usize = 64;
/// As many of them may be of breakers that opened and closed by themselves; what happens beyond it stays with them.
const MAX_AUTOMATIC: usize = 32;

/// What breakers did, and operators with them, as far as it is not written yet, or not told.
#[derive(Debug, Default)]
pub(super) struct BreakerEvents(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    unwritten: Vec<Event>,
    untold: Vec<StoredEvent>,
}

impl BreakerEvents {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Auth {
    /// The breakers as they are.
    #[must_use]
    pub fn breakers(&self) -> Vec<CircuitReport> {
        self.parts.circuits.iter().map(|circuit| circuit.report()).collect()
    }

    /// Holds a breaker open or closed, or gives it back to itself. It is done even if it cannot be recorded now: the
    /// breaker may be what stands between the daemon and its database. The event follows.
    ///
    /// # Errors
    /// [`OperatorRefusal::Unknown`]; [`OperatorRefusal::Storage`] when too many events wait already.
    pub async fn hold_breaker(
        &self,
        operator: &Operator,
        name: &str,
        held: Held,
    ) -> Result<CircuitReport, OperatorRefusal> {
        let circuit = self.circuit(name).ok_or_else(|| OperatorRefusal::none_called("breaker", name))?;
        if operator.is_dry_run() {
            return Ok(circuit.report());
        }
        let action = if held == Held::Open { Action::BreakerOpened } else { Action::BreakerClosed };
        let how = match held {
            Held::Automatic => "automatic",
            Held::Open | Held::Closed => "held",
        };
        let event = self.operator_event(operator, action).about("breaker", circuit.name()).with("how", how);
        // Before the way is cut, after it is free.
        let early = if held == Held::Open { self.parts.audit.append(vec![event.clone()]).await.ok() } else { None };
        if early.is_none() {
            self.keep_event(event.clone())?;
        }
        circuit.hold(held);
        self.breaker_events.lock().untold.push(StoredEvent::from(&event));
        if early.is_none() {
            // What fails now is tried again by the job.
            let _ = self.write_kept_events().await;
        }
        Ok(circuit.report())
    }

    fn circuit(&self, name: &str) -> Option<&Arc<Circuit>> {
        self.parts.circuits.iter().find(|circuit| circuit.name() == name)
    }

    /// Whether calls of the database are refused at once.
    pub(super) fn is_database_given_up(&self) -> bool {
        self.circuit(DATABASE).is_some_and(|circuit| circuit.report().state == BreakerState::Open)
    }

    /// What became of breakers since this was last asked, for the log: the audit may be away.
    pub fn breaker_news(&self) -> Vec<StoredEvent> {
        let mut waiting = self.breaker_events.lock();
        for circuit in &self.parts.circuits {
            if waiting.unwritten.len() >= MAX_AUTOMATIC {
                break;
            }
            for change in circuit.news() {
                let event = self.breaker_event(circuit.name(), change);
                waiting.untold.push(StoredEvent::from(&event));
                waiting.unwritten.push(event);
            }
        }
        std::mem::take(&mut waiting.untold)
    }

    /// Asks the database whether it is well while its breaker is not closed, and records what became of breakers.
    ///
    /// # Errors
    /// [`StoreError`]; what could not be recorded is kept.
    pub async fn tend_breakers(&self) -> Result<(), StoreError> {
        if self.circuit(DATABASE).is_some_and(|circuit| circuit.report().state != BreakerState::Closed) {
            self.parts.readiness.probe().await?;
        }
        self.write_kept_events().await
    }

    fn breaker_event(&self, name: &str, change: CircuitChange) -> Event {
        let action = if change.state == BreakerState::Open { Action::BreakerOpened } else { Action::BreakerClosed };
        let event = self.job_event("breaker", action).about("breaker", name);
        Event { at_ms: change.at_ms, ..event }
    }

    fn keep_event(&self, event: Event) -> Result<(), StoreError> {
        let mut waiting = self.breaker_events.lock();
        if waiting.unwritten.len() >= MAX_WAITING {
            return Err(StoreError::unavailable("too many changes of breakers wait for the audit"));
        }
        waiting.unwritten.push(event);
        Ok(())
    }

    async fn write_kept_events(&self) -> Result<(), StoreError> {
        let kept = self.breaker_events.lock().unwritten.clone();
        if kept.is_empty() {
            return Ok(());
        }
        let written = kept.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
        // By id: those of a try whose outcome is unknown may be there already.
        self.parts.audit.merge(kept.iter().map(StoredEvent::from).collect()).await?;
        self.breaker_events.lock().unwritten.retain(|event| !written.contains(&event.id));
        Ok(())
    }
}

/// The name of the database's breaker.
pub const DATABASE: &str = "database";
/// The name of Redis' breaker.
pub const REDIS: &str = "redis";
