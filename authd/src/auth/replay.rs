//! Tries a limit against the recorded past: reads the audit, page by page, and runs what it finds through the limit.
//!
//! The audit knows coarse networks (/24, /48), not addresses, so policies by address are tried as if each network were
//! one address: the answer is the most that could be refused. Refusals of one kind and minute stand in one event with
//! their count; they are spread evenly over the minute before it. Those of one account that came from several networks
//! name none, so policies by address do not see them.

use crate::auth::{Auth, LimitChange, Operator, OperatorRefusal};
use crate::domain::{
    audit::{Action, EventFilter, EventOutcome, StoredEvent},
    limit::{PolicyName, PolicyValue},
    page::{MAX_PAGE, PageRequest},
    replay::{Attempt, Effect, Recorded, is_replayable, replay},
};
use shared::time::Span;
use std::collections::HashMap;

/// Pages that are read of each kind of event: 200 000 events, newest first.
const MAX_PAGES: usize = 200;
/// Counted refusals that are run as single attempts; beyond it they weigh less than they did.
const MAX_COUNT: u32 = 10_000;
/// Attempts in all.
const MAX_ATTEMPTS: u64 = 1_000_000;
/// Over which time refusals were counted into one event, in milliseconds.
const COUNTED_MS: i64 = 60_000;

/// What a limit would have done to recorded attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The limit that was tried.
    pub value: PolicyValue,
    /// To all.
    pub all: Effect,
    /// To the networks or accounts it would have refused most.
    pub worst: Vec<(String, Effect)>,
    /// From when on events were read: later than asked for when there were too many.
    pub since_ms: i64,
    /// Until when.
    pub until_ms: i64,
    /// How many events were read.
    pub events: u64,
    /// Whether older events were left out.
    pub extent: Extent,
}

/// How much of the time that was asked for a trial covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// The newest part.
    Cut,
}

/// What is read so far.
#[derive(Default)]
struct Reading {
    keys: HashMap<String, u32>,
    attempts: Vec<Attempt>,
    sum: u64,
    events: u64,
    /// The oldest time of which everything was read.
    since_ms: i64,
}

impl Auth {
    /// Runs the attempts of the last `back` through a policy with this change. Changes nothing; it is recorded as a
    /// read of the audit.
    ///
    /// # Errors
    /// [`OperatorRefusal::Invalid`] for a policy that cannot be tried so; [`OperatorRefusal::Storage`].
    pub async fn try_limit(
        &self,
        operator: &Operator,
        name: PolicyName,
        change: LimitChange,
        back: Span,
    ) -> Result<Trial, OperatorRefusal> {
        let value = self.wished(name, &change)?;
        let tried = matches!(name, PolicyName::LoginIp | PolicyName::LoginNet | PolicyName::LoginAccount);
        if !tried || !is_replayable(&value) {
            let names = "login.ip, login.net and login.account";
            return Err(OperatorRefusal::Invalid(format!("{} cannot be replayed; {names} can", name.as_str())));
        }
        self.note_audit_read(operator, "replay").await?;
        let until_ms = self.now_ms();
        let since_ms = until_ms.saturating_sub(back.as_millis()).max(0);
        let mut reading = Reading { since_ms, ..Reading::default() };
        for action in ["login", Action::LimitExceeded.as_str()] {
            self.read_attempts(&mut reading, name, action, until_ms).await?;
        }
        let covered_ms = reading.since_ms;
        reading.attempts.retain(|attempt| attempt.at_ms >= covered_ms);
        let replayed = replay(&value, &reading.attempts);
        let names: HashMap<u32, String> = reading.keys.into_iter().map(|(text, number)| (number, text)).collect();
        let named = |(key, effect)| (names.get(&key).cloned().unwrap_or_default(), effect);
        Ok(Trial {
            value,
            all: replayed.all,
            worst: replayed.worst.into_iter().map(named).collect(),
            since_ms: covered_ms,
            until_ms,
            events: reading.events,
            extent: if covered_ms > since_ms { Extent::Cut } else { Extent::Whole },
        })
    }

    /// Reads the events of one kind, newest first, down to `reading.since_ms` or to the bound.
    async fn read_attempts(
        &self,
        reading: &mut Reading,
        name: PolicyName,
        action: &str,
        until_ms: i64,
    ) -> Result<(), OperatorRefusal> {
        let filter = EventFilter {
            action: Some(action.to_owned()),
            since_ms: Some(reading.since_ms),
            until_ms: Some(until_ms.saturating_add(1)),
            ..EventFilter::default()
        };
        let mut page = PageRequest { limit: MAX_PAGE, after: None };
        for number in 1..=MAX_PAGES {
            let read = self.parts.audit.list(filter.clone(), page.clone()).await?;
            let oldest_ms = read.items.last().map(|event| event.at_ms);
            read.items.iter().for_each(|event| reading.add(event, name));
            let Some(next) = read.next else { return Ok(()) };
            if number == MAX_PAGES || reading.sum >= MAX_ATTEMPTS {
                reading.since_ms = reading.since_ms.max(oldest_ms.unwrap_or(until_ms));
                return Ok(());
            }
            page.after = Some(next);
        }
        Ok(())
    }
}

impl Reading {
    fn add(&mut self, event: &StoredEvent, name: PolicyName) {
        self.events += 1;
        let (Some(outcome), Some(key)) = (outcome(event), key(event, name)) else { return };
        let counted = event.detail.iter().find(|(name, _)| name == "count").and_then(|(_, count)| count.parse().ok());
        let count = counted.unwrap_or(1).clamp(1, MAX_COUNT);
        self.sum = self.sum.saturating_add(u64::from(count));
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let key = *self.keys.entry(key.to_owned()).or_insert(next);
        let span_ms = if counted.is_some() { COUNTED_MS } else { 0 };
        self.attempts.push(Attempt { at_ms: event.at_ms, key, outcome, count, span_ms });
    }
}

/// How the attempt behind an event ended; `None` when it was none.
fn outcome(event: &StoredEvent) -> Option<Recorded> {
    let is_denied = event.outcome == EventOutcome::Denied.as_str();
    let reason = event.reason.as_deref().unwrap_or_default();
    match event.action.as_str() {
        action if action == Action::LoginSucceeded.as_str() => Some(Recorded::Succeeded),
        action if action == Action::LoginDenied.as_str() && reason == "credentials" => Some(Recorded::Failed),
        action if action == Action::LoginDenied.as_str() => Some(Recorded::Refused),
        action if action == Action::LimitExceeded.as_str() && is_denied && reason.starts_with("login.") => {
            Some(Recorded::Refused)
        }
        _ => None,
    }
}

/// By what the policy would have counted it; refusals by address know no account.
fn key(event: &StoredEvent, name: PolicyName) -> Option<&str> {
    match name {
        PolicyName::LoginAccount => {
            let is_account = matches!(event.target_kind.as_deref(), Some("user" | "identifier"));
            event.target_id.as_deref().filter(|_| is_account)
        }
        _ => event.network.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::id::EventId;

    fn event(action: Action, outcome: EventOutcome, reason: Option<&str>, target: (&str, &str)) -> StoredEvent {
        StoredEvent {
            id: EventId::new(0, [0; 10]),
            seq: None,
            at_ms: 5,
            action: action.as_str().to_owned(),
            outcome: outcome.as_str().to_owned(),
            reason: reason.map(str::to_owned),
            actor_kind: "anonymous".to_owned(),
            actor_id: None,
            actor_uid: None,
            actor_login_uid: None,
            actor_pid: None,
            target_kind: Some(target.0.to_owned()),
            target_id: Some(target.1.to_owned()),
            network: Some("192.0.2.0/24".to_owned()),
            device: None,
            request_id: None,
            detail: vec![("count".to_owned(), "7".to_owned())],
        }
    }

    #[test]
    fn events_are_attempts_by_what_the_policy_counts() {
        let succeeded = event(Action::LoginSucceeded, EventOutcome::Ok, None, ("user", "usr_1"));
        let wrong = event(Action::LoginDenied, EventOutcome::Denied, Some("credentials"), ("identifier", "unknown:1"));
        let limited = event(Action::LimitExceeded, EventOutcome::Denied, Some("login.ip"), ("limit", "login.ip"));
        let banned = event(Action::LimitExceeded, EventOutcome::Denied, Some("ban"), ("address", "192.0.2.0/24"));
        let mut by_network = Reading::default();
        let mut by_account = Reading::default();
        for event in [&succeeded, &wrong, &limited, &banned] {
            by_network.add(event, PolicyName::LoginNet);
            by_account.add(event, PolicyName::LoginAccount);
        }
        let outcomes = |reading: &Reading| reading.attempts.iter().map(|attempt| attempt.outcome).collect::<Vec<_>>();
        assert_eq!(outcomes(&by_network), [Recorded::Succeeded, Recorded::Failed, Recorded::Refused]);
        assert_eq!((by_network.keys.len(), by_network.sum, by_network.events), (1, 21, 4));
        assert_eq!(outcomes(&by_account), [Recorded::Succeeded, Recorded::Failed]);
        assert_eq!(by_account.keys.len(), 2);
    }
}
