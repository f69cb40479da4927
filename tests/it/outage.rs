//! PostgreSQL that dies or hangs: 503 in time, nothing taken for a bad token, and recovery without a restart.

use serde_json::json;
use shared::{
    admin::{Empty, daemon::Status, session::State},
    error::ErrorCode,
};
use std::time::Duration;
use tests::{
    client::{Call, PASSWORD, Tokens},
    daemon::Daemon,
    options::{Database, Options},
    postgres::Postgres,
    wait::{timed, until},
    wire::Answer,
};

struct Scene {
    server: Postgres,
    daemon: Daemon,
    tokens: Tokens,
}

async fn scene() -> Scene {
    let server = Postgres::start_own().await;
    let url = server.create_database().await;
    let daemon = Daemon::start(Options::on(Database::Postgres(url))).await;
    let tokens = daemon.client().register("ada@example.org").await;
    Scene { server, daemon, tokens }
}

/// Every flow that needs the database, and how long it may take to say that there is none.
fn flows(scene: &Scene) -> Vec<(&'static str, Call, Duration)> {
    let client = scene.daemon.client();
    let access = &scene.tokens.access;
    let (long, short) = (Duration::from_millis(5_500), Duration::from_millis(3_500));
    let login = json!({ "email": "ada@example.org", "password": PASSWORD });
    let change = json!({ "current_password": PASSWORD, "new_password": "granite-lantern-46-tide" });
    let register = json!({ "email": "eve@example.org", "password": PASSWORD });
    let reset = json!({ "reset_token": "x".repeat(43), "new_password": PASSWORD });
    let delete = json!({ "password": PASSWORD });
    vec![
        ("register", client.post("/api/auth/register", &register), long),
        ("login", client.post("/api/auth/login", &login), long),
        ("refresh", client.refresh_call(&scene.tokens.refresh), short),
        ("list", client.get("/api/auth/sessions").bearer(access), short),
        ("profile", client.get("/api/user/profile").bearer(access), short),
        (
            "end one",
            client.call("DELETE", &format!("/api/auth/sessions/{}", scene.tokens.session)).bearer(access),
            short,
        ),
        ("end all", client.call("DELETE", "/api/auth/sessions").bearer(access), short),
        ("log out all", client.post("/api/auth/logout", &json!({ "scope": "all" })).bearer(access), short),
        ("log out others", client.post("/api/auth/logout", &json!({ "scope": "others" })).bearer(access), short),
        ("change password", client.call("PATCH", "/api/user/password").json(&change).bearer(access), long),
        ("delete account", client.call("DELETE", "/api/user").json(&delete).bearer(access), long),
        ("reset", client.post("/api/auth/password/reset", &reset), long),
    ]
}

async fn assert_degraded(scene: &Scene) {
    for round in 0..2 {
        for (name, call, limit) in flows(scene) {
            let (answer, took) = timed(call.send()).await;
            assert_eq!(answer.status, 503, "{name}, round {round}: {answer}");
            answer.assert_refused(ErrorCode::StorageUnavailable);
            assert!(took <= limit, "{name}, round {round}: {took:?}");
        }
    }
    let client = scene.daemon.client();
    for _ in 0..5 {
        for (name, call) in [
            ("verify", client.get("/api/auth/verify").bearer(&scene.tokens.access)),
            ("jwks", client.get("/.well-known/jwks.json")),
            ("health", client.get("/health")),
        ] {
            let (answer, took) = timed(call.send()).await;
            assert_eq!(answer.status, 200, "{name}: {answer}");
            assert!(took < Duration::from_millis(200), "{name}: {took:?}");
        }
    }
    client.get("/api/auth/verify").bearer("nonsense").send().await.assert_status(401);
    let (ready, took) = timed(client.ready()).await;
    assert_eq!(ready.status, 503, "{ready}");
    assert!(took <= Duration::from_millis(3_500), "{took:?}");
    let status = scene.daemon.admin().call::<Status>(&Empty {}).await;
    assert!(!status.ready);
    assert_eq!(status.database.state, "down");
}

/// The first answer that is not 503, which must not be a refusal either.
async fn until_served(what: &str, call: Call) -> Answer {
    until(Duration::from_secs(5), what, || async {
        let answer = call.send().await;
        assert!(matches!(answer.status, 200 | 503), "{what}: {answer}");
        (answer.status == 200).then_some(answer)
    })
    .await
}

async fn assert_recovered(scene: &Scene) {
    let client = scene.daemon.client();
    let refreshed = until_served("a refresh", client.refresh_call(&scene.tokens.refresh)).await;
    let tokens = Tokens::of(&refreshed);
    // The refreshes during the outage consumed nothing, or are answered as the lost replies they are.
    assert_eq!(tokens.session, scene.tokens.session);
    assert_eq!(scene.daemon.admin().session(&tokens.session).await.generation, 1);
    client.login("ada@example.org").await;
    client.refresh(&tokens).await;
    scene.daemon.until_ready().await;
    let gone = client.try_login("eve@example.org", PASSWORD).await.status;
    assert!(matches!(gone, 200 | 401), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_is_an_outage_and_its_return_is_noticed() {
    let mut scene = scene().await;
    scene.server.kill();
    assert_degraded(&scene).await;
    scene.server.start_again();
    assert_recovered(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_database_is_an_outage_and_its_return_is_noticed() {
    let scene = scene().await;
    scene.server.pause();
    assert_degraded(&scene).await;
    scene.server.resume();
    assert_recovered(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_hung_with_the_database_is_answered_when_it_is_tried_again() {
    let scene = scene().await;
    scene.server.pause();
    let hung = scene.daemon.client().try_refresh(&scene.tokens.refresh).await;
    hung.assert_refused(ErrorCode::StorageUnavailable);
    scene.server.resume();
    assert_recovered(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_is_not_confirmed_before_it_is_durable_and_counts_here_at_once() {
    let mut scene = scene().await;
    let client = scene.daemon.client();
    scene.server.kill();
    let answer = client.logout_bearer(&scene.tokens.access, "current").await;
    answer.assert_refused(ErrorCode::StorageUnavailable);
    client.verify(&scene.tokens.access).await.assert_status(401);
    scene.server.start_again();
    until(Duration::from_secs(8), "the end becomes durable", || async {
        let body = json!({ "id": scene.tokens.session }).to_string();
        let answer = scene.daemon.admin().post("/v1/session/show", &body).await;
        (answer.status == 200 && answer.json()["state"] == "ended").then_some(())
    })
    .await;
    assert_eq!(scene.daemon.admin().session(&scene.tokens.session).await.state, State::Ended);
    client.try_refresh(&scene.tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_are_killed_under_load_lose_nothing_that_was_acknowledged() {
    let scene = scene().await;
    let client = scene.daemon.client();
    let work = tokio::spawn(tests::wait::together(8, move |number| async move {
        let mut tokens = client.register(&format!("user{number}@example.org")).await;
        let mut outages = 0;
        for _ in 0..60 {
            let answer = client.try_refresh(&tokens.refresh).await;
            match answer.status {
                200 => tokens = Tokens::of(&answer),
                503 => outages += 1,
                _ => panic!("{answer}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (tokens, outages)
    }));
    while !work.is_finished() {
        tokio::time::sleep(Duration::from_millis(120)).await;
        scene.server.kill_backends().await;
    }
    let mut outages = 0;
    for (tokens, seen) in work.await.unwrap() {
        outages += seen;
        until_served("the last token still works", client.refresh_call(&tokens.refresh)).await;
    }
    assert!(outages < 8 * 60, "nothing was served at all");
}
