//! What was under way when PostgreSQL died or hung, and recovery without a restart. What each flow answers meanwhile is
//! walked in `failures`.

use serde_json::json;
use shared::{admin::session::State, error::ErrorCode};
use std::time::Duration;
use tests::{
    client::{Call, PASSWORD, Tokens},
    daemon::Daemon,
    options::{Database, Options},
    postgres::Postgres,
    wait::until,
    wire::Answer,
};

/// That it happens.
const SOON: Duration = Duration::from_secs(60);

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

/// The first answer that is not 503, which must not be a refusal either.
async fn until_served(what: &str, call: Call) -> Answer {
    until(SOON, what, || async {
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
    until(SOON, "the end becomes durable", || async {
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
    let mut families = Vec::new();
    for number in 0..8 {
        families.push(client.register(&format!("user{number}@example.org")).await);
    }
    let work = tokio::spawn(tests::wait::together(families.len(), move |number| {
        let mut tokens = families[number].clone();
        async move {
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
        }
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
