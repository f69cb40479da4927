//! `POST /api/auth/login` and what guards it; passwords that change.

use hyper::HeaderMap;
use serde_json::json;
use shared::{
    admin::{Empty, audit::Outcome, limit, user},
    error::ErrorCode,
};
use std::time::Duration;
use tests::{
    client::{PASSWORD, Tokens},
    daemon::Daemon,
    options::Options,
    wait::{timed, together},
    wire::Answer,
};

const WRONG: &str = "not-the-velvet-one-55";
const OTHER: &str = "granite-lantern-46-tide";

/// What a caller can compare: all but the id of the request and the time.
fn comparable(answer: &Answer) -> (u16, HeaderMap, serde_json::Value) {
    let mut headers = answer.headers.clone();
    headers.remove("x-request-id");
    headers.remove("date");
    let mut body = answer.json();
    body["request_id"] = json!("");
    (answer.status, headers, body)
}

on_both! {
    async fn wrong_unknown_disabled_passwordless_malformed_and_overlong_are_answered_alike(options) {
        let daemon = Daemon::start(options.config("[limit.\"login.account\"]\nburst = 84")).await;
        let client = daemon.client();
        client.register("ada@example.org").await;
        client.register("off@example.org").await;
        let off = user::ChangeRequest { user: "off@example.org".into(), ..Default::default() };
        daemon.admin().call::<user::Disable>(&off).await;
        let bare = user::CreateRequest { email: "bare@example.org".into(), ..Default::default() };
        daemon.admin().call::<user::Create>(&bare).await;
        let wrong = client.try_login("ada@example.org", WRONG).await;
        wrong.assert_refused(ErrorCode::InvalidCredentials);
        let long = "x".repeat(300);
        let others = [
            ("nobody@example.org", WRONG),
            ("off@example.org", PASSWORD),
            ("bare@example.org", PASSWORD),
            ("not an address", WRONG),
            ("ada@example.org", long.as_str()),
            ("ada@example.org", ""),
        ];
        for (email, password) in others {
            let answer = client.try_login(email, password).await;
            assert_eq!(comparable(&answer), comparable(&wrong), "{email}");
        }
    }
}

#[tokio::test]
async fn one_logs_in_by_address_or_by_name_in_any_case_and_by_one_of_them_only() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let client = daemon.client();
    let body = json!({ "email": "ada@example.org", "username": "Ada_L", "password": PASSWORD });
    let user = Tokens::of(&client.try_register(&body).await).user;
    let names = [
        json!({ "email": "ADA@Example.org", "password": PASSWORD }),
        json!({ "email": "ada@example.org.", "password": PASSWORD }),
        json!({ "username": "ada_l", "password": PASSWORD }),
        json!({ "username": "ADA_L", "password": PASSWORD, "device_label": "Ada's phone" }),
    ];
    for body in names {
        assert_eq!(Tokens::of(&client.post("/api/auth/login", &body).send().await).user, user, "{body}");
    }
    let neither = client.post("/api/auth/login", &json!({ "password": PASSWORD })).send().await;
    neither.assert_refused(ErrorCode::Malformed);
    let both = json!({ "email": "ada@example.org", "username": "ada_l", "password": PASSWORD });
    client.post("/api/auth/login", &both).send().await.assert_refused(ErrorCode::Malformed);
}

#[tokio::test]
async fn a_login_is_answered_with_json_that_nobody_keeps_and_without_cookies() {
    let daemon = Daemon::start(Options::sqlite()).await;
    daemon.client().register("ada@example.org").await;
    let answer = daemon.client().try_login("ada@example.org", PASSWORD).await;
    answer.assert_status(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{answer}");
    assert!(answer.header("set-cookie").is_none(), "{answer}");
    assert!(answer.header("x-request-id").is_some(), "{answer}");
    assert!(answer.header("server").is_none(), "{answer}");
}

on_both! {
    async fn two_hundred_wrong_passwords_at_once_evaluate_no_more_than_the_burst(options) {
        // Longer than the test takes on the slowest machine: after the delay one more attempt is due.
        let options = options.config("[limit.\"login.account\"]\nfirst_delay = \"1m\"");
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        client.register("ada@example.org").await;
        let answers =
            together(200, |_| async move { client.try_login("ada@example.org", WRONG).await }).await;
        let evaluated = answers.iter().filter(|answer| answer.status == 401).count();
        let limited = answers.iter().filter(|answer| answer.status == 429).count();
        assert!((1..=5).contains(&evaluated), "{evaluated} evaluated");
        assert_eq!(evaluated + limited, 200);
        answers.iter().find(|answer| answer.status == 429).unwrap().assert_refused(ErrorCode::RateLimited);
        // The right password has to wait too: its owner comes from an unknown device.
        client.try_login("ada@example.org", PASSWORD).await.assert_refused(ErrorCode::RateLimited);
    }
}

on_both! {
    async fn a_flood_of_limited_logins_is_one_event_at_once_and_one_that_counts_the_rest(options) {
        let mut daemon = Daemon::start(options).await;
        let client = daemon.client();
        let ada = client.register("ada@example.org").await;
        let answers = together(40, |_| async move { client.try_login("ada@example.org", WRONG).await }).await;
        let limited = answers.iter().filter(|answer| answer.status == 429).count();
        daemon.restart().await;
        let denied = daemon.admin().events_about("login.denied", &ada.user).await;
        let about_limit: Vec<_> =
            denied.iter().filter(|event| event.reason.as_deref() == Some("login.account")).collect();
        let counted = about_limit.iter().find_map(|event| event.detail["count"].as_str());
        assert_eq!((about_limit.len(), counted), (2, Some((limited - 1).to_string().as_str())), "{denied:?}");
    }
}

on_both! {
    async fn refusals_of_one_account_from_many_networks_are_two_events(options) {
        let options = options.config("[server]\ntrusted_proxies = [\"127.0.0.1/32\"]")
            .config("[limit.\"login.account\"]\nfirst_delay = \"10m\"");
        let mut daemon = Daemon::start(options).await;
        let client = daemon.client();
        let ada = client.register("ada@example.org").await;
        let mut limited = 0;
        for number in 0..60 {
            let body = json!({ "email": "ada@example.org", "password": WRONG });
            let call = client.post("/api/auth/login", &body).header("x-forwarded-for", format!("10.{number}.7.1"));
            limited += usize::from(call.send().await.status == 429);
        }
        daemon.restart().await;
        let denied = daemon.admin().events_about("login.denied", &ada.user).await;
        let about_limit: Vec<_> =
            denied.iter().filter(|event| event.reason.as_deref() == Some("login.account")).collect();
        let counted = about_limit.iter().find(|event| event.detail["count"].is_string()).unwrap();
        assert_eq!((about_limit.len(), limited), (2, 55), "{about_limit:?}");
        assert_eq!((counted.detail["count"].as_str(), &counted.network), (Some("54"), &None), "{counted:?}");
    }
}

#[tokio::test]
async fn a_limited_login_looks_the_same_for_existing_and_unknown_accounts() {
    let options = Options::sqlite().config("[limit.\"login.account\"]\nfirst_delay = \"1m\"");
    let daemon = Daemon::start(options).await;
    let client = daemon.client();
    client.register("ada@example.org").await;
    let mut limited = Vec::new();
    for email in ["ada@example.org", "nobody@example.org"] {
        for _ in 0..5 {
            client.try_login(email, WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
        }
        limited.push(client.try_login(email, WRONG).await);
    }
    limited[0].assert_refused(ErrorCode::RateLimited);
    assert_eq!(comparable(&limited[0]), comparable(&limited[1]));
    assert!(!String::from_utf8_lossy(&limited[0].body).contains("login."), "{}", limited[0]);
}

#[tokio::test]
async fn address_and_user_name_of_one_account_share_its_budget() {
    let options = Options::sqlite().config("[limit.\"login.account\"]\nfirst_delay = \"1m\"");
    let daemon = Daemon::start(options).await;
    let client = daemon.client();
    let body = json!({ "email": "ada@example.org", "username": "ada", "password": PASSWORD });
    client.try_register(&body).await.assert_status(201);
    let names = ["ada@example.org", "ADA@example.org", "Ada@Example.Org", "ada@EXAMPLE.org", "ada@example.org."];
    for email in names {
        client.try_login(email, WRONG).await.assert_refused(ErrorCode::InvalidCredentials);
    }
    let by_name = client.post("/api/auth/login", &json!({ "username": "ada", "password": WRONG })).send().await;
    by_name.assert_refused(ErrorCode::RateLimited);
}

#[tokio::test]
async fn a_success_forgets_the_failures_before_it() {
    let daemon = Daemon::start(Options::sqlite()).await;
    daemon.client().register("ada@example.org").await;
    for _ in 0..4 {
        for _ in 0..4 {
            daemon.client().try_login("ada@example.org", WRONG).await.assert_status(401);
        }
        daemon.client().login("ada@example.org").await;
    }
}

on_both! {
    async fn sixty_four_right_logins_at_once_all_get_in(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        client.register("ada@example.org").await;
        let answers =
            together(64, |_| async move { client.try_login("ada@example.org", PASSWORD).await }).await;
        for answer in &answers {
            match answer.status {
                503 => assert_eq!(answer.json()["retryable"], true, "{answer}"),
                _ => drop(answer.assert_status(200)),
            }
        }
        assert!(answers.iter().filter(|answer| answer.status == 200).count() >= 32);
    }
}

#[tokio::test]
async fn attempts_from_one_address_are_limited_whoever_they_are_for() {
    let config = "[limit.\"login.ip\"]\nrate = \"30/min\"\nburst = 20";
    let daemon = Daemon::start(Options::sqlite().config(config)).await;
    let mut statuses = Vec::new();
    for number in 0..25 {
        let email = format!("user{number}@example.org");
        statuses.push(daemon.client().try_login(&email, WRONG).await.status);
    }
    assert!(statuses[..20].iter().all(|status| *status == 401), "{statuses:?}");
    assert_eq!(statuses[24], 429, "{statuses:?}");
    assert!(daemon.admin().events_about("limit.exceeded", "login.ip").await.len() <= 2, "denials are aggregated");
}

#[tokio::test]
async fn an_address_that_a_stranger_claims_to_come_from_does_not_count() {
    let config = "[limit.\"login.ip\"]\nrate = \"30/min\"\nburst = 20";
    let daemon = Daemon::start(Options::sqlite().config(config)).await;
    let mut last = 0;
    for number in 0..25 {
        let body = json!({ "email": format!("user{number}@example.org"), "password": WRONG });
        let call =
            daemon.client().post("/api/auth/login", &body).header("x-forwarded-for", format!("192.0.2.{number}"));
        last = call.send().await.status;
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn a_trusted_proxy_tells_the_rightmost_address_it_does_not_trust() {
    let config =
        "[limit.\"login.ip\"]\nrate = \"30/min\"\nburst = 20\n[server]\ntrusted_proxies = [\"::ffff:127.0.0.1/128\"]";
    let daemon = Daemon::start(Options::sqlite().config(config)).await;
    let attempt = |forwarded: String| {
        let body = json!({ "email": "nobody@example.org", "password": WRONG });
        daemon.client().post("/api/auth/login", &body).header("x-forwarded-for", forwarded)
    };
    let mut last = 0;
    for number in 0..25 {
        last = attempt(format!("198.51.100.{number}, 192.0.2.1")).send().await.status;
    }
    assert_eq!(last, 429);
    let body = json!({ "email": "somebody@example.org", "password": WRONG });
    let other = daemon.client().post("/api/auth/login", &body).header("x-forwarded-for", "192.0.2.1, 203.0.113.9");
    other.send().await.assert_refused(ErrorCode::InvalidCredentials);
}

on_both! {
    async fn a_disabled_account_is_out_at_once_and_back_in_when_it_is_enabled(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let tokens = client.register("ada@example.org").await;
        let change = user::ChangeRequest { user: "ada@example.org".into(), ..Default::default() };
        let changed = daemon.admin().call::<user::Disable>(&change).await;
        assert!(changed.changed);
        assert_eq!(changed.revoked, 1);
        client.try_login("ada@example.org", PASSWORD).await.assert_refused(ErrorCode::InvalidCredentials);
        client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        client.verify(&tokens.access).await.assert_status(401);
        client.sessions(&tokens.access).await.assert_refused(ErrorCode::TokenInvalid);
        daemon.admin().call::<user::Enable>(&change).await;
        client.login("ada@example.org").await;
        client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
    }
}

on_both! {
    async fn payloads_for_other_languages_are_text(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        client.register("ada@example.org").await;
        let payloads = [
            "' OR 1=1--", "ada@example.org' --", "\"; DROP TABLE account; --", "*)(uid=*))(|(uid=*", "{\"$gt\":\"\"}",
            "%00", "ada@example.org\u{0}", "$1", "${jndi:ldap://127.0.0.1/x}", "{{7*7}}", "../../etc/passwd", "\\", "%s%n",
        ];
        for payload in payloads {
            let bodies = [
                json!({ "email": payload, "password": PASSWORD }),
                json!({ "username": payload, "password": PASSWORD }),
                json!({ "email": "ada@example.org", "password": payload }),
                json!({ "email": "ada@example.org", "password": PASSWORD, "device_token": payload }),
            ];
            for (number, body) in bodies.iter().enumerate() {
                let answer = client.post("/api/auth/login", body).send().await;
                let expected = if number == 3 { [200, 401, 400, 429] } else { [401, 401, 400, 429] };
                assert!(expected.contains(&answer.status), "{body}: {answer}");
            }
            for (path, body) in [
                ("/api/auth/refresh", json!({ "refresh_token": payload })),
                ("/api/auth/password/reset", json!({ "reset_token": payload, "new_password": OTHER })),
            ] {
                let answer = client.post(path, &body).send().await;
                let no_text = payload.contains('\0');
                answer.assert_refused(if no_text { ErrorCode::Malformed } else { ErrorCode::TokenInvalid });
            }
        }
        assert_eq!(daemon.admin().call::<limit::List>(&Empty {}).await.items.len(), 15, "the tables are still there");
    }
}

#[tokio::test]
async fn credentials_in_the_address_are_not_taken_and_not_logged() {
    let daemon = Daemon::start(Options::sqlite().config("[log]\nlevel = \"debug\"")).await;
    daemon.client().register("ada@example.org").await;
    let target = "/api/auth/login?email=ada@example.org&password=canary-plum-77451";
    for call in [
        daemon.client().call("POST", target),
        daemon.client().post(target, &json!({})),
        daemon.client().post(target, &json!({ "email": "ada@example.org" })),
    ] {
        let answer = call.send().await;
        assert!(matches!(answer.status, 400 | 415), "{answer}");
    }
    daemon.client().get("/api/auth/verify?access_token=canary-plum-77451").send().await.assert_status(401);
    daemon.client().health().await;
    assert!(!daemon.log().text().contains("canary-plum-77451"), "{}", daemon.log().text());
}

on_both! {
    async fn an_outdated_hash_is_replaced_once_by_ten_logins_that_all_succeed(options) {
        let mut daemon = Daemon::start(options).await;
        let user = daemon.client().register("ada@example.org").await.user;
        daemon.restart_with(|options| options.config("[password]\nmemory_kib = 128")).await;
        let client = daemon.client();
        let answers =
            together(10, |_| async move { client.try_login("ada@example.org", PASSWORD).await }).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        let rehashed = daemon.admin().events_about("user.updated", &user).await;
        assert_eq!(rehashed.len(), 1, "{rehashed:?}");
        client.login("ada@example.org").await;
        assert_eq!(daemon.admin().events_about("user.updated", &user).await.len(), 1);
    }
}

on_both! {
    async fn a_changed_password_ends_every_other_session_and_only_the_new_one_logs_in(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let mine = client.register("ada@example.org").await;
        let other = client.login("ada@example.org").await;
        client.change_password(&mine.access, PASSWORD, OTHER).await.assert_status(204);
        client.try_refresh(&other.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        client.verify(&other.access).await.assert_status(401);
        client.verify(&mine.access).await.assert_status(200);
        client.refresh(&mine).await;
        client.try_login("ada@example.org", PASSWORD).await.assert_refused(ErrorCode::InvalidCredentials);
        client.try_login("ada@example.org", OTHER).await.assert_status(200);
        // The 204 got lost: a repeat finds the new password already there.
        client.change_password(&mine.access, PASSWORD, OTHER).await.assert_status(204);
        assert_eq!(daemon.admin().events_about("password.changed", &mine.user).await.len(), 1);
    }
}

on_both! {
    async fn a_refused_login_is_answered_no_earlier_than_the_floor(options) {
        let daemon = Daemon::start(options.config("[password]\nfailure_floor = \"700ms\"")).await;
        let client = daemon.client();
        client.register("ada@example.org").await;
        for email in ["ada@example.org", "nobody@example.org", "no address"] {
            let (answer, took) = timed(client.try_login(email, WRONG)).await;
            answer.assert_refused(ErrorCode::InvalidCredentials);
            assert!(took >= Duration::from_millis(690), "{email}: {took:?}");
        }
    }
}

on_both! {
    async fn five_wrong_passwords_inside_a_session_end_it_and_change_nothing(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let stolen = client.register("ada@example.org").await;
        let other = client.login("ada@example.org").await;
        for _ in 0..5 {
            let answer = client.change_password(&stolen.access, WRONG, OTHER).await;
            answer.assert_refused(ErrorCode::InvalidCredentials);
        }
        client.change_password(&stolen.access, PASSWORD, OTHER).await.assert_refused(ErrorCode::TokenInvalid);
        client.try_refresh(&stolen.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        client.refresh(&other).await;
        client.try_login("ada@example.org", PASSWORD).await.assert_status(200);
    }
}

#[tokio::test]
async fn wrong_passwords_end_a_session_also_after_it_has_changed_its_password() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let client = daemon.client();
    let stolen = client.register("ada@example.org").await;
    client.change_password(&stolen.access, PASSWORD, OTHER).await.assert_status(204);
    // A repeat of a change may come with the new password alone, so that is evaluated too, and counts.
    for guess in ["basalt-orchid-58-rail", "cobalt-walnut-31-pier", "marble-thistle-77-cove"] {
        let answer = client.change_password(&stolen.access, WRONG, guess).await;
        answer.assert_refused(ErrorCode::InvalidCredentials);
    }
    client.profile(&stolen.access).await.assert_refused(ErrorCode::TokenInvalid);
    client.try_refresh(&stolen.refresh).await.assert_refused(ErrorCode::TokenInvalid);
    client.try_login("ada@example.org", OTHER).await.assert_status(200);
}

on_both! {
    async fn wrong_passwords_count_and_end_the_session_also_after_a_change_in_it(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let mine = client.register("ada@example.org").await;
        client.change_password(&mine.access, PASSWORD, OTHER).await.assert_status(204);
        // Both are tried: one as the current password, one as that of a repeat whose answer got lost.
        for _ in 0..3 {
            let answer = client.change_password(&mine.access, WRONG, "basalt-orchid-58-rail").await;
            answer.assert_refused(ErrorCode::InvalidCredentials);
        }
        client.verify(&mine.access).await.assert_status(401);
        client.try_refresh(&mine.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        let events = daemon.admin().events_about("password.changed", &mine.user).await;
        let denied = events.iter().filter(|event| event.outcome == Outcome::Denied).count();
        assert_eq!((events.len(), denied), (4, 3), "{events:?}");
    }
}

on_both! {
    async fn a_one_time_reset_works_once_and_ends_every_session(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let tokens = client.register("ada@example.org").await;
        let request = user::ChangeRequest { user: "ada@example.org".into(), ..Default::default() };
        let issued = daemon.admin().call::<user::ResetPassword>(&request).await;
        let token = issued.reset_token.expect("a token").expose().to_owned();
        let reset = |password: &str| {
            client.post("/api/auth/password/reset", &json!({ "reset_token": token, "new_password": password }))
        };
        reset("1234567890").send().await.assert_refused(ErrorCode::WeakPassword);
        reset(OTHER).send().await.assert_status(204);
        reset("basalt-orchid-58-rail").send().await.assert_refused(ErrorCode::TokenInvalid);
        client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        client.try_login("ada@example.org", PASSWORD).await.assert_refused(ErrorCode::InvalidCredentials);
        client.try_login("ada@example.org", OTHER).await.assert_status(200);
    }
}

on_both! {
    async fn a_deleted_account_is_gone_and_its_address_free(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let tokens = client.register("ada@example.org").await;
        let delete = |password: &str| {
            client.call("DELETE", "/api/user").json(&json!({ "password": password })).bearer(&tokens.access)
        };
        delete(WRONG).send().await.assert_refused(ErrorCode::InvalidCredentials);
        delete(PASSWORD).send().await.assert_status(204);
        client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
        client.profile(&tokens.access).await.assert_refused(ErrorCode::TokenInvalid);
        client.try_login("ada@example.org", PASSWORD).await.assert_refused(ErrorCode::InvalidCredentials);
        assert_ne!(client.register("ada@example.org").await.user, tokens.user);
    }
}
