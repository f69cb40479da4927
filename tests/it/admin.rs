//! The admin sockets: who gets in, what they may do, and that it is written down.

use rustix::process::getuid;
use serde_json::json;
use shared::admin::{
    Empty,
    audit::Outcome,
    daemon::{ReloadRequest, Status},
    limit, session,
};
use shared::error::ErrorCode;
use sqlx::{ConnectOptions, Executor, sqlite::SqliteConnectOptions};
use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};
use tests::{client::PASSWORD, daemon::Daemon, options::Options};

/// Runs a command as this uid, in no other group.
async fn as_uid(uid: u32, command: &[&str]) -> std::process::Output {
    let drop = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()];
    let mut run = if getuid().is_root() {
        tokio::process::Command::new("setpriv")
    } else {
        let mut sudo = tokio::process::Command::new("sudo");
        sudo.args(["-n", "setpriv"]);
        sudo
    };
    let output = run.args(drop).args(command).output().await.expect("setpriv (and sudo, unless root) can be started");
    assert_ne!(output.status.code(), Some(127), "setpriv failed: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[tokio::test]
async fn a_peer_without_the_right_is_refused_and_recorded_even_on_a_socket_open_to_all() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    open(daemon.data_dir(), 0o755);
    // Nobody is also the uid that the kernel shows for everybody it cannot name; the other is just a stranger.
    for uid in [65_534, 54_321] {
        let id = as_uid(uid, &["id", "-u"]).await;
        let id = String::from_utf8_lossy(&id.stdout).trim().to_owned();
        assert_eq!(id, uid.to_string(), "these tests need root or passwordless sudo");
        for name in ["admin.sock", "read.sock"] {
            let socket = daemon.data_dir().join(name);
            open(&socket, 0o777);
            let to = ["--unix-socket", socket.to_str().unwrap(), "-d", "{}"];
            for call in ["/v1/session/list", "/v1/status", "/v1/reload"] {
                let url = format!("http://authd{call}");
                let curl = [&["curl", "-s", "-m", "5", "-w", "%{http_code}"], &to[..], &[url.as_str()]].concat();
                let output = as_uid(uid, &curl).await;
                let answer = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(answer.ends_with("403") || answer.ends_with("000"), "{uid} {name} {call}: {answer}");
                assert!(!answer.contains("items") && !answer.contains("version"), "{uid} {name} {call}: {answer}");
            }
        }
        let refused = daemon.admin().events("admin.refused").await;
        assert!(refused.iter().all(|event| event.outcome == Outcome::Denied), "{refused:?}");
        assert!(refused.iter().any(|event| event.actor.uid == Some(uid)), "{uid}: {refused:?}");
    }
}

#[tokio::test]
async fn sockets_are_for_their_groups_and_neither_is_abstract() {
    let daemon = Daemon::start(Options::sqlite()).await;
    for name in ["admin.sock", "read.sock"] {
        let meta = std::fs::metadata(daemon.data_dir().join(name)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o660, "{name}");
        assert_eq!(meta.uid(), getuid().as_raw(), "{name}");
    }
    let unix = std::fs::read_to_string("/proc/net/unix").unwrap();
    let abstract_ones =
        unix.lines().filter(|line| line.split_whitespace().nth(7).is_some_and(|path| path.starts_with('@')));
    assert!(abstract_ones.clone().all(|line| !line.contains("authd")), "{:?}", abstract_ones.collect::<Vec<_>>());
    assert!(unix.contains(daemon.admin_socket().to_str().unwrap()));
}

#[tokio::test]
async fn nothing_of_the_admin_api_answers_on_tcp() {
    let daemon = Daemon::start(Options::sqlite()).await;
    for call in shared::admin::CALLS {
        let answer = daemon.client().post(call.path, &json!({})).send().await;
        assert_eq!(answer.status, 404, "{}: {answer}", call.path);
    }
    daemon.client().get("/metrics").send().await.assert_status(404);
}

#[tokio::test]
async fn readers_read_on_their_socket_and_change_nothing() {
    let daemon = Daemon::start(Options::sqlite()).await;
    daemon.client().register("ada@example.org").await;
    let reader = daemon.reader();
    assert_eq!(reader.call::<session::List>(&session::ListRequest::default()).await.items.len(), 1);
    reader.call::<Status>(&Empty {}).await;
    let changes = shared::admin::CALLS.iter().filter(|call| call.access == shared::admin::Access::Admin);
    for call in changes {
        let answer = reader.post(call.path, "{}").await;
        assert_eq!(answer.status, 403, "{}: {answer}", call.path);
    }
    assert_eq!(daemon.client().login("ada@example.org").await.user.len(), 30);
}

#[tokio::test]
async fn a_web_page_cannot_speak_to_the_socket() {
    let daemon = Daemon::start(Options::sqlite()).await;
    for header in [("origin", "http://evil.example"), ("referer", "http://evil.example/"), ("host", "evil.example")] {
        let answer = daemon.admin().send("/v1/session/list", "{}", &[header]).await.unwrap();
        assert_eq!(answer.status, 403, "{header:?}: {answer}");
    }
    let unknown = daemon.admin().post("/v1/session/explode", "{}").await;
    unknown.assert_status(404);
    daemon.admin().post("/v1/session/list", "{\"unknown\":1}").await.assert_status(400);
    daemon.admin().post("/v1/session/list", "{").await.assert_status(400);
}

on_both! {
    async fn a_dry_run_and_a_set_that_drifted_change_nothing(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let tokens = client.register("ada@example.org").await;
        client.login("ada@example.org").await;
        let admin = daemon.admin();
        let wanted = |dry_run, expect| session::RevokeRequest {
            user: Some("ada@example.org".into()), dry_run, expect, ..Default::default()
        };
        let dry = admin.call::<session::Revoke>(&wanted(true, None)).await;
        assert_eq!((dry.matched, dry.revoked), (2, 0));
        let drifted = admin.try_call::<session::Revoke>(&wanted(false, Some(5))).await;
        assert_eq!(drifted.status, 409, "{drifted}");
        client.refresh(&tokens).await;
        let done = admin.call::<session::Revoke>(&wanted(false, Some(2))).await;
        assert_eq!((done.matched, done.revoked), (2, 2));
        client.verify(&tokens.access).await.assert_status(401);
        let nothing = admin.try_call::<session::Revoke>(&session::RevokeRequest::default()).await;
        assert_eq!(nothing.status, 400, "a filter is needed: {nothing}");
    }
}

on_both! {
    async fn lists_come_in_pages_that_lose_and_repeat_nothing(options) {
        let daemon = Daemon::start(options).await;
        let mut expected = Vec::new();
        for number in 0..7 {
            expected.push(daemon.client().register(&format!("user{number}@example.org")).await.session);
        }
        expected.reverse();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let request = session::ListRequest { limit: Some(3), after, ..Default::default() };
            let page = daemon.admin().call::<session::List>(&request).await;
            seen.extend(page.items.iter().map(|session| session.id.to_string()));
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn status_tells_how_the_daemon_is() {
    let daemon = Daemon::start(Options::sqlite()).await;
    daemon.client().register("ada@example.org").await;
    let status = daemon.admin().call::<Status>(&Empty {}).await;
    assert!(status.ready);
    assert_eq!(status.listen.as_deref(), Some(daemon.address().to_string().as_str()));
    assert_eq!((status.database.kind.as_str(), status.database.state.as_str()), ("sqlite", "up"));
    assert_eq!(status.sessions.live, Some(1));
    assert!(status.keys.active.is_some());
    assert!(status.hashing.workers >= 1);
}

#[tokio::test]
async fn a_reload_applies_what_can_change_and_says_what_cannot() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let extra = daemon.data_dir().join("etc/conf.d/900.toml");
    std::fs::write(&extra, "[registration]\nopen = false\n[token]\naudience = \"others\"").unwrap();
    let request = ReloadRequest { wait: true, ..Default::default() };
    let reloaded = daemon.admin().call::<shared::admin::daemon::Reload>(&request).await;
    assert!(reloaded.problems.is_empty(), "{reloaded:?}");
    assert_eq!((reloaded.applied.len(), reloaded.restart.len()), (1, 1), "{reloaded:?}");
    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    daemon.client().try_register(&body).await.assert_status(403);
    std::fs::write(&extra, "[registration]\nopn = true").unwrap();
    let reloaded = daemon.admin().call::<shared::admin::daemon::Reload>(&request).await;
    assert_eq!((reloaded.problems.len(), reloaded.applied.len()), (1, 0), "{reloaded:?}");
    daemon.client().try_register(&body).await.assert_status(403);
    assert_eq!(daemon.admin().events("config.*").await.len(), 2);
}

#[tokio::test]
async fn a_reload_that_cannot_be_recorded_changes_nothing_and_the_daemon_is_not_ready() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let database = SqliteConnectOptions::new().filename(daemon.data_dir().join("authd.db"));
    let mut database = database.connect().await.unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'full'); END";
    database.execute(refuse).await.unwrap();
    let extra = daemon.data_dir().join("etc/conf.d/900.toml");
    std::fs::write(&extra, "[registration]\nopen = false").unwrap();
    let answer = daemon.admin().post("/v1/reload", "{}").await;
    answer.assert_refused(ErrorCode::StorageUnavailable);
    let ready = daemon.client().ready().await;
    assert_eq!((ready.status, &ready.json()["parts"]["audit"]["state"]), (503, &json!("down")), "{ready}");
    database.execute("DROP TRIGGER refuse").await.unwrap();
    daemon.until_ready().await;
    daemon.client().register("ada@example.org").await;
    daemon.admin().post("/v1/reload", "{}").await.assert_status(200);
    let body = json!({ "email": "eve@example.org", "password": PASSWORD });
    daemon.client().try_register(&body).await.assert_status(403);
}

#[tokio::test]
async fn authctl_speaks_json_lists_and_exit_codes() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let tokens = daemon.client().register("ada@example.org").await;
    let ctl = daemon.ctl();
    let listed = ctl.run(&["session", "list", "-o", "json"]).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert_eq!(listed.json()["schema"], "authctl.session.list/1");
    assert_eq!(listed.json()["data"][0]["id"], tokens.session.as_str());
    assert_eq!(ctl.run(&["status"]).await.code, Some(0));
    let ids = ctl.run(&["session", "list", "-o", "ids"]).await;
    assert_eq!(ids.stdout.trim(), tokens.session);
    let asks = ctl.run(&["session", "revoke", &tokens.session]).await;
    assert_eq!(asks.code, Some(13), "nobody is there to ask: {asks:?}");
    let revoked = ctl.run(&["session", "revoke", &tokens.session, "--yes", "--reason", "asked for by phone"]).await;
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    daemon.client().verify(&tokens.access).await.assert_status(401);
    assert_eq!(ctl.run(&["session", "show", "ses_01jcq4z5d0e0a8r9w9s8h7k6m5"]).await.code, Some(10));
    assert_eq!(ctl.run(&["session", "explode"]).await.code, Some(2));
    let limits = ctl.run(&["limit", "set", "login.ip", "10/min", "--burst", "5"]).await;
    assert_eq!(limits.code, Some(0), "{limits:?}");
    let shown = daemon.admin().call::<limit::Show>(&limit::ShowRequest { policy: "login.ip".into() }).await.limit;
    assert_eq!((shown.rate.map(|rate| rate.to_string()), shown.burst), (Some("10/min".into()), Some(5)));
}

#[tokio::test]
async fn authctl_says_in_one_line_that_nobody_answers() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let missing = tests::ctl::Ctl::new(daemon.data_dir().join("nowhere/admin.sock")).run(&["session", "list"]).await;
    assert_eq!(missing.code, Some(69), "{missing:?}");
    assert!(missing.stdout.is_empty(), "{missing:?}");
    assert_eq!(missing.stderr.trim_end().lines().count(), 1, "{missing:?}");
    daemon.kill();
    let dead = daemon.ctl().run(&["status"]).await;
    assert_eq!(dead.code, Some(69), "{dead:?}");
    assert_eq!(dead.stderr.trim_end().lines().count(), 1, "{dead:?}");
}

#[tokio::test]
async fn authctl_says_in_one_line_that_the_database_is_down() {
    let mut server = tests::postgres::Postgres::start_own().await;
    let url = server.create_database().await;
    let daemon = Daemon::start(Options::on(tests::options::Database::Postgres(url.clone()))).await;
    server.kill();
    let ran = daemon.ctl().run(&["session", "list"]).await;
    assert_eq!(ran.code, Some(75), "{ran:?}");
    assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{ran:?}");
    assert!(!ran.stderr.contains(&url) && !ran.stderr.contains("postgres://"), "{ran:?}");
    let status = daemon.ctl().run(&["status"]).await;
    assert_eq!(status.code, Some(3), "{status:?}");
}

on_both! {
    async fn text_that_no_column_holds_and_no_page_ended_with_is_refused_as_such(options) {
        let daemon = Daemon::start(options).await;
        daemon.client().register("ada@example.org").await;
        let long = "x".repeat(100_000);
        for (path, body) in [
            ("session/list", json!({ "after": "' OR 1=1 --" })),
            ("user/list", json!({ "after": "" })),
            ("audit/list", json!({ "after": "-1.x" })),
            ("session/list", json!({ "device": "a\0" })),
            ("session/list", json!({ "device": long })),
            ("user/list", json!({ "search": "\0" })),
            ("user/list", json!({ "search": long })),
            ("user/show", json!({ "user": "usr_0\0" })),
            ("audit/list", json!({ "target": "a\0b" })),
            ("user/disable", json!({ "user": "ada@example.org", "reason": "a\0b" })),
        ] {
            let answer = daemon.admin().post(&format!("/v1/{path}"), &body.to_string()).await;
            assert_eq!(answer.status, 400, "{path}: {answer}");
        }
        daemon.client().try_login("ada@example.org", PASSWORD).await.assert_status(200);
    }
}
