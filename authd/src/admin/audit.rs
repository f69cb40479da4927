//! Calls about the audit log.

use super::{
    Admin,
    call::{Caller, Stream},
    lines::{self, Gone, LineWriter},
    problem::Denied,
    user::{page_request, shown},
};
use crate::domain::audit::{EventFilter, EventOutcome, StoredEvent, Worth};
use serde_json::{Map, Value};
use shared::{
    admin::{
        Page,
        audit::{Actor, ActorKind, Event, ListRequest, Outcome, TailRequest, Target},
    },
    time::Timestamp,
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// How often a tail looks for sealed events; the sealer works in such steps too.
const POLL: Duration = Duration::from_millis(500);
/// Events in one look.
const BATCH: u32 = 500;

/// `audit/list`
pub(super) async fn list(admin: Arc<Admin>, by: Caller, request: ListRequest) -> Result<Page<Event>, Denied> {
    let page = page_request(request.limit, request.after.clone())?;
    let events = admin.auth.list_events(&by.reader(), filter(request), page).await?;
    Ok(shown(events, event))
}

fn filter(request: ListRequest) -> EventFilter {
    let noun_or_action = |action: String| action.strip_suffix(".*").map(str::to_owned).unwrap_or(action);
    let id_or_uid = |actor: String| actor.strip_prefix("uid:").map(str::to_owned).unwrap_or(actor);
    EventFilter {
        action: request.action.map(noun_or_action),
        actor: request.actor.map(id_or_uid),
        target: request.target,
        network: request.ip,
        outcome: request.outcome.map(|outcome| {
            let outcome = match outcome {
                Outcome::Ok => EventOutcome::Ok,
                Outcome::Denied => EventOutcome::Denied,
                Outcome::Error => EventOutcome::Error,
            };
            outcome.as_str().to_owned()
        }),
        since_ms: request.since.map(Timestamp::as_millis),
        until_ms: request.until.map(Timestamp::as_millis),
        request_id: request.request_id,
        worth: if request.notable == Some(true) { Worth::Notable } else { Worth::Any },
    }
}

/// `audit/tail`
pub(super) async fn tail(admin: Arc<Admin>, by: Caller, request: TailRequest) -> Result<Stream, Denied> {
    admin.auth.note_audit_read(&by.reader(), "tail").await?;
    let position = match request.after {
        Some(after) => i64::try_from(after).map_err(|_| Denied::Malformed("`after` is no position".to_owned()))?,
        None => admin.auth.audit_head().await?,
    };
    let (writer, lines) = lines::channel();
    let mut stop = admin.stop();
    let tasks = admin.tasks.clone();
    tasks.spawn_brief("audit tail", async move {
        tokio::select! {
            () = stop.wait() => {}
            () = writer.closed() => {}
            () = follow(&admin, &writer, position) => {}
        }
    });
    Ok(Stream { position, lines })
}

/// Writes events as they are sealed, until the reader has gone or storage fails: the reader then asks again from where
/// it is and learns of the fault.
async fn follow(admin: &Admin, writer: &LineWriter, mut position: i64) {
    loop {
        let Ok(events) = admin.auth.events_after(position, BATCH).await else { return };
        let count = events.len();
        for stored in events {
            position = stored.seq.unwrap_or(position).max(position);
            if writer.write(&event(stored)).await == Err(Gone) {
                return;
            }
        }
        if count < usize::try_from(BATCH).unwrap_or(usize::MAX) {
            sleep(POLL).await;
        }
    }
}

pub(super) fn event(stored: StoredEvent) -> Event {
    let uid = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    Event {
        id: stored.id,
        seq: stored.seq.and_then(|seq| u64::try_from(seq).ok()),
        at: Timestamp(stored.at_ms),
        action: stored.action,
        outcome: match stored.outcome.as_str() {
            "ok" => Outcome::Ok,
            "denied" => Outcome::Denied,
            _ => Outcome::Error,
        },
        reason: stored.reason,
        actor: Actor {
            kind: match stored.actor_kind.as_str() {
                "user" => ActorKind::User,
                "operator" => ActorKind::Operator,
                "job" => ActorKind::Job,
                _ => ActorKind::Anonymous,
            },
            id: stored.actor_id,
            uid: uid(stored.actor_uid),
            login_uid: uid(stored.actor_login_uid),
            pid: stored.actor_pid.and_then(|pid| i32::try_from(pid).ok()),
        },
        target: stored.target_kind.zip(stored.target_id).map(|(kind, id)| Target { kind, id }),
        network: stored.network,
        device: stored.device,
        request_id: stored.request_id,
        tenant: None,
        detail: detail(stored.detail),
    }
}

fn detail(facts: Vec<(String, String)>) -> Value {
    if facts.is_empty() {
        return Value::Null;
    }
    Value::Object(facts.into_iter().map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_understood_as_operators_write_them() {
        let request = ListRequest {
            action: Some("session.*".to_owned()),
            actor: Some("uid:1000".to_owned()),
            outcome: Some(Outcome::Denied),
            ..ListRequest::default()
        };
        let filter = filter(request);
        assert_eq!(filter.action.as_deref(), Some("session"));
        assert_eq!(filter.actor.as_deref(), Some("1000"));
        assert_eq!(filter.outcome.as_deref(), Some("denied"));
    }
}
