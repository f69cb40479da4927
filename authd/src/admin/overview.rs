//! Calls that look at sessions as a whole, and at the whole of one session.

use super::{
    Admin, audit,
    call::Caller,
    problem::Denied,
    session::{id_prefix, session},
};
use crate::domain::{
    lineage::{Place, Step as Known},
    session::{Session, SessionState, Transport},
    session_stats::{AGES_MS, SessionStats, SessionTally},
};
use shared::{
    admin::{
        Empty,
        audit::Outcome,
        session::{
            ShowRequest,
            lineage::{History, Step},
            stats::{AccountShare, Age, NetworkShare, Overview, States, Transports},
        },
    },
    time::Timestamp,
};
use std::sync::Arc;

/// Names of [`AGES_MS`].
const AGES: [&str; 4] = ["1h", "1d", "7d", "30d"];

/// `session/stats`
pub(super) async fn stats(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Overview, Denied> {
    Ok(overview(admin.auth.session_stats().await?))
}

fn overview(stats: SessionStats) -> Overview {
    let sum = |is_meant: &dyn Fn(&SessionTally) -> bool| -> u64 {
        stats.tallies.iter().filter(|tally| is_meant(tally)).map(|tally| tally.count).sum()
    };
    let in_state = |state| sum(&|tally| tally.state == state);
    let carried = |transport| sum(&|tally| tally.state == SessionState::Live && tally.transport == transport);
    let aged = |bound| sum(&|tally| tally.state == SessionState::Live && tally.younger_than_ms == bound);
    let age = |(name, bound): (&str, i64)| Age { under: Some(name.to_owned()), live: aged(Some(bound)) };
    let older = Age { under: None, live: aged(None) };
    Overview {
        at: Timestamp(stats.at_ms),
        state: States {
            live: in_state(SessionState::Live),
            ended: in_state(SessionState::Ended),
            expired: in_state(SessionState::Expired),
        },
        transport: Transports { body: carried(Transport::Body), cookie: carried(Transport::Cookie) },
        age: AGES.into_iter().zip(AGES_MS).map(age).chain([older]).collect(),
        accounts: stats
            .accounts
            .iter()
            .cloned()
            .map(|(user_id, email, live)| AccountShare { user_id, email, live })
            .collect(),
        networks: stats
            .networks
            .iter()
            .map(|(network, live)| NetworkShare { network: network.as_str().to_owned(), live: *live })
            .collect(),
    }
}

/// `session/lineage`
pub(super) async fn lineage(admin: Arc<Admin>, by: Caller, request: ShowRequest) -> Result<History, Denied> {
    let lineage = admin.auth.session_lineage(&by.reader(), id_prefix(&request.id)?).await?;
    let steps = lineage.steps.into_iter().map(|known| step(&lineage.session, known)).collect();
    Ok(History { steps, truncated: lineage.is_truncated, session: session(lineage.session) })
}

fn step(session: &Session, known: Known) -> Step {
    match known {
        Known::Event(stored) => {
            let generation = stored.detail.iter().find(|(name, _)| name == "generation");
            let generation = generation.and_then(|(_, value)| value.parse().ok());
            let event = audit::event(*stored);
            Step {
                at: event.at,
                action: event.action,
                outcome: event.outcome,
                generation,
                reason: event.reason,
                network: event.network,
                device: event.device,
                actor: Some(event.actor),
                request_id: event.request_id,
                event: Some(event.id),
            }
        }
        Known::Row { at_ms, action, generation, reason, place } => {
            let seen = place == Place::LastSeen;
            let network = session.network.as_ref().filter(|_| seen).map(|network| network.as_str().to_owned());
            let device = session.device.as_ref().filter(|_| seen).map(|device| device.as_str().to_owned());
            Step {
                at: Timestamp(at_ms),
                action: action.to_owned(),
                outcome: Outcome::Ok,
                generation: generation.and_then(|generation| u64::try_from(generation).ok()),
                reason,
                network,
                device,
                actor: None,
                request_id: None,
                event: None,
            }
        }
    }
}
