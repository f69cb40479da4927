//! `login.hard`: no account's password is tried more than a hundred times between two right ones, whatever happens.

use serde_json::json;
use shared::{
    admin::{audit::Outcome, user},
    error::ErrorCode,
};
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;
use tests::{
    client::{Client, PASSWORD, Tokens},
    daemon::Daemon,
    inprocess::InProcess,
    options::{Database, Options},
    postgres::Postgres,
    wait::{together, until},
    wire::Answer,
};

const WRONG: &str = "not-the-velvet-one-55";
const OTHER: &str = "granite-lantern-46-tide";
/// A ladder that gets out of the way of the bound beneath it.
const NO_LADDER: &str = "[limit.\"login.account\"]\nburst = 84\nfirst_delay = \"1ms\"\nmax_delay = \"1ms\"";
const ADA: &str = "ada@example.org";

fn ada() -> user::ChangeRequest {
    user::ChangeRequest { user: ADA.into(), ..Default::default() }
}

async fn locked(daemon: &Daemon) -> Option<user::Locked> {
    daemon.admin().call::<user::Show>(&user::ShowRequest { user: ADA.into() }).await.locked
}

/// Wrong passwords one after the other; how many were answered 401.
async fn guess(client: Client, email: &str, times: usize) -> usize {
    let mut refused = 0;
    for _ in 0..times {
        let answer = client.try_login(email, WRONG).await;
        assert!(matches!(answer.status, 401 | 429), "{answer}");
        refused += usize::from(answer.status == 401);
    }
    refused
}

on_both! {
    async fn two_hundred_wrong_passwords_use_up_one_lane_which_an_operator_opens(options) {
        let daemon = Daemon::start(options.config(NO_LADDER)).await;
        let client = daemon.client();
        let tokens = client.register(ADA).await;
        assert_eq!(guess(client, ADA, 200).await, 85);
        assert_eq!(daemon.admin().evaluated().await, 85);
        client.try_login(ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
        assert_eq!(locked(&daemon).await, Some(user::Locked::UnknownDevices));
        let said = daemon.admin().events_about("limit.exceeded", &tokens.user).await;
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!((said[0].reason.as_deref(), said[0].outcome), (Some("login.hard"), Outcome::Denied));
        assert_eq!(said[0].detail["lane"], "unknown_devices");
        assert!(daemon.admin().call::<user::Unlock>(&ada()).await.changed);
        assert_eq!(locked(&daemon).await, None);
        client.try_login(ADA, PASSWORD).await.assert_status(200);
    }
}

on_both! {
    async fn a_success_starts_the_count_from_zero(options) {
        let daemon = Daemon::start(options.config(NO_LADDER)).await;
        let client = daemon.client();
        client.register(ADA).await;
        assert_eq!(guess(client, ADA, 60).await, 60);
        client.login(ADA).await;
        assert_eq!(guess(client, ADA, 120).await, 85);
        assert_eq!(daemon.admin().evaluated().await, 60 + 1 + 85);
    }
}

on_both! {
    async fn many_wrong_passwords_at_once_get_no_more_than_one_after_the_other(options) {
        let options = options.config(NO_LADDER).config("[password]\nqueue = 1000\nwait = \"20s\"");
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        client.register(ADA).await;
        let answers = together(200, |_| async move { client.try_login(ADA, WRONG).await }).await;
        let refused = answers.iter().filter(|answer| answer.status == 401).count();
        assert_eq!(daemon.admin().evaluated().await, refused as u64);
        assert!((70..=85).contains(&refused), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_one_count_however_they_are_killed() {
    let mut first = Daemon::start(Options::postgres().await.config(NO_LADDER)).await;
    let mut second = first.second().await;
    first.client().register(ADA).await;
    let mut evaluated = 0;
    for round in 0..10 {
        let clients = [first.client(), second.client()];
        together(16, |number| async move { clients[number % 2].try_login(ADA, WRONG).await }).await;
        evaluated += first.admin().evaluated().await + second.admin().evaluated().await;
        if round % 2 == 0 { &mut first } else { &mut second }.crash().await;
        // The other one counts on from what it had.
        evaluated -= if round % 2 == 0 { &second } else { &first }.admin().evaluated().await;
    }
    evaluated += first.admin().evaluated().await + second.admin().evaluated().await;
    assert!((70..=85).contains(&evaluated), "{evaluated}");
    first.client().try_login(ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
    second.client().try_login(ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_in_the_middle_of_guesses_give_none_back() {
    let mut daemon = Daemon::start(Options::sqlite().config(NO_LADDER)).await;
    daemon.client().register(ADA).await;
    let mut evaluated = 0;
    for _ in 0..20 {
        let client = daemon.client();
        guess(client, ADA, 6).await;
        evaluated += daemon.admin().evaluated().await;
        // Killed while these are under way: whether they were evaluated nobody can tell, so they count.
        let under_way = tokio::spawn(async move {
            let body = json!({ "email": ADA, "password": WRONG });
            together(3, |_| {
                let call = client.post("/api/auth/login", &body);
                async move { call.try_send().await.is_ok() }
            })
            .await
        });
        tokio::task::yield_now().await;
        daemon.crash().await;
        under_way.await.unwrap();
    }
    assert!((25..=85).contains(&evaluated), "{evaluated}");
    daemon.client().try_login(ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
}

on_both! {
    async fn wrong_passwords_inside_sessions_count_with_known_devices(options) {
        let daemon = Daemon::start(options.config(NO_LADDER)).await;
        let client = daemon.client();
        client.register(ADA).await;
        let mut sessions = Vec::new();
        for _ in 0..4 {
            sessions.push(client.login(ADA).await);
        }
        for session in &sessions[..3] {
            for number in 0..5 {
                let delete = client.call("DELETE", "/api/user").json(&json!({ "password": WRONG }));
                let answer = match number % 2 {
                    0 => client.change_password(&session.access, WRONG, OTHER).await,
                    _ => delete.bearer(&session.access).send().await,
                };
                answer.assert_refused(ErrorCode::InvalidCredentials);
            }
        }
        assert_eq!(locked(&daemon).await, Some(user::Locked::KnownDevices));
        let last = &sessions[3];
        client.change_password(&last.access, PASSWORD, OTHER).await.assert_refused(ErrorCode::RateLimited);
        let device = last.device.as_deref().unwrap();
        client.try_login_from(device, ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
        // A success in the other lane opens it.
        client.login(ADA).await;
        client.change_password(&last.access, PASSWORD, OTHER).await.assert_status(204);
    }
}

on_both! {
    async fn both_lanes_together_have_a_hundred(options) {
        let daemon = Daemon::start(options.config(NO_LADDER)).await;
        let client = daemon.client();
        let mut devices = vec![client.register(ADA).await.device.unwrap()];
        for _ in 0..3 {
            devices.push(client.login(ADA).await.device.unwrap());
        }
        let before = daemon.admin().evaluated().await;
        assert_eq!(guess(client, ADA, 120).await, 85);
        for device in &devices {
            for _ in 0..5 {
                client.try_login_from(device, ADA, WRONG).await;
            }
        }
        assert_eq!(daemon.admin().evaluated().await - before, 100);
        assert_eq!(locked(&daemon).await, Some(user::Locked::Both));
        let reset = daemon.admin().call::<user::ResetPassword>(&ada()).await.reset_token.unwrap();
        let body = json!({ "reset_token": reset.expose(), "new_password": OTHER });
        client.try_login(ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
        client.post("/api/auth/password/reset", &body).send().await.assert_status(204);
        assert_eq!(locked(&daemon).await, None);
        client.try_login(ADA, OTHER).await.assert_status(200);
    }
}

on_both! {
    async fn a_repeated_registration_is_counted_like_a_login(options) {
        let daemon = Daemon::start(options.config(NO_LADDER)).await;
        let client = daemon.client();
        let repeat = |password: &str| {
            let body = json!({ "email": ADA, "password": password });
            client.post("/api/auth/register", &body).header("idempotency-key", "a-key-of-this-client")
        };
        repeat(PASSWORD).send().await.assert_status(201);
        let mut answers = Vec::new();
        for _ in 0..100 {
            answers.push(repeat(OTHER).send().await.status);
        }
        assert_eq!(daemon.admin().evaluated().await, 85, "{answers:?}");
        repeat(PASSWORD).send().await.assert_refused(ErrorCode::RateLimited);
    }
}

/// What a caller can compare: all but the id of the request and the time.
fn comparable(answer: &Answer) -> (u16, hyper::HeaderMap, serde_json::Value) {
    let (mut headers, mut body) = (answer.headers.clone(), answer.json());
    headers.remove("x-request-id");
    headers.remove("date");
    body["request_id"] = json!("");
    (answer.status, headers, body)
}

on_both! {
    async fn a_name_that_nobody_has_is_refused_after_as_many_attempts_in_the_same_words(options) {
        let daemon = Daemon::start(options.config(NO_LADDER)).await;
        let client = daemon.client();
        client.register(ADA).await;
        for email in [ADA, "nobody@example.org"] {
            assert_eq!(guess(client, email, 120).await, 85, "{email}");
        }
        let known = client.try_login(ADA, WRONG).await;
        known.assert_refused(ErrorCode::RateLimited);
        assert_eq!(comparable(&client.try_login("nobody@example.org", WRONG).await), comparable(&known));
    }
}

on_both! {
    async fn a_day_of_guesses_at_the_pace_of_the_ladder_is_bounded_too(options) {
        let app = InProcess::start(options).await;
        let client = app.client();
        client.register(ADA).await;
        let mut refused = 0;
        for _ in 0..200 {
            refused += guess(client, ADA, 1).await;
            app.clock.advance_secs(16 * 60);
        }
        assert_eq!(refused, 85);
        client.try_login(ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlock_is_heard_by_every_instance_within_a_second_or_two() {
    let options = Options::postgres().await.config("[limit.\"login.account\"]\nfirst_delay = \"10m\"");
    let first = Daemon::start(options).await;
    let second = first.second().await;
    let (client, other) = (first.client(), second.client());
    client.register(ADA).await;
    for client in [client, other] {
        guess(client, ADA, 8).await;
        client.try_login(ADA, PASSWORD).await.assert_refused(ErrorCode::RateLimited);
    }
    assert!(first.admin().call::<user::Unlock>(&ada()).await.changed);
    client.try_login(ADA, PASSWORD).await.assert_status(200);
    let lets_in = || async { (other.try_login(ADA, PASSWORD).await.status == 200).then_some(()) };
    until(tests::process::crowded(Duration::from_secs(5)), "the other instance to hear of it", lets_in).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_counted_is_not_evaluated() {
    let url = Postgres::shared().await.create_database().await;
    let daemon = Daemon::start(Options::on(Database::Postgres(url.clone()))).await;
    let client = daemon.client();
    let tokens = client.register(ADA).await;
    let name = url.rsplit('/').next().unwrap();
    let mut server = PgConnection::connect(&url).await.unwrap();
    // Reads go on: the account and its hash are found.
    let read_only = format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on;
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    );
    server.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(read_only))).await.unwrap();
    let reads = || async { (client.profile(&tokens.access).await.status == 200).then_some(()) };
    until(Duration::from_secs(60), "reads to go on", reads).await;
    for _ in 0..3 {
        client.try_login(ADA, PASSWORD).await.assert_refused(ErrorCode::StorageUnavailable);
        client.try_login("nobody@example.org", PASSWORD).await.assert_refused(ErrorCode::StorageUnavailable);
        client.change_password(&tokens.access, PASSWORD, OTHER).await.assert_refused(ErrorCode::StorageUnavailable);
    }
    assert_eq!(daemon.admin().evaluated().await, 0);
}

#[tokio::test]
async fn the_bound_is_neither_raised_nor_shadowed() {
    let daemon = Daemon::start(Options::sqlite().config("[limit.\"login.hard\"]\nunknown = 6\nknown = 2")).await;
    let ctl = daemon.ctl();
    for refused in [["--burst", "99"], ["--known", "95"], ["--known", "0"]] {
        let ran = ctl.run(&["limit", "set", "login.hard", refused[0], refused[1]]).await;
        assert_ne!(ran.code, Some(0), "{ran:?}");
    }
    assert_ne!(ctl.run(&["limit", "set", "login.hard", "--shadow"]).await.code, Some(0));
    assert_ne!(ctl.run(&["limit", "set", "login.hard", "off"]).await.code, Some(0));
    let reset = ctl.run(&["limit", "reset", "login.hard", "--key", ADA]).await;
    assert!(reset.code != Some(0) && reset.stderr.contains("user unlock"), "{reset:?}");
    let ran = ctl.run(&["limit", "set", "login.hard", "--burst", "3"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let list = ctl.run(&["limit", "show", "login.hard", "-o", "json"]).await.json();
    let hard = &list["data"];
    assert_eq!((&hard["kind"], &hard["burst"], &hard["known"]), (&json!("count"), &json!(3), &json!(2)), "{list}");
    daemon.client().register(ADA).await;
    let Tokens { device, .. } = daemon.client().login(ADA).await;
    assert!(device.is_some());
    assert_eq!(guess(daemon.client(), ADA, 5).await, 3);
}
