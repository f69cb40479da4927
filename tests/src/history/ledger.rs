//! Operations, events and effects, compared one by one: every effect in the database has exactly one event, every such
//! event exactly one operation, and every operation that was acknowledged all of its events.
//!
//! Holds for daemons with [`crate::history::crowd::CONFIG`] that only a [`crate::history::crowd::Crowd`] has used.

use super::{
    chain,
    recorder::{Act, Operation, Told},
    snapshot::{EventRow, Reader, Snapshot},
};
use crate::{daemon::Daemon, wait::until};
use std::{
    cell::RefCell,
    collections::HashMap,
    time::{Duration, Instant},
};

const SEALED: Duration = Duration::from_secs(60);
/// How long nothing may be written before nothing is taken to be under way.
const STILL: Duration = Duration::from_millis(300);

/// Waits until nothing is under way in the database any more: what was cut off has happened by now, or never will.
///
/// # Panics
/// When it does not come to rest.
pub async fn until_quiet(daemon: &Daemon) {
    let reader = tokio::sync::Mutex::new(Reader::open(daemon).await);
    let seen = RefCell::new(((-1, -1), Instant::now()));
    until(SEALED, "the database comes to rest", || async {
        let now = reader.lock().await.events().await;
        let mut seen = seen.borrow_mut();
        if seen.0 != now {
            *seen = (now, Instant::now());
        }
        (seen.1.elapsed() > STILL).then_some(())
    })
    .await;
}

/// Compares. Nothing may be under way.
///
/// # Panics
/// When anything has no counterpart, or two; and where the chain of events breaks.
pub async fn check(daemon: &Daemon, operations: &[Operation]) {
    let reader = tokio::sync::Mutex::new(Reader::open(daemon).await);
    let all_sealed = || async { (reader.lock().await.events().await.1 == 0).then_some(()) };
    until(SEALED, "every event is sealed", all_sealed).await;
    let snapshot = reader.into_inner().snapshot().await;
    chain::check(&snapshot);
    let effects: Vec<Effect<'_>> = snapshot.events.iter().filter_map(Effect::of).collect();
    compare_operations(&effects, operations);
    compare_rows(&effects, &snapshot);
}

/// An event that says that something changed.
#[derive(Debug, Clone, Copy)]
struct Effect<'e> {
    action: &'e str,
    target: &'e str,
    event: &'e EventRow,
}

impl<'e> Effect<'e> {
    fn of(event: &'e EventRow) -> Option<Self> {
        let action = event.action.as_str();
        let changes = match action {
            "user.created" | "login.succeeded" | "session.opened" | "session.refreshed" | "session.retried"
            | "session.revoked" | "password.changed" | "user.disabled" | "user.enabled" | "user.updated" => {
                event.outcome == "ok"
            }
            "session.replayed" => true,
            _ => false,
        };
        changes.then(|| Self { action, target: event.target_id.as_deref().unwrap_or_default(), event })
    }

    fn fact(&self, name: &str) -> Option<String> {
        let facts: Vec<(String, String)> = serde_json::from_str(&self.event.detail).expect("facts are JSON");
        facts.into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The operation that it is of: an operator's ticket, or the id of a request.
    fn operation(&self) -> String {
        self.fact("ticket").or_else(|| self.event.request_id.clone()).unwrap_or_default()
    }
}

fn compare_operations(effects: &[Effect<'_>], operations: &[Operation]) {
    let mut by_operation: HashMap<String, Vec<&Effect<'_>>> = HashMap::new();
    for effect in effects {
        by_operation.entry(effect.operation()).or_default().push(effect);
    }
    for operation in operations {
        let effects = by_operation.remove(&operation.id).unwrap_or_default();
        let mut actions: Vec<&str> = effects.iter().map(|effect| effect.action).collect();
        actions.sort_unstable();
        let revoked = actions.iter().filter(|action| **action == "session.revoked").count();
        actions.retain(|action| *action != "session.revoked");
        assert!(can_be(operation, &actions, revoked), "{operation:?} and these events: {effects:#?}");
        if let Told::Granted(session) = &operation.told {
            let about = |effect: &&Effect<'_>| effect.action.starts_with("session.") && effect.target == session;
            assert!(effects.iter().any(about), "{operation:?} and these events: {effects:#?}");
        }
    }
    assert!(by_operation.is_empty(), "effects of operations that nobody began: {by_operation:#?}");
}

/// Whether an operation with this outcome can have had these effects, besides having ended so many sessions.
fn can_be(operation: &Operation, actions: &[&str], revoked: usize) -> bool {
    const LOGIN: [&str; 2] = ["login.succeeded", "session.opened"];
    let none = actions.is_empty() && revoked == 0;
    let unknown = operation.told == Told::Unknown;
    match (operation.act, &operation.told) {
        (_, Told::Unsent) => none,
        // A registration that was done before opens a session as a login, and ends the one nobody was told of.
        (Act::Register, Told::Granted(_)) => {
            (actions == ["session.opened", "user.created"] && revoked == 0) || (actions == LOGIN && revoked <= 1)
        }
        (Act::Register, Told::Unknown) => {
            (actions == ["session.opened", "user.created"] && revoked == 0)
                || (actions == LOGIN && revoked <= 1)
                || (actions.is_empty() && revoked <= 1)
        }
        (Act::Login, Told::Granted(_)) => actions == LOGIN && revoked == 0,
        (Act::Refresh, Told::Granted(_)) => {
            (actions == ["session.refreshed"] || actions == ["session.retried"]) && revoked == 0
        }
        (Act::Refresh, Told::Refused(401)) => (none || actions == ["session.replayed"]) && revoked == 0,
        (Act::Refresh, Told::Unknown) => actions.len() <= 1 && revoked == 0,
        (Act::Logout, Told::Done | Told::Unknown) => actions.is_empty(),
        (Act::RevokeSession, Told::Done | Told::Unknown) => actions.is_empty() && revoked <= 1,
        (Act::ChangePassword, Told::Done) => actions == ["password.changed"],
        (Act::Disable, Told::Done) => actions == ["user.disabled"],
        (Act::Enable, Told::Done) => actions == ["user.enabled"] && revoked == 0,
        (Act::Login, _) if unknown => none || (actions == LOGIN && revoked == 0),
        (Act::ChangePassword, _) if unknown => none || actions == ["password.changed"],
        (Act::Disable, _) if unknown => none || actions == ["user.disabled"],
        (Act::Enable, _) if unknown => none || (actions == ["user.enabled"] && revoked == 0),
        (_, Told::Refused(_)) => none,
        (_, _) => false,
    }
}

/// Counts effects by action and target.
struct Counted<'e>(HashMap<(&'e str, &'e str), i64>);

impl<'e> Counted<'e> {
    fn take(&mut self, action: &'e str, target: &'e str) -> i64 {
        self.0.remove(&(action, target)).unwrap_or_default()
    }
}

fn compare_rows(effects: &[Effect<'_>], snapshot: &Snapshot) {
    let mut counted = Counted(HashMap::new());
    let mut retried: HashMap<(&str, String), i64> = HashMap::new();
    let mut logins: HashMap<String, i64> = HashMap::new();
    for effect in effects {
        *counted.0.entry((effect.action, effect.target)).or_default() += 1;
        match effect.action {
            "session.retried" => {
                *retried.entry((effect.target, effect.fact("generation").unwrap_or_default())).or_default() += 1;
            }
            "login.succeeded" => *logins.entry(effect.fact("session").unwrap_or_default()).or_default() += 1,
            _ => {}
        }
    }
    let mut first_sessions: HashMap<&str, i64> = HashMap::new();
    for session in &snapshot.sessions {
        let id = session.id.as_str();
        assert_eq!(counted.take("session.opened", id), 1, "its opening: {session:?}");
        assert_eq!(counted.take("session.refreshed", id), session.generation, "its generations: {session:?}");
        let ended = counted.take("session.revoked", id) + counted.take("session.replayed", id);
        assert_eq!(ended, i64::from(session.revoked_ms.is_some()), "its end: {session:?}");
        assert_eq!(session.fed, ended, "its revocation for other instances: {session:?}");
        counted.take("session.retried", id);
        let now = retried.get(&(id, session.generation.to_string())).copied().unwrap_or_default();
        assert_eq!(now, session.retries, "the retries of its newest generation: {session:?}");
        let login = logins.remove(id).unwrap_or_default();
        assert!(login <= 1, "two logins opened it: {session:?}");
        *first_sessions.entry(&session.account_id).or_default() += 1 - login;
    }
    let last = last_standing(effects);
    for account in &snapshot.accounts {
        let id = account.id.as_str();
        assert_eq!(counted.take("user.created", id), 1, "its creation: {account:?}");
        assert_eq!((account.passwords, account.names), (1, 1), "half an account: {account:?}");
        assert_eq!(first_sessions.remove(id), Some(1), "its first session: {account:?}");
        let breaks = counted.take("password.changed", id) + counted.take("user.disabled", id);
        assert_eq!(breaks, account.epoch, "what ended its sessions: {account:?}");
        counted.take("user.enabled", id);
        counted.take("login.succeeded", id);
        let disabled = last.get(id).is_some_and(|action| *action == "user.disabled");
        assert_eq!(disabled, account.disabled_ms.is_some(), "its standing: {account:?}");
    }
    assert!(counted.0.is_empty(), "effects on nothing: {:#?}", counted.0);
    assert!(logins.is_empty(), "logins into nothing: {logins:#?}");
    assert!(first_sessions.is_empty(), "sessions of nobody: {first_sessions:#?}");
}

/// The last of `user.disabled` and `user.enabled` of each account.
fn last_standing<'e>(effects: &[Effect<'e>]) -> HashMap<&'e str, &'e str> {
    let mut standing: Vec<&Effect<'e>> =
        effects.iter().filter(|effect| matches!(effect.action, "user.disabled" | "user.enabled")).collect();
    standing.sort_by_key(|effect| effect.event.seq);
    standing.into_iter().map(|effect| (effect.target, effect.action)).collect()
}
