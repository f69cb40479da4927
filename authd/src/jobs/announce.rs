//! A notable event as an entry of the log: the same facts for the journal, with an id it can be found by, and for
//! others.

use crate::domain::{audit::StoredEvent, tally::Tally};
use shared::notable::{self, Notable, Severity};

/// Which session an event is about.
fn session(event: &StoredEvent) -> Option<&str> {
    let target = event.target_kind.as_deref().filter(|kind| *kind == "session").and(event.target_id.as_deref());
    target.or_else(|| event.detail.iter().find(|(name, _)| name == "session").map(|(_, value)| value.as_str()))
}

/// Which account an event is about.
fn user(event: &StoredEvent) -> Option<&str> {
    let target = event.target_kind.as_deref().filter(|kind| *kind == "user").and(event.target_id.as_deref());
    target.or_else(|| event.actor_id.as_deref().filter(|_| event.actor_kind == "user"))
}

/// Writes and counts it. The journal takes names as they are, so that its entry is apart from the others'; see `log`.
pub(super) fn announce(event: &StoredEvent, tally: &Tally) {
    let Some(kind) = notable::of(&event.action, event.reason.as_deref()) else { return };
    tally.told(kind);
    let Notable { name, message_id, title, .. } = *kind;
    let (session_id, user_id, actor_uid) = (session(event), user(event), event.actor_uid);
    let (request_id, client_ip) = (event.request_id.as_deref(), event.network.as_deref());
    let target = event.target_id.as_deref();
    macro_rules! entries {
        ($level:ident) => {
            tracing::$level!(
                target: "authd::notable", event = name, session_id, user_id, request_id, client_ip, actor_uid,
                about = target, "{title}"
            );
            tracing::$level!(
                target: "authd::journal", message_id, authd_event = name, authd_event_id = event.id.as_str(),
                authd_session_id = session_id, authd_user_id = user_id, authd_request_id = request_id,
                authd_client_ip = client_ip, authd_actor_uid = actor_uid, authd_about = target, "{title}"
            );
        };
    }
    match kind.severity {
        Severity::Notice => {
            entries!(info);
        }
        Severity::Warning => {
            entries!(warn);
        }
    }
}
