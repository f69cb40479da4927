//! Races about one session that `heavy/races.rs` does not run: keys, ends confirmed elsewhere, logins (rules R7 and
//! R8).

use serde_json::json;
use shared::error::ErrorCode;
use std::collections::BTreeSet;
use tests::{client::Tokens, daemon::Daemon, options::Options, wait::together};

const PARALLEL: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_refreshes_with_one_key_are_one_rotation_and_with_several_one_client_wins() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let client = daemon.client();
    let tokens = client.register("ada@example.org").await;
    let token = tokens.refresh.clone();
    let same = together(PARALLEL, |_| {
        let token = token.clone();
        async move { client.refresh_keyed(&token, "the-key-of-everybody").await }
    })
    .await;
    let successors: BTreeSet<String> = same.iter().map(|answer| Tokens::of(answer).refresh).collect();
    assert_eq!(successors.len(), 1);
    let token = successors.into_iter().next().unwrap();
    let several = together(PARALLEL, |number| {
        let token = token.clone();
        async move { client.refresh_keyed(&token, &format!("the-key-of-number-{number}")).await }
    })
    .await;
    let won: Vec<_> = several.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    let lost = several.iter().filter(|answer| answer.status != 200);
    for answer in lost {
        answer.assert_refused(ErrorCode::Conflict);
    }
    client.refresh(&Tokens::of(won[0])).await;
}

#[tokio::test]
async fn an_instance_that_confirms_an_end_denies_also_what_ended_on_another_before() {
    let daemon = Daemon::start(Options::postgres().await).await;
    let other = daemon.second().await;
    let (here, there) = (daemon.client(), other.client());
    for round in 0..6 {
        let email = format!("user{round}@example.org");
        let tokens = here.register(&email).await;
        here.verify(&tokens.access).await.assert_status(200);
        there.logout(&tokens.refresh).await.assert_status(204);
        let (path, body) = match round % 3 {
            0 => ("/v1/session/revoke", json!({ "id": tokens.session })),
            1 => ("/v1/user/disable", json!({ "user": email })),
            _ => ("", json!(null)),
        };
        if path.is_empty() {
            here.logout(&tokens.refresh).await.assert_status(204);
        } else {
            daemon.admin().post(path, &body.to_string()).await.assert_status(200);
        }
        here.verify(&tokens.access).await.assert_status(401);
    }
}

on_both! {
    async fn logins_refreshes_and_a_disabled_account_leave_no_live_session(options) {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let admin = daemon.admin();
        for round in 0..10 {
            let email = format!("user{round}@example.org");
            let tokens = client.register(&email).await;
            let answers = together(8, |number| {
                let (email, refresh, admin) = (email.clone(), tokens.refresh.clone(), admin.clone());
                async move {
                    match number {
                        0 => admin.post("/v1/user/disable", &json!({ "user": email }).to_string()).await,
                        1..=3 => client.try_refresh(&refresh).await,
                        _ => client.try_login(&email, tests::client::PASSWORD).await,
                    }
                }
            })
            .await;
            answers[0].assert_status(200);
            for answer in answers[1..].iter().filter(|answer| answer.status == 200) {
                let tokens = Tokens::of(answer);
                client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
                client.verify(&tokens.access).await.assert_status(401);
            }
        }
    }
}
