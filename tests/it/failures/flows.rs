//! Every flow of the table as requests, and what each must answer under a condition.

use authd::domain::failure::{Behaviour, Condition, Flow, cell};
use serde_json::json;
use shared::{
    admin::{Empty, daemon::Status, session::State},
    error::ErrorCode,
};
use std::time::Duration;
use tests::{
    client::{Call, PASSWORD, Tokens},
    daemon::Daemon,
    wait::{timed, until},
    wire::Answer,
};
use tokio::task::JoinSet;

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const CAROL: &str = "carol@example.org";
const DAVE: &str = "dave@example.org";
const EVE: &str = "eve@example.org";
const NEW_PASSWORD: &str = "granite-lantern-46-tide";
/// What a route that hashes may take, and any other, with what a busy machine adds.
const LONG: Duration = Duration::from_millis(5_800);
const SHORT: Duration = Duration::from_millis(3_800);

/// People who were there before the condition began.
pub(super) struct People {
    ada: Tokens,
    /// Whose access token nobody has asked about yet.
    unseen: Tokens,
    leaving: Tokens,
    /// Who leaves with the refresh token alone.
    departing: Tokens,
    ending: Tokens,
    bob: Tokens,
    dave: Tokens,
}

/// A request of a flow.
struct Probe {
    flow: Flow,
    name: &'static str,
    sent: Sent,
    /// What it answers when nothing is wrong.
    ok: u16,
    limit: Duration,
}

enum Sent {
    Public(Call),
    Admin(&'static str, String),
}

impl People {
    pub(super) async fn of(daemon: &Daemon) -> Self {
        let client = daemon.client();
        client.register(CAROL).await;
        let ada = client.register(ADA).await;
        let people = Self {
            unseen: client.login(ADA).await,
            leaving: client.login(ADA).await,
            departing: client.login(ADA).await,
            ending: client.login(ADA).await,
            ada,
            bob: client.register(BOB).await,
            dave: client.register(DAVE).await,
        };
        client.verify(&people.ada.access).await.assert_status(200);
        people
    }

    fn public(&self, daemon: &Daemon) -> Vec<Probe> {
        let client = daemon.client();
        let probe = |flow, name, call, ok, limit| Probe { flow, name, sent: Sent::Public(call), ok, limit };
        let login = json!({ "email": ADA, "password": PASSWORD });
        let register = json!({ "email": EVE, "password": PASSWORD });
        let change = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
        let logout = client.post("/api/auth/logout", &json!({ "scope": "current" }));
        let depart = client.post("/api/auth/logout", &json!({ "refresh_token": self.departing.refresh }));
        let end = client.call("DELETE", &format!("/api/auth/sessions/{}", self.ending.session));
        vec![
            probe(Flow::Register, "register", client.post("/api/auth/register", &register), 201, LONG),
            probe(Flow::Login, "log in", client.post("/api/auth/login", &login), 200, LONG),
            probe(Flow::Refresh, "refresh", client.refresh_call(&self.ada.refresh), 200, SHORT),
            probe(Flow::Change, "log out", logout.bearer(&self.leaving.access), 204, SHORT),
            probe(Flow::Change, "log out with the refresh token", depart, 204, SHORT),
            probe(Flow::Change, "end a session", end.bearer(&self.ada.access), 204, SHORT),
            probe(
                Flow::Change,
                "change password",
                client.call("PATCH", "/api/user/password").json(&change).bearer(&self.bob.access),
                204,
                LONG,
            ),
            probe(
                Flow::Change,
                "delete account",
                client.call("DELETE", "/api/user").json(&json!({ "password": PASSWORD })).bearer(&self.dave.access),
                204,
                LONG,
            ),
            probe(Flow::Read, "profile", client.get("/api/user/profile").bearer(&self.ada.access), 200, SHORT),
            probe(Flow::Read, "sessions", client.get("/api/auth/sessions").bearer(&self.ada.access), 200, SHORT),
            probe(Flow::Verify, "verify", client.get("/api/auth/verify").bearer(&self.ada.access), 200, SHORT),
            probe(
                Flow::Verify,
                "verify another",
                client.get("/api/auth/verify").bearer(&self.unseen.access),
                200,
                SHORT,
            ),
            probe(Flow::Verify, "key set", client.get("/.well-known/jwks.json"), 200, SHORT),
        ]
    }

    fn all(&self, daemon: &Daemon) -> Vec<Probe> {
        let probe = |flow, name, path, body: serde_json::Value| Probe {
            flow,
            name,
            sent: Sent::Admin(path, body.to_string()),
            ok: 200,
            limit: LONG,
        };
        let mut all = self.public(daemon);
        all.extend([
            probe(Flow::AdminRead, "status", "/v1/status", json!({})),
            probe(Flow::AdminRead, "limits", "/v1/limit/list", json!({})),
            probe(Flow::AdminRead, "mode", "/v1/mode/show", json!({})),
            probe(Flow::AdminRead, "list sessions", "/v1/session/list", json!({})),
            probe(Flow::AdminRead, "read audit", "/v1/audit/list", json!({})),
            probe(Flow::AdminChange, "disable", "/v1/user/disable", json!({ "user": CAROL })),
            probe(Flow::KeyRotation, "rotate", "/v1/key/rotate", json!({ "force": true })),
        ]);
        all
    }

    /// Tries every flow at once and compares the answers with the table.
    pub(super) async fn walk(&self, daemon: &Daemon, condition: Condition) {
        self.walk_flows(daemon, condition).await;
        assert_told(daemon, condition).await;
    }

    /// The same under a condition that may be over before anybody is told of it.
    pub(super) async fn walk_flows(&self, daemon: &Daemon, condition: Condition) {
        let (before, has_room) = (daemon.client().jwks().await, has_room(daemon));
        let mut calls = JoinSet::new();
        for probe in self.all(daemon) {
            let admin = daemon.admin();
            calls.spawn(async move {
                let (answer, took) = timed(async {
                    match &probe.sent {
                        Sent::Public(call) => call.send().await,
                        Sent::Admin(path, body) => admin.post(path, body).await,
                    }
                })
                .await;
                (probe, answer, took)
            });
        }
        for (probe, answer, took) in calls.join_all().await {
            let what = format!("{} under {condition:?}", probe.name);
            match refusal(&probe, condition, has_room) {
                None => assert_eq!(answer.status, probe.ok, "{what}: {answer}"),
                // A route whose time is up has not heard of the database at all.
                Some(_) if took >= budget(&probe) => assert_refused(&what, &answer, ErrorCode::Overloaded, &probe),
                Some(code) => assert_refused(&what, &answer, code, &probe),
            }
            assert!(took <= probe.limit.mul_f64(tests::process::crowding()), "{what}: {took:?}");
        }
        if matches!(condition, Condition::DatabaseAway | Condition::DatabaseUnwritable) {
            daemon.client().verify(&self.leaving.access).await.assert_refused(ErrorCode::TokenInvalid);
        }
        self.walk_audit(daemon, condition).await;
        let after = daemon.client().jwks().await;
        if cell(Flow::KeyRotation, condition).behaviour == Behaviour::Closed && before.status == 200 {
            assert_eq!(before.body, after.body, "the published keys stay");
        }
    }

    /// A refusal that can be recorded nowhere is an outage to its caller.
    async fn walk_audit(&self, daemon: &Daemon, condition: Condition) {
        let answer = daemon.client().try_refresh("art1_nonsense").await;
        match cell(Flow::Audit, condition).behaviour {
            Behaviour::Degraded if has_room(daemon) => drop(answer.assert_refused(ErrorCode::TokenInvalid)),
            Behaviour::Degraded => drop(answer.assert_refused(condition.code())),
            _ if cell(Flow::Refresh, condition).behaviour == Behaviour::Closed => {
                answer.assert_refused(condition.code());
            }
            _ => drop(answer.assert_refused(ErrorCode::TokenInvalid)),
        }
    }

    /// After the condition: what was refused has not happened, and everything works.
    pub(super) async fn assert_untouched(&self, daemon: &Daemon, condition: Condition) {
        daemon.until_ready().await;
        let (client, admin) = (daemon.client(), daemon.admin());
        let closed = |flow| cell(flow, condition).behaviour == Behaviour::Closed;
        let eve = client.try_register(&json!({ "email": EVE, "password": PASSWORD })).await;
        eve.assert_status(if closed(Flow::Register) { 201 } else { 409 });
        if closed(Flow::Refresh) {
            assert_eq!(admin.session(&self.ada.session).await.generation, 0, "the token was consumed");
            client.refresh(&self.ada).await;
        }
        client.login(ADA).await;
        let disabled = admin.events("user.disabled").await.len();
        assert_eq!(disabled, usize::from(!closed(Flow::AdminChange)), "changes by operators");
        if closed(Flow::Change) {
            client.login(BOB).await;
            client.login(DAVE).await;
            let in_mode = matches!(condition, Condition::ReadOnly | Condition::Lockdown);
            let wanted = if in_mode { State::Live } else { State::Ended };
            for left in [&self.leaving, &self.departing] {
                until(Duration::from_secs(8), "the logout is as the table says", || async {
                    (admin.session(&left.session).await.state == wanted).then_some(())
                })
                .await;
            }
        }
    }
}

/// When the route of a probe gives up, whatever it waits for.
fn budget(probe: &Probe) -> Duration {
    Duration::from_secs(if probe.limit == LONG { 5 } else { 3 })
}

/// Whether the daemon can keep what it cannot record.
fn has_room(daemon: &Daemon) -> bool {
    let file = daemon.data_dir().join("room");
    let has_room = std::fs::write(&file, [1; 64 * 1024]).is_ok();
    std::fs::remove_file(&file).expect("what was begun can be removed");
    has_room
}

/// The code with which a probe must be refused; `None`: it is served.
fn refusal(probe: &Probe, condition: Condition, has_room: bool) -> Option<ErrorCode> {
    match cell(probe.flow, condition).behaviour {
        Behaviour::Closed => Some(condition.code()),
        Behaviour::Open | Behaviour::Unaffected => None,
        Behaviour::Degraded => match (condition, probe.name) {
            (Condition::DatabaseAway, "list sessions" | "read audit") => Some(ErrorCode::StorageUnavailable),
            (Condition::DatabaseUnwritable, "read audit") => (!has_room).then_some(ErrorCode::StorageUnavailable),
            (Condition::DatabaseAway | Condition::DatabaseUnwritable | Condition::RedisAway, _) => None,
            (Condition::HashQueueFull, "change password" | "delete account") => Some(ErrorCode::Overloaded),
            (Condition::HashQueueFull, _) => None,
            (_, name) => panic!("nobody has said what degraded means for {name} under {condition:?}"),
        },
    }
}

fn assert_refused(what: &str, answer: &Answer, code: ErrorCode, probe: &Probe) {
    assert_eq!((answer.status, answer.code().as_str()), (503, code.as_str()), "{what}: {answer}");
    if matches!(probe.sent, Sent::Public(_)) {
        answer.assert_refused(code);
    }
}

/// The status names the condition, since when, and with what effect.
async fn assert_told(daemon: &Daemon, condition: Condition) {
    let status = daemon.admin().call::<Status>(&Empty {}).await;
    let told = status.degraded.iter().find(|degraded| degraded.part == condition.part());
    let told = told.unwrap_or_else(|| panic!("{condition:?} is not in {:?}", status.degraded));
    assert!(told.effect.contains(&condition.effect()), "{condition:?}: {told:?}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let age_ms = i64::try_from(now).unwrap() - told.since.as_millis();
    assert!((0..120_000).contains(&age_ms), "{condition:?}: {told:?}");
}
