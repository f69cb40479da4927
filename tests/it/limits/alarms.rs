//! Detection: one address that tries many accounts, logins that fail far too often, floods of registrations.

use super::{PROXY, WRONG, alarms, login};
use serde_json::json;
use shared::{
    admin::limit::{SetRequest, Show, ShowRequest},
    error::ErrorCode,
};
use tests::{
    client::PASSWORD,
    daemon::Daemon,
    inprocess::InProcess,
    options::{Database, Options},
    postgres::Postgres,
    proxy::postgres::{Loss, PostgresProxy},
    wait::together,
};

const SPRAY: &str = "[limit.\"login.spray\"]\ncount = 10\n[limit.\"login.spray_net\"]\ncount = 100";
const GLOBAL: &str = "[limit.\"login.global\"]\npercent = 60\nattempts = 200\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_that_tries_five_hundred_accounts_at_once_gets_ten_evaluated() {
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(SPRAY)).await;
    let client = daemon.client();
    client.register("ada@example.org").await;
    let answers = together(120, |number| async move {
        login(client, "192.0.2.1", &format!("user{number}@example.org"), WRONG).send().await
    })
    .await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert!((1..=10).contains(&count(401)), "{} evaluated", count(401));
    assert_eq!(count(401) + count(429) + count(503), 120);
    login(client, "192.0.2.1", "ada@example.org", PASSWORD).send().await.assert_refused(ErrorCode::RateLimited);
    login(client, "192.0.2.2", "ada@example.org", PASSWORD).send().await.assert_status(200);
    assert!(!daemon.admin().events_about("limit.exceeded", "login.spray").await.is_empty());
    let shown = daemon.admin().call::<Show>(&ShowRequest { policy: "login.spray".into() }).await;
    assert_eq!(shown.limited.iter().map(|limited| limited.key.as_str()).collect::<Vec<_>>(), ["192.0.2.1"]);
}

#[tokio::test]
async fn what_the_network_is_refused_holds_no_place_of_the_address() {
    let spray =
        "[limit.\"login.spray\"]\ncount = 5\n[limit.\"login.spray_net\"]\ncount = 2\n[password]\nwait = \"200ms\"";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(spray)).await;
    for number in 0..10 {
        let email = format!("user{number}@example.org");
        let answer = login(daemon.client(), "192.0.2.1", &email, WRONG).send().await;
        assert_eq!(answer.status, if number < 2 { 401 } else { 429 }, "{number}: {answer}");
    }
}

#[tokio::test]
async fn own_accounts_do_not_hide_a_spray_and_repeats_on_one_account_are_none() {
    let app = InProcess::start(Options::sqlite().config(PROXY).config("[limit.\"login.spray\"]\ncount = 4")).await;
    let client = app.client();
    client.register("eve@example.org").await;
    let attempt = |email: String, password: &'static str| async move {
        login(client, "192.0.2.1", &email, password).send().await
    };
    let mut statuses = Vec::new();
    for number in 0..4 {
        let (own, other) = ("eve@example.org".to_owned(), format!("user{number}@example.org"));
        statuses.push(attempt(own, PASSWORD).await.status);
        statuses.push(attempt(other.clone(), WRONG).await.status);
        if number == 0 {
            statuses.push(attempt(other, WRONG).await.status);
        }
    }
    assert_eq!(statuses, [200, 401, 401, 200, 401, 200, 401, 200, 401]);
    attempt("eve@example.org".to_owned(), PASSWORD).await.assert_refused(ErrorCode::RateLimited);
    app.clock.advance_secs(14 * 60 + 55);
    attempt("eve@example.org".to_owned(), PASSWORD).await.assert_refused(ErrorCode::RateLimited);
    app.clock.advance_secs(10);
    attempt("eve@example.org".to_owned(), PASSWORD).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_tried_on_many_accounts_from_many_addresses_is_an_attack_within_two_hundred_attempts() {
    let limits =
        "[limit.\"login.ip\"]\nrate = \"30/min\"\nburst = 20\n[limit.\"login.net\"]\nrate = \"300/min\"\nburst = 150\n";
    let options = Options::sqlite().config(PROXY).config(SPRAY).config(&format!("{GLOBAL}{limits}"));
    let daemon = Daemon::start(options).await;
    let client = daemon.client();
    for number in 0..200u32 {
        assert_eq!(alarms(&daemon).await, Vec::<String>::new(), "after {number}");
        let from = format!("198.{}.100.7", number % 50);
        login(client, &from, &format!("user{number}@example.org"), WRONG).send().await.assert_status(401);
    }
    assert_eq!(alarms(&daemon).await, ["login.global"]);
    let began = daemon.admin().events_about("attack.began", "login.global").await;
    assert_eq!((began.len(), began[0].detail["attempts"].as_str()), (1, Some("200")), "{began:?}");
    // A fresh address has a quarter of its twenty.
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(login(client, "203.0.113.1", "nobody@example.org", WRONG).send().await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 1, "{statuses:?}");
    let status = daemon.ctl().run(&["status"]).await;
    assert!(status.stdout.contains("attack mode"), "{status:?}");
    let shown = daemon.ctl().run(&["limit", "show", "login.ip"]).await;
    assert!(shown.stdout.contains("30/min burst 20 (alarm: 30/4min burst 5)"), "{shown:?}");
    let list = daemon.ctl().run(&["limit", "list", "-o", "json"]).await.json();
    let tightened: Vec<_> =
        list["data"].as_array().unwrap().iter().filter(|limit| !limit["tightened"].is_null()).collect();
    assert_eq!(tightened.len(), 2, "{tightened:?}");
}

#[tokio::test]
async fn one_address_that_goes_on_beyond_its_limit_is_no_attack_on_everybody() {
    let limits =
        "[limit.\"login.global\"]\npercent = 60\nattempts = 10\n[limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 2";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(limits)).await;
    for number in 0..30 {
        let email = format!("user{number}@example.org");
        login(daemon.client(), "192.0.2.1", &email, WRONG).send().await;
    }
    assert_eq!(alarms(&daemon).await, Vec::<String>::new());
}

#[tokio::test]
async fn attack_mode_ends_when_it_has_been_calm_and_leaves_the_limits_as_they_were() {
    let limits =
        "[limit.\"login.global\"]\npercent = 60\nattempts = 10\n[limit.\"login.ip\"]\nrate = \"1/min\"\nburst = 8";
    let app = InProcess::start(Options::sqlite().config(PROXY).config(limits)).await;
    let client = app.client();
    let attempt = |from: u32, name: u32| {
        let (from, email) = (format!("192.0.{from}.1"), format!("user{name}@example.org"));
        async move { login(client, &from, &email, WRONG).send().await.status }
    };
    for number in 0..10 {
        attempt(number, number).await;
    }
    assert_eq!(app.daemon.auth.alarms().len(), 1);
    app.clock.advance_secs(5 * 60 + 10);
    app.turn_jobs().await;
    assert_eq!(app.daemon.auth.alarms().len(), 1, "calm for a moment only");
    app.clock.advance_secs(5 * 60);
    app.turn_jobs().await;
    assert!(app.daemon.auth.alarms().is_empty());
    let filter = authd::domain::audit::EventFilter { action: Some("attack".into()), ..Default::default() };
    let page = authd::domain::page::PageRequest::first(10);
    let events = app.daemon.auth.list_events(&super::tuning::operator(), filter, page).await.unwrap().items;
    let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["attack.ended", "attack.began"]);
    for number in 0..9 {
        assert_eq!(attempt(100, number).await, if number < 8 { 401 } else { 429 }, "{number} of 8");
    }
}

#[tokio::test]
async fn a_flood_of_registrations_refuses_nobody_and_leaves_addresses_a_quarter() {
    let limits = "[limit.\"register.global\"]\nrate = \"200/h\"\nburst = 12\n\
        [limit.\"register.ip\"]\nrate = \"3/h\"\nburst = 8";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(limits)).await;
    let register = |number: u32, from: String| {
        let body = json!({ "email": format!("user{number}@example.org"), "password": PASSWORD });
        daemon.client().post("/api/auth/register", &body).header("x-forwarded-for", from)
    };
    for number in 0..13 {
        register(number, format!("198.51.{number}.1")).send().await.assert_status(201);
    }
    assert_eq!(alarms(&daemon).await, ["register.global"]);
    assert_eq!(daemon.admin().events_about("attack.began", "register.global").await.len(), 1);
    for number in 20..22 {
        register(number, "203.0.113.1".into()).send().await.assert_status(201);
    }
    register(22, "203.0.113.1".into()).send().await.assert_refused(ErrorCode::RateLimited);
}

#[tokio::test]
async fn attack_mode_in_shadow_raises_its_alarm_and_changes_no_limit() {
    let limits =
        "[limit.\"login.global\"]\npercent = 60\nattempts = 5\n[limit.\"login.ip\"]\nrate = \"1/h\"\nburst = 8";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(limits)).await;
    let shadow = SetRequest { policy: "login.global".into(), shadow: true, ..SetRequest::default() };
    daemon.admin().call::<shared::admin::limit::Set>(&shadow).await;
    for number in 0..5 {
        let from = format!("198.51.{number}.1");
        login(daemon.client(), &from, &format!("user{number}@example.org"), WRONG).send().await.assert_status(401);
    }
    let began = daemon.admin().events_about("attack.began", "login.global").await;
    assert_eq!(began[0].detail["shadow"].as_str(), Some("yes"), "{began:?}");
    for number in 0..8 {
        let email = format!("other{number}@example.org");
        login(daemon.client(), "203.0.113.1", &email, WRONG).send().await.assert_status(401);
    }
}

#[tokio::test]
async fn an_alarm_whose_event_may_be_written_already_is_written_once_and_holds_nothing_up() {
    let url = Postgres::shared().await.create_database().await;
    let storage = PostgresProxy::in_front_of(&url).await;
    let limits = "[limit.\"login.global\"]\npercent = 60\nattempts = 5";
    let options = Options::on(Database::Postgres(storage.url())).config(PROXY).config(limits);
    let app = InProcess::start(options).await;
    storage.lose("ON CONFLICT (id) DO NOTHING", Loss::ReplyAfter(0));
    for number in 0..5 {
        let (from, email) = (format!("198.51.{number}.1"), format!("user{number}@example.org"));
        login(app.client(), &from, &email, WRONG).send().await.assert_status(401);
    }
    assert_eq!(storage.lost(), 1);
    app.daemon.auth.poll_alarms().await.unwrap();
    let filter = authd::domain::audit::EventFilter { action: Some("attack".into()), ..Default::default() };
    let page = authd::domain::page::PageRequest::first(10);
    let events = app.daemon.auth.list_events(&super::tuning::operator(), filter, page).await.unwrap().items;
    assert_eq!(events.len(), 1, "{events:?}");
}
