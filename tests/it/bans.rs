//! Bans and allowances of addresses, from both sides of the daemon.

use hyper::HeaderMap;
use serde_json::{Value, json};
use shared::{
    admin::{
        Empty,
        address::{AddRequest, AllowAdd, BanAdd, BanList, BanRemove, RemoveRequest},
        audit::Outcome,
    },
    error::ErrorCode,
    time::Span,
};
use std::time::Duration;
use tests::{
    client::{Call, Client, PASSWORD, Tokens},
    daemon::Daemon,
    inprocess::InProcess,
    options::Options,
    wait,
    wire::Answer,
};

const PROXY: &str = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]";
const WRONG: &str = "not-the-velvet-one-55";
/// From a ban on one instance to its effect on another.
const SPREAD: Duration = Duration::from_secs(1);

fn add(network: &str) -> AddRequest {
    AddRequest { network: network.into(), ..AddRequest::default() }
}

fn login(client: Client, from: &str, email: &str, password: &str) -> Call {
    let body = json!({ "email": email, "password": password });
    client.post("/api/auth/login", &body).header("x-forwarded-for", from)
}

/// What a caller can compare: all but the id of the request, the time and the wait.
fn comparable(answer: &Answer) -> (u16, HeaderMap, Value) {
    let mut headers = answer.headers.clone();
    for name in ["x-request-id", "date", "retry-after"] {
        headers.remove(name);
    }
    let mut body = answer.json();
    body["request_id"] = json!("");
    (answer.status, headers, body)
}

on_both! {
    async fn a_banned_network_is_refused_wherever_a_credential_is_taken_and_nowhere_else(options) {
        let daemon = Daemon::start(options.config(PROXY)).await;
        let client = daemon.client();
        let from = |call: Call| call.header("x-forwarded-for", "203.0.113.77");
        let tokens = client.register("ada@example.org").await;
        let reason = Some("a botnet".to_owned());
        let request = AddRequest { reason, lasting: "1h".parse().ok(), ..add("::ffff:203.0.113.9/120") };
        let rule = daemon.admin().call::<BanAdd>(&request).await;
        assert_eq!((rule.network.as_str(), rule.reason.as_deref()), ("203.0.113.0/24", Some("a botnet")));

        let change = json!({ "current_password": PASSWORD, "new_password": "granite-lantern-46-tide" });
        let refused = [
            login(client, "203.0.113.77", "ada@example.org", PASSWORD),
            from(client.post("/api/auth/register", &json!({ "email": "eve@example.org", "password": PASSWORD }))),
            from(client.refresh_call(&tokens.refresh)),
            from(client.post("/api/auth/password/reset", &json!({ "reset_token": "x", "new_password": PASSWORD }))),
            from(client.call("PATCH", "/api/user/password").json(&change).bearer(&tokens.access)),
            from(client.call("DELETE", "/api/user").json(&json!({ "password": PASSWORD })).bearer(&tokens.access)),
        ];
        let mut answers = Vec::new();
        for call in refused {
            let answer = call.send().await;
            answer.assert_refused(ErrorCode::RateLimited);
            answers.push(comparable(&answer));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "one answer everywhere: {answers:?}");

        for path in ["/api/auth/verify", "/api/auth/sessions", "/api/user/profile"] {
            from(client.get(path).bearer(&tokens.access)).send().await.assert_status(200);
        }
        for path in ["/health", "/health/ready", "/.well-known/jwks.json"] {
            from(client.get(path)).send().await.assert_status(200);
        }
        // Nothing was consumed, and others get in.
        client.refresh(&tokens).await;
        login(client, "203.0.114.1", "ada@example.org", PASSWORD).send().await.assert_status(200);
        let logout = json!({ "refresh_token": tokens.refresh });
        from(client.post("/api/auth/logout", &logout)).send().await.assert_status(204);

        let banned = daemon.admin().events_about("address.banned", "203.0.113.0/24").await;
        assert_eq!((banned.len(), banned[0].reason.as_deref()), (1, Some("a botnet")));
        let denied = daemon.admin().events_about("limit.exceeded", "203.0.113.0/24").await;
        assert!(denied.iter().all(|event| event.outcome == Outcome::Denied) && !denied.is_empty(), "{denied:?}");
        let remove = RemoveRequest { network: "203.0.113.0/24".into(), ..RemoveRequest::default() };
        daemon.admin().call::<BanRemove>(&remove).await;
        login(client, "203.0.113.77", "ada@example.org", PASSWORD).send().await.assert_status(200);
        assert_eq!(daemon.admin().events_about("address.ban_removed", "203.0.113.0/24").await.len(), 1);
        assert_eq!(daemon.admin().try_call::<BanRemove>(&remove).await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_holds_on_every_instance_within_a_second_and_after_a_restart() {
    let one = Daemon::start(Options::postgres().await.config(PROXY)).await;
    let mut other = one.second().await;
    one.client().register("ada@example.org").await;
    one.admin().call::<BanAdd>(&add("2001:db8:7::/48")).await;
    let attempt = |client| async move { login(client, "2001:db8:7:1::5", "ada@example.org", PASSWORD).send().await };
    attempt(one.client()).await.assert_refused(ErrorCode::RateLimited);
    let client = other.client();
    let refused = || async move { (attempt(client).await.status == 429).then_some(()) };
    wait::until(tests::process::crowded(SPREAD), "a ban on the other instance", refused).await;
    other.restart().await;
    attempt(other.client()).await.assert_refused(ErrorCode::RateLimited);
}

#[tokio::test]
async fn a_ban_ends_by_itself() {
    let app = InProcess::start(Options::sqlite().config(PROXY)).await;
    app.client().register("ada@example.org").await;
    let operator = authd::auth::Operator {
        uid: 0,
        login_uid: None,
        pid: None,
        groups: Vec::new(),
        request_id: "test".into(),
        reason: None,
        ticket: None,
        mode: authd::auth::Doing::ForReal,
    };
    let wish = authd::auth::RuleWish {
        network: "192.0.2.0/24".into(),
        ruling: authd::domain::address_rule::Ruling::Ban,
        life: Some(Span(Duration::from_secs(60))),
        guard: authd::auth::BanGuard::Kept,
    };
    app.daemon.auth.add_rule(&operator, wish).await.unwrap();
    let status = || async { login(app.client(), "192.0.2.9", "ada@example.org", PASSWORD).send().await.status };
    assert_eq!(status().await, 429);
    app.clock.advance_secs(61);
    assert_eq!(status().await, 200, "also before the next poll");
}

#[tokio::test]
async fn loopback_and_trusted_proxies_are_banned_by_force_only() {
    let proxies = "[server]\ntrusted_proxies = [\"127.0.0.1/32\", \"10.1.2.0/24\", \"::ffff:172.16.0.0/108\"]";
    let daemon = Daemon::start(Options::sqlite().config(proxies)).await;
    let admin = daemon.admin();
    for (network, names) in [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("::/0", "loopback"),
        ("0.0.0.0/0", "loopback"),
        ("10.0.0.0/8", "10.1.2.0/24"),
        ("10.1.2.9", "10.1.2.0/24"),
        ("::ffff:172.16.3.4", "172.16.0.0/12"),
    ] {
        let refused = admin.try_call::<BanAdd>(&add(network)).await;
        refused.assert_status(400);
        assert!(refused.text("detail").contains(names), "{network}: {refused}");
    }
    assert!(admin.call::<BanList>(&Empty {}).await.items.is_empty());
    admin.call::<AllowAdd>(&add("127.0.0.1")).await;
    admin.call::<BanAdd>(&AddRequest { force: true, ..add("10.0.0.0/8") }).await;
    assert_eq!(admin.try_call::<BanAdd>(&add("10.0.0.0/99")).await.status, 400);
    let preview = admin.call::<BanAdd>(&AddRequest { dry_run: true, ..add("192.0.2.1") }).await;
    assert_eq!(preview.network, "192.0.2.1");
    assert_eq!(admin.call::<BanList>(&Empty {}).await.items.len(), 1);
}

#[tokio::test]
async fn an_allowance_lifts_the_search_for_sprays() {
    let spray = "[limit.\"login.spray\"]\ncount = 2\n[limit.\"login.spray_net\"]\ncount = 3";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(spray)).await;
    let client = daemon.client();
    client.register("ada@example.org").await;
    daemon.admin().call::<AllowAdd>(&add("192.0.2.7")).await;
    for number in 0..5 {
        login(client, "192.0.2.7", &format!("user{number}@example.org"), WRONG).send().await.assert_status(401);
    }
    for from in ["192.0.2.7", "192.0.2.8"] {
        login(client, from, "ada@example.org", PASSWORD).send().await.assert_status(200);
    }
}

#[tokio::test]
async fn an_allowance_lifts_the_limits_of_addresses_and_no_others() {
    let limits = "[limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 2\n[limit.\"login.net\"]\nrate = \"1/h\"\nburst = 3\n\
        [limit.\"register.ip\"]\nrate = \"1/h\"\nburst = 1\n[limit.\"refresh.ip\"]\nrate = \"1/h\"\nburst = 1\n\
        [limit.\"login.account\"]\nfirst_delay = \"1m\"";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(limits)).await;
    let client = daemon.client();
    daemon.admin().call::<AllowAdd>(&add("192.0.2.7")).await;
    daemon.admin().call::<BanAdd>(&add("192.0.2.0/24")).await;
    let register = |number: usize| {
        let body = json!({ "email": format!("user{number}@example.org"), "password": PASSWORD });
        client.post("/api/auth/register", &body).header("x-forwarded-for", "192.0.2.7")
    };
    for number in 0..4 {
        let answer = register(number).send().await;
        assert_eq!(answer.status, 201, "{answer}");
        drop(Tokens::of(&answer));
        login(client, "192.0.2.7", &format!("user{number}@example.org"), PASSWORD).send().await.assert_status(200);
        let unknown = client.refresh_call("art1_unknown").header("x-forwarded-for", "192.0.2.7").send().await;
        unknown.assert_refused(ErrorCode::TokenInvalid);
    }
    login(client, "192.0.2.8", "user0@example.org", PASSWORD).send().await.assert_refused(ErrorCode::RateLimited);
    for _ in 0..5 {
        login(client, "192.0.2.7", "user0@example.org", WRONG).send().await.assert_status(401);
    }
    login(client, "192.0.2.7", "user0@example.org", PASSWORD).send().await.assert_refused(ErrorCode::RateLimited);
}
