//! `GET /metrics` on the read socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tests::{admin::Admin, daemon::Daemon, options::Options, wait::until};

const LIMITS: &str = r#"
[limit."login.account"]
burst = 2
first_delay = "1m"
"#;

/// Every series by its name and labels.
async fn fetch(socket: &Admin) -> BTreeMap<String, f64> {
    let answer = socket.get("/metrics").await;
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let split = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    samples.map(|line| split(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

on_both! {
    async fn metrics_count_what_was_done(options) {
        let daemon = Daemon::start(options.config(LIMITS)).await;
        let (client, reader) = (daemon.client(), daemon.reader());
        let before = fetch(&reader).await;
        let first = client.register("ada@example.org").await;
        let second = client.refresh(&first).await;
        client.refresh(&first).await;
        client.verify(&second.access).await.assert_status(200);
        for password in ["not her password", "nor is this one", "and this is denied"] {
            client.try_login("ada@example.org", password).await;
        }
        client.get("/api/secrets/of/ada@example.org").send().await.assert_status(404);
        let after = fetch(&reader).await;
        let grown = |series: &str| after.get(series).unwrap_or(&f64::NAN) - before.get(series).unwrap_or(&0.0);
        for (series, by) in [
            (r#"authd_http_requests_total{route="/api/auth/register",class="2xx"}"#, 1.0),
            (r#"authd_http_requests_total{route="/api/auth/login",class="4xx"}"#, 3.0),
            (r#"authd_http_requests_total{route="unmatched",class="4xx"}"#, 1.0),
            (r#"authd_http_request_duration_seconds_count{route="/api/auth/verify"}"#, 1.0),
            (r#"authd_logins_total{outcome="invalid_credentials"}"#, 2.0),
            (r#"authd_logins_total{outcome="limited"}"#, 1.0),
            (r#"authd_refreshes_total{outcome="rotated"}"#, 1.0),
            (r#"authd_refreshes_total{outcome="retried"}"#, 1.0),
            (r#"authd_refreshes_total{outcome="replayed"}"#, 0.0),
            (r#"authd_limit_decisions_total{policy="login.account",outcome="denied"}"#, 1.0),
            (r#"authd_limit_decisions_total{policy="login.hard",outcome="allowed"}"#, 2.0),
            (r#"authd_denials_total{fate="written"}"#, 1.0),
            ("authd_hash_evaluated_total", 2.0),
            ("authd_sessions_live", 1.0),
        ] {
            assert_eq!(grown(series), by, "{series}\n{after:#?}");
        }
        assert_eq!(after["authd_keys{state=\"active\"}"], 1.0);
        assert_eq!(after["authd_database_up"], 1.0);
        assert!(grown(r#"authd_database_duration_seconds_count{work="write"}"#) >= 3.0);
        assert!(after["process_resident_memory_bytes"] > 1e6 && after["process_start_time_seconds"] > 1.7e9);
        let telling = |series: &&String| ["ada", "example.org", "127.0.0.1", "usr_"].iter().any(|word| series.contains(word));
        assert_eq!(after.keys().find(telling), None);
    }
}

/// The metrics once operators were told of one such event.
async fn until_told(reader: &Admin, event: &str) -> BTreeMap<String, f64> {
    until(Duration::from_secs(60), "an event is counted", || async {
        let series = fetch(reader).await;
        let count = series[&format!("authd_events_total{{event=\"{event}\"}}")];
        (count == 1.0).then_some(series)
    })
    .await
}

#[tokio::test]
async fn metrics_tell_what_operators_were_told_of_and_the_mode_and_breakers_in_force() {
    let daemon = Daemon::start(Options::sqlite().config("[session]\ngrace = \"0s\"\n")).await;
    let (client, reader) = (daemon.client(), daemon.reader());
    let quiet = fetch(&reader).await;
    for (series, value) in [
        (r#"authd_events_total{event="session.replayed"}"#, 0.0),
        (r#"authd_events_total{event="login.locked"}"#, 0.0),
        (r#"authd_events_total{event="attack.began"}"#, 0.0),
        (r#"authd_alarm{policy="login.global"}"#, 0.0),
        (r#"authd_alarm{policy="register.global"}"#, 0.0),
        (r#"authd_mode{mode="normal"}"#, 1.0),
        (r#"authd_mode{mode="no-login"}"#, 0.0),
        (r#"authd_redis_state{state="off"}"#, 1.0),
        (r#"authd_redis_state{state="down"}"#, 0.0),
        (r#"authd_breaker_state{breaker="database",state="closed"}"#, 1.0),
        (r#"authd_breaker_state{breaker="database",state="open"}"#, 0.0),
    ] {
        assert_eq!(quiet.get(series), Some(&value), "{series}\n{quiet:#?}");
    }
    let first = client.register("ada@example.org").await;
    client.refresh(&first).await;
    client.try_refresh(&first.refresh).await.assert_status(401);
    daemon.ctl().run(&["mode", "set", "no-login"]).await;
    until_told(&reader, "session.replayed").await;
    daemon.ctl().run(&["breaker", "open", "database", "--yes"]).await;
    let loud = until_told(&reader, "breaker.opened").await;
    assert_eq!(loud[r#"authd_mode{mode="no-login"}"#], 1.0);
    assert_eq!(loud[r#"authd_mode{mode="normal"}"#], 0.0);
    assert_eq!(loud[r#"authd_breaker_state{breaker="database",state="open"}"#], 1.0);
    let closed = daemon.ctl().run(&["breaker", "close", "database"]).await;
    assert_eq!(closed.code, Some(0), "what needs the database least is what it is closed with: {closed:?}");
}

#[tokio::test]
async fn whoever_floods_the_question_for_readiness_costs_the_database_little() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let reader = daemon.reader();
    let writes = async || fetch(&reader).await[r#"authd_database_duration_seconds_count{work="write"}"#];
    let before = writes().await;
    for _ in 0..200 {
        assert_eq!(daemon.client().ready().await.status, 200);
    }
    let cost = writes().await - before;
    assert!(cost < 150.0, "{cost} writes; each look takes two");
}

#[tokio::test]
async fn metrics_are_the_ones_of_the_manual() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let series = fetch(&daemon.reader()).await;
    let family = |series: &String| {
        let name = series.split('{').next().unwrap_or_default();
        let part = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        part.unwrap_or(name).to_owned()
    };
    let shown: BTreeSet<String> = series.keys().map(family).collect();
    let page = authd::cli::man_page().unwrap();
    let (_, section) = page.split_once("\n.SH METRICS\n").expect("a section");
    let section = section.split("\n.SH ").next().unwrap_or_default();
    let written: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix(".BR "))
        .filter_map(|line| line.split(' ').next())
        .filter(|name| name.contains('_') && !name.contains('.'))
        .map(str::to_owned)
        .collect();
    assert_eq!(shown, written);
}

#[tokio::test]
async fn metrics_stay_while_the_database_is_away() {
    let mut postgres = tests::postgres::Postgres::start_own().await;
    let url = postgres.create_database().await;
    let daemon = Daemon::start(Options::on(tests::options::Database::Postgres(url))).await;
    postgres.kill();
    daemon.client().try_login("ada@example.org", "some password").await.assert_status(503);
    let series = fetch(&daemon.reader()).await;
    assert_eq!(series["authd_database_up"], 0.0);
    assert_eq!(series[r#"authd_logins_total{outcome="unavailable"}"#], 1.0);
    assert!(!series.contains_key("authd_sessions_live"), "a number nobody knows is not shown");
    assert!(series.keys().any(|name| name.starts_with("authd_database_failures_total")));
}
