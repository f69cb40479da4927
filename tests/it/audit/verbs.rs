//! Every call that changes something leaves its events, and changes nothing when they cannot be written: the table of
//! all calls is walked, so that a new one without an entry here fails.

use crate::database::{empty_server, url};
use rustix::process::{getgid, getgroups, getuid};
use serde_json::{Value, json};
use shared::admin::{
    Access, CALLS, Empty, Shape,
    audit::{ActorKind, Event, List, ListRequest, Outcome},
    key, user,
};
use sqlx::{ConnectOptions, Executor, sqlite::SqliteConnectOptions};
use std::collections::BTreeSet;
use tests::{client::PASSWORD, daemon::Daemon, options::Database, wire::Answer};

const REASON: &str = "asked for by phone";
const TICKET: &str = "OPS-17";

/// So that there is a breaker that nothing needs.
const AWAY: &str = "[redis]\nurl = \"redis://127.0.0.1:1\"";

/// Calls for administrators alone that change nothing. What they read is recorded where it says who did what.
const READS: [&str; 3] = ["/v1/config/show", "/v1/config/check", "/v1/audit/export"];

/// Calls that have to work while the database takes nothing: their events go to the spool first.
const SPOOLED: [&str; 2] = ["/v1/breaker/open", "/v1/breaker/close"];

/// A change: the call, what it says besides reason and ticket, and what it leaves in the audit log.
struct Change {
    path: &'static str,
    body: Value,
    leaves: &'static [&'static str],
}

/// Every call that changes something, in an order in which each finds something to change.
async fn changes(daemon: &Daemon) -> Vec<Change> {
    let change = |path, body, leaves| Change { path, body, leaves };
    let (ada, bob) = (json!({ "user": "ada@example.org" }), json!({ "user": "bob@example.org" }));
    let network = json!({ "network": "192.0.2.7" });
    let (old, staged) = keys(daemon).await;
    let mut all = vec![
        change("/v1/reload", json!({ "wait": true }), &["config.reloaded"][..]),
        change(
            "/v1/session/revoke",
            json!({ "user": "ada@example.org" }),
            &["session.revoked", "session.revoked", "device.dropped", "device.dropped"],
        ),
        change("/v1/user/disable", ada.clone(), &["user.disabled"]),
        change("/v1/user/enable", ada.clone(), &["user.enabled"]),
        change("/v1/user/unlock", ada.clone(), &["user.unlocked"]),
        change("/v1/user/reset-password", ada.clone(), &["password.reset_issued"]),
        change("/v1/user/delete", ada, &["user.deleted"]),
        change("/v1/user/logout", bob, &["user.updated", "session.revoked", "device.dropped"]),
        change("/v1/user/create", json!({ "email": "eve@example.org", "password": PASSWORD }), &["user.created"]),
        change("/v1/user/import", json!({ "users": [{ "email": "dan@example.org" }] }), &["user.created"]),
        change("/v1/user/export", json!({ "limit": 1 }), &["user.exported"]),
        change("/v1/key/promote", json!({ "force": true }), &["key.activated"]),
        change("/v1/key/retire", json!({ "id": old, "force": true }), &["key.retired"]),
        change("/v1/key/rotate", json!({ "force": true }), &["key.activated"]),
        change("/v1/key/revoke", json!({ "id": staged }), &["key.revoked"]),
        change("/v1/key/stage", json!({ "replace": true }), &["key.retired", "key.staged"]),
        change("/v1/limit/set", json!({ "policy": "login.ip", "rate": "10/min" }), &["limit.changed"]),
        change("/v1/limit/reset", json!({ "policy": "login.ip" }), &["limit.reset"]),
        change("/v1/ban/add", network.clone(), &["address.banned"]),
        change("/v1/ban/remove", network.clone(), &["address.ban_removed"]),
        change("/v1/allow/add", network.clone(), &["address.allowed"]),
        change("/v1/allow/remove", network, &["address.allow_removed"]),
        change("/v1/mode/set", json!({ "mode": "no-login" }), &["mode.changed"]),
        change("/v1/breaker/open", json!({ "name": "redis" }), &["breaker.opened"]),
        change("/v1/breaker/close", json!({ "name": "redis" }), &["breaker.closed"]),
        change("/v1/audit/checkpoint", json!({}), &["audit.checkpointed"]),
        change("/v1/audit/purge", json!({ "confirm_clock": true }), &["clock.confirmed"]),
        change("/v1/session/epoch-bump", json!({}), &["mode.changed"]),
        change("/v1/db/backup", json!({}), &["database.backed_up"]),
    ];
    // The last one: nothing is written here any more.
    let target = empty_server().await;
    let moves: &[&str] = match daemon.database() {
        Database::Postgres(_) => &[],
        _ => &["database.move_begun", "database.moved"],
    };
    all.push(change("/v1/db/move", json!({ "target_url": url(&target) }), moves));
    all
}

/// The key that signs and the one that is staged.
async fn keys(daemon: &Daemon) -> (String, String) {
    let listed = daemon.admin().call::<key::List>(&Empty {}).await.items;
    let of = |state| listed.iter().find(|key| key.state == state).expect("one of each").id.to_string();
    (of(key::State::Active), of(key::State::Staged))
}

/// Two people, one of them with two sessions.
async fn people(daemon: &Daemon) {
    for name in ["ada", "bob"] {
        daemon.client().register(&format!("{name}@example.org")).await;
    }
    daemon.client().login("ada@example.org").await;
}

/// The account that a change names.
async fn account(daemon: &Daemon, change: &Change) -> Option<String> {
    let user = change.body["user"].as_str()?.to_owned();
    Some(daemon.admin().call::<user::Show>(&user::ShowRequest { user }).await.id.to_string())
}

async fn make(daemon: &Daemon, change: &Change) -> Answer {
    let mut body = change.body.clone();
    body["reason"] = REASON.into();
    body["ticket"] = TICKET.into();
    daemon.admin().post(change.path, &body.to_string()).await
}

/// Whether the change was made: the last line of a stream says so.
fn is_done(change: &Change, answer: &Answer) -> bool {
    let call = CALLS.iter().find(|call| call.path == change.path).expect("a call");
    let last = answer.body.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
    let is_complete = call.shape == Shape::Value || String::from_utf8_lossy(last).starts_with("{\"done\"");
    answer.status == 200 && is_complete
}

/// What a process like this one is known by.
fn assert_who_and_why(event: &Event) {
    let login_uid = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    assert_eq!((event.actor.kind, event.outcome), (ActorKind::Operator, Outcome::Ok), "{event:?}");
    assert_eq!(event.actor.uid, Some(getuid().as_raw()), "{event:?}");
    assert_eq!(event.actor.login_uid, login_uid.filter(|uid| *uid != u32::MAX), "{event:?}");
    assert_eq!(event.actor.pid, i32::try_from(std::process::id()).ok(), "{event:?}");
    // What follows from a change says from which; the change itself has the operator's words.
    let is_told = event.reason.as_deref() == Some(REASON) || event.reason.as_deref() == Some("operator_revoked");
    assert!(is_told && event.detail["ticket"] == TICKET, "{event:?}");
    let groups = event.detail["groups"].as_str().unwrap_or_default();
    let groups: BTreeSet<u32> = groups.split(' ').filter_map(|gid| gid.parse().ok()).collect();
    let own = std::iter::once(getgid()).chain(getgroups().unwrap());
    assert_eq!(groups, own.map(|gid| gid.as_raw()).collect(), "{event:?}");
}

#[test]
fn every_call_for_administrators_reads_or_is_tried_here() {
    // See `changes`; this list is short to read, that one needs a daemon.
    let source: String = include_str!("verbs.rs").split_whitespace().collect();
    for call in CALLS.iter().filter(|call| matches!(call.access, Access::Admin | Access::Own)) {
        let is_tried = source.contains(&format!("change(\"{}\"", call.path));
        assert!(is_tried || READS.contains(&call.path), "{} has no entry", call.path);
    }
}

on_both! {
    async fn a_change_leaves_its_events_before_it_is_answered_with_who_and_why(options) {
        let daemon = Daemon::start(options.config(AWAY)).await;
        people(&daemon).await;
        for change in changes(&daemon).await.iter().filter(|change| !change.leaves.is_empty()) {
            let account = account(&daemon, change).await;
            let answer = make(&daemon, change).await;
            assert!(is_done(change, &answer), "{}: {answer}", change.path);
            let request_id = answer.header("x-request-id").map(str::to_owned);
            assert!(request_id.is_some(), "{}: {answer}", change.path);
            let events = daemon.admin().call::<List>(&ListRequest { request_id, ..Default::default() }).await.items;
            let mut left: Vec<&str> = events.iter().rev().map(|event| event.action.as_str()).collect();
            left.sort_unstable();
            let mut expected = change.leaves.to_vec();
            expected.sort_unstable();
            assert_eq!(left, expected, "{}: {events:?}", change.path);
            events.iter().for_each(assert_who_and_why);
            assert!(!serde_json::to_string(&events).unwrap().contains(PASSWORD), "{events:?}");
            assert!(events.iter().any(|event| event.reason.as_deref() == Some(REASON)), "{events:?}");
            let about_people = events.iter().filter(|event| event.action.starts_with("user.") && account.is_some());
            for event in about_people {
                assert_eq!(event.target.as_ref().map(|target| target.id.as_str()), account.as_deref(), "{event:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_recorded_is_refused() {
    let daemon = Daemon::start(tests::options::Options::sqlite().config(AWAY)).await;
    people(&daemon).await;
    let changes = changes(&daemon).await;
    let database = SqliteConnectOptions::new().filename(daemon.data_dir().join("authd.db"));
    let mut database = database.connect().await.unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'full'); END";
    database.execute(refuse).await.unwrap();
    for change in changes.iter().filter(|change| !SPOOLED.contains(&change.path)) {
        let answer = make(&daemon, change).await;
        assert!(!is_done(change, &answer), "{}: {answer}", change.path);
    }
}
