//! `authctl limit`: values for a time, values that only count, who is limited, and limits tried on the past.

use super::{PROXY, WRONG, login};
use authd::{
    auth::{Doing, LimitChange, Operator},
    domain::limit::PolicyName,
};
use serde_json::json;
use shared::{
    admin::{
        address::{AddRequest, BanAdd},
        limit::{Set, SetRequest, Show, ShowRequest, Test, TestRequest, Top, TopRequest},
    },
    error::ErrorCode,
    time::Span,
};
use std::time::Duration;
use tests::{client::PASSWORD, daemon::Daemon, inprocess::InProcess, options::Options};

pub(super) fn operator() -> Operator {
    Operator {
        uid: 0,
        login_uid: None,
        pid: None,
        groups: Vec::new(),
        request_id: "test".into(),
        reason: None,
        ticket: None,
        mode: Doing::ForReal,
    }
}

on_both! {
    async fn a_value_for_a_time_gives_way_to_the_value_before_it(options) {
        let app = InProcess::start(options).await;
        let auth = &app.daemon.auth;
        let change = |rate: &str, life_s: Option<u64>| LimitChange {
            rate: rate.parse().ok(), life: life_s.map(|life_s| Span(Duration::from_secs(life_s))), ..Default::default()
        };
        let rate = || match auth.limits().get(PolicyName::LoginIp).unwrap().value {
            authd::domain::limit::PolicyValue::Rate { rate, .. } => rate.to_string(),
            other => panic!("{other:?}"),
        };
        let set = |change| async move { auth.set_limit(&operator(), PolicyName::LoginIp, change).await.unwrap() };
        set(change("40/min", None)).await;
        set(change("5/min", Some(3_600))).await;
        set(change("6/min", Some(1_800))).await;
        assert_eq!(rate(), "6/min");
        app.clock.advance_secs(1_801);
        app.turn_jobs().await;
        assert_eq!(rate(), "40/min", "what was set for good returns");
        set(change("7/min", Some(1_800))).await;
        set(change("50/min", None)).await;
        assert_eq!(rate(), "50/min", "a new value for good ends the one for a time");
        set(change("8/min", Some(1_800))).await;
        auth.reset_limit(&operator(), PolicyName::LoginIp).await.unwrap();
        assert_eq!(rate(), "off", "the configured value");
    }
}

#[tokio::test]
async fn a_policy_in_shadow_shows_whom_it_would_have_refused() {
    let daemon = Daemon::start(Options::sqlite().config(PROXY)).await;
    let set = SetRequest {
        policy: "login.ip".into(),
        rate: "1/h".parse().ok(),
        burst: Some(2),
        shadow: true,
        ..SetRequest::default()
    };
    daemon.admin().call::<Set>(&set).await;
    for number in 0..5 {
        let email = format!("user{number}@example.org");
        login(daemon.client(), "192.0.2.9", &email, WRONG).send().await.assert_status(401);
    }
    let shown = daemon.admin().call::<Show>(&ShowRequest { policy: "login.ip".into() }).await;
    assert_eq!((shown.limit.shadow, shown.limit.refused, shown.limit.would_refuse), (true, 0, 3));
    assert_eq!((shown.limited.len(), shown.limited[0].would_refuse), (1, 3));
    let list = daemon.ctl().run(&["limit", "list"]).await;
    assert!(list.stdout.contains("3 let through"), "{list:?}");
}

#[tokio::test]
async fn whoever_is_limited_is_shown_with_the_wait_until_they_are_not() {
    let config =
        "[limit.\"login.account\"]\nburst = 2\nfirst_delay = \"1m\"\n[limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 6";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(config)).await;
    let ada = daemon.client().register("ada@example.org").await;
    for _ in 0..2 {
        login(daemon.client(), "192.0.2.9", "ada@example.org", WRONG).send().await.assert_status(401);
    }
    let show = |policy: &str| ShowRequest { policy: policy.into() };
    let locked = daemon.admin().call::<Show>(&show("login.account")).await;
    assert_eq!(locked.limited.len(), 1, "locked by its last failure, though nobody was refused yet");
    assert_eq!((locked.limited[0].key.as_str(), locked.limited[0].refused), (ada.user.as_str(), 0));
    assert!((50..=60).contains(&locked.limited[0].wait.0.as_secs()), "{locked:?}");
    for _ in 0..7 {
        login(daemon.client(), "192.0.2.9", "ada@example.org", PASSWORD)
            .send()
            .await
            .assert_refused(ErrorCode::RateLimited);
    }
    let top = daemon.admin().call::<Top>(&TopRequest::default()).await.items;
    let counts: Vec<_> = top.iter().map(|one| (one.policy.as_str(), one.key.as_str(), one.refused)).collect();
    assert_eq!(counts, [("login.account", ada.user.as_str(), 4), ("login.ip", "192.0.2.9", 3)]);
    daemon.ctl().run(&["limit", "reset", "login.account", "--key", "ada@example.org"]).await;
    assert!(daemon.admin().call::<Show>(&show("login.account")).await.limited.is_empty());
    let json = daemon.ctl().run(&["limit", "top", "-o", "json"]).await.json();
    assert_eq!(json["data"][0]["policy"], "login.account", "{json}");
    let text = daemon.ctl().run(&["limit", "show", "login.ip"]).await;
    assert!(text.stdout.contains("192.0.2.9") && text.stderr.contains("instance"), "{text:?}");
}

#[tokio::test]
async fn whatever_key_is_shown_as_limited_can_be_forgotten_by_that_name() {
    let limits = "[limit.\"login.account\"]\nburst = 2\nfirst_delay = \"10m\"\n\
        [limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 5\n[limit.\"login.net\"]\nrate = \"1/h\"\nburst = 4\n\
        [limit.\"login.device\"]\nrate = \"off\"";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(limits)).await;
    let device = daemon.client().register("ada@example.org").await.device.unwrap();
    let known = json!({ "email": "ada@example.org", "password": PASSWORD, "device_token": device });
    for from in ["2001:db8:1:2::77", "::ffff:192.0.2.9"] {
        for _ in 0..7 {
            login(daemon.client(), from, "nobody@example.org", WRONG).send().await;
            daemon.client().post("/api/auth/login", &known).header("x-forwarded-for", from).send().await;
        }
    }
    let shown = |policy: &'static str| {
        let (daemon, request) = (&daemon, ShowRequest { policy: policy.into() });
        async move { daemon.admin().call::<Show>(&request).await.limited }
    };
    for (policy, most) in [("login.account", 1), ("login.ip", 4), ("login.net", 2)] {
        let limited = shown(policy).await;
        assert!(limited.len() >= most, "{policy}: {limited:?}");
        for one in limited {
            let ran = daemon.ctl().run(&["limit", "reset", policy, "--key", &one.key]).await;
            assert_eq!(ran.code, Some(0), "{policy} {}: {ran:?}", one.key);
        }
        assert!(shown(policy).await.is_empty(), "{policy}");
    }
    login(daemon.client(), "192.0.2.9", "nobody@example.org", WRONG).send().await.assert_status(401);
    let reset = |key: &'static str| {
        let daemon = &daemon;
        async move { daemon.ctl().run(&["limit", "reset", "login.ip", "--key", key]).await }
    };
    for _ in 0..6 {
        login(daemon.client(), "2001:db8:1:2::5", "eve@example.org", WRONG).send().await;
        daemon.client().post("/api/auth/login", &known).header("x-forwarded-for", "2001:db8:1:2::6").send().await;
    }
    assert!(shown("login.ip").await.len() >= 2);
    assert_eq!(reset("2001:DB8:1:2::9").await.code, Some(0));
    assert!(shown("login.ip").await.is_empty(), "strangers and known devices of the address alike");
}

#[tokio::test]
async fn a_reset_of_a_key_says_whether_there_was_anything_to_forget() {
    let config = "[limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 1\n[limit.\"login.net\"]\nrate = \"1/h\"\nburst = 2";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(config)).await;
    for _ in 0..2 {
        login(daemon.client(), "192.0.2.9", "ada@example.org", WRONG).send().await;
    }
    let reset = async |policy: &str, key: &str| daemon.ctl().run(&["limit", "reset", policy, "--key", key]).await;
    assert_eq!(reset("login.ip", "192.0.2.9").await.stdout, "login.ip: forgot 192.0.2.9\n");
    assert_eq!(reset("login.ip", "192.0.2.9").await.stdout, "login.ip: nothing was counted for 192.0.2.9\n");
    // As `limit top` shows it.
    assert_eq!(reset("login.net", "192.0.2.0/24").await.stdout, "login.net: forgot 192.0.2.0/24\n");
    for (policy, key, word) in [
        ("login.ip", "ada@example.org", "limit top"),
        ("login.net", "192.0.0.0/16", "limit top"),
        ("refresh.session", "ses_01m7yw6sfneqtrqce37svbh2qj", "limit set refresh.session"),
        ("login.global", "192.0.2.9", "no key"),
    ] {
        let refused = reset(policy, key).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
    for args in [
        &["limit", "set", "login.ip", "9/min", "--for", "0s"][..],
        &["ban", "add", "192.0.2.9", "--for", "0s"],
        &["allow", "add", "192.0.2.9", "--for", "0s"],
    ] {
        let refused = daemon.ctl().run(args).await;
        assert_eq!(refused.code, Some(2), "{args:?} would be over before it began: {refused:?}");
    }
    let wrong = daemon.ctl().run(&["limit", "set", "login.account", "30/min"]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("--first-delay"), "it says what the policy takes: {wrong:?}");
}

on_both! {
    async fn a_limit_tried_on_the_past_tells_the_real_logins_it_would_have_refused(options) {
        let daemon = Daemon::start(options.config(PROXY).config("[limit.\"login.account\"]\nburst = 84")).await;
        let client = daemon.client();
        for name in ["ada@example.org", "bob@example.org"] {
            client.register(name).await;
        }
        for _ in 0..9 {
            login(client, "192.0.2.1", "ada@example.org", WRONG).send().await.assert_status(401);
        }
        login(client, "192.0.2.77", "ada@example.org", PASSWORD).send().await.assert_status(200);
        login(client, "198.51.100.1", "bob@example.org", PASSWORD).send().await.assert_status(200);
        let wish = |policy: &str| TestRequest {
            policy: policy.into(), rate: "1/h".parse().ok(), burst: Some(4), ..TestRequest::default()
        };
        let before = daemon.admin().call::<Show>(&ShowRequest { policy: "login.net".into() }).await.limit;
        let trial = daemon.reader().call::<Test>(&wish("login.net")).await;
        assert_eq!((trial.attempts, trial.refused, trial.refused_logins, trial.cut), (11, 6, 1, false), "{trial:?}");
        assert_eq!((trial.worst.len(), trial.worst[0].key.as_str()), (1, "192.0.2.0/24"));
        let ladder = TestRequest {
            rate: None, burst: Some(3), first_delay: "1h".parse().ok(), max_delay: "2h".parse().ok(),
            ..wish("login.account")
        };
        let trial = daemon.admin().call::<Test>(&ladder).await;
        assert_eq!((trial.attempts, trial.refused, trial.refused_logins), (11, 7, 1), "{trial:?}");
        let after = daemon.admin().call::<Show>(&ShowRequest { policy: "login.net".into() }).await.limit;
        assert_eq!(before, after, "it changes nothing");
        assert!(!daemon.admin().events_about("audit.read", "replay").await.is_empty());
        assert_eq!(daemon.admin().try_call::<Test>(&wish("register.ip")).await.status, 400);
        let said = daemon.ctl().run(&["limit", "test", "login.net", "1/h", "--burst", "4", "--replay", "24h"]).await;
        assert!(said.stdout.contains("of 11 attempts it would have refused 6, 1 of them real logins"), "{said:?}");
    }
}

#[tokio::test]
async fn a_limit_is_tried_on_no_more_of_the_past_than_was_asked_for() {
    let app = InProcess::start(Options::sqlite().config(PROXY)).await;
    app.client().register("ada@example.org").await;
    let attempt = || login(app.client(), "192.0.2.1", "ada@example.org", PASSWORD);
    for _ in 0..3 {
        attempt().send().await.assert_status(200);
    }
    app.clock.advance_secs(2 * 3_600);
    attempt().send().await.assert_status(200);
    let change = LimitChange { rate: "1/h".parse().ok(), burst: Some(1), ..Default::default() };
    let tried = async |hours: u64| {
        let back = Span(Duration::from_secs(hours * 3_600));
        let auth = &app.daemon.auth;
        let trial = auth.try_limit(&operator(), PolicyName::LoginNet, change.clone(), back).await.unwrap();
        (trial.all.attempts, trial.all.refused)
    };
    assert_eq!((tried(1).await, tried(3).await), ((1, 0), (4, 2)));
}

#[tokio::test]
async fn a_network_is_forgotten_by_any_address_in_it() {
    let config = "[limit.\"login.net\"]\nrate = \"1/h\"\nburst = 1";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(config)).await;
    let attempt = |from| login(daemon.client(), from, "ada@example.org", WRONG);
    attempt("192.0.2.1").send().await.assert_status(401);
    attempt("192.0.2.2").send().await.assert_refused(ErrorCode::RateLimited);
    let ran = daemon.ctl().run(&["limit", "reset", "login.net", "--key", "192.0.2.9"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    attempt("192.0.2.3").send().await.assert_status(401);
}

#[tokio::test]
async fn a_long_list_waits_for_its_turn_instead_of_failing() {
    let daemon = Daemon::start(Options::sqlite().config("[limit.\"admin.uid\"]\nrate = \"10/s\"\nburst = 3")).await;
    for number in 0..8 {
        daemon.client().register(&format!("user{number}@example.org")).await;
    }
    for _ in 0..6 {
        let listed = daemon.ctl().run(&["user", "list", "-o", "ids"]).await;
        assert_eq!((listed.code, listed.stdout.lines().count()), (Some(0), 8), "{listed:?}");
    }
}

#[tokio::test]
async fn a_reset_of_an_address_clears_what_its_known_devices_used_up_too() {
    let daemon =
        Daemon::start(Options::sqlite().config(PROXY).config("[limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 1")).await;
    let client = daemon.client();
    let device = client.register("ada@example.org").await.device;
    let body = json!({ "email": "ada@example.org", "password": PASSWORD, "device_token": device });
    let known = client.post("/api/auth/login", &body).header("x-forwarded-for", "192.0.2.9");
    known.send().await.assert_status(200);
    known.send().await.assert_refused(ErrorCode::RateLimited);
    let reset = daemon.ctl().run(&["limit", "reset", "login.ip", "--key", "192.0.2.9"]).await;
    assert_eq!(reset.code, Some(0), "{reset:?}");
    known.send().await.assert_status(200);
}

#[tokio::test]
async fn a_time_that_no_calendar_has_is_refused_and_a_past_before_all_times_is_read_from_the_beginning() {
    let daemon = Daemon::start(Options::sqlite()).await;
    for lasting in ["99999999d", "3651d", "0s"] {
        let lasting = lasting.parse().ok();
        let set = SetRequest { policy: "login.ip".into(), burst: Some(3), lasting, ..SetRequest::default() };
        assert_eq!(daemon.admin().try_call::<Set>(&set).await.status, 400, "{lasting:?}");
        let ban = AddRequest { network: "203.0.113.9".into(), lasting, ..AddRequest::default() };
        assert_eq!(daemon.admin().try_call::<BanAdd>(&ban).await.status, 400, "{lasting:?}");
    }
    let tried = ["limit", "test", "login.net", "1/h", "--burst", "4", "--replay", "99999999d"];
    let tried = daemon.ctl().run(&tried).await;
    assert_eq!(tried.code, Some(0), "{tried:?}");
}
