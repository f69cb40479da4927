//! Races about one session: many refreshes, and a logout among them (rules R7 and R8).

use serde_json::json;
use shared::{admin::session::State, error::ErrorCode};
use std::{collections::BTreeSet, time::Duration};
use tests::{
    client::{Client, Tokens},
    daemon::Daemon,
    options::Options,
    wait::{together, until},
};

const ROUNDS: usize = 20;
const PARALLEL: usize = 50;
const LOGOUTS: usize = 100;

/// Every round: many refreshes of one token are one rotation, with one successor for everybody.
async fn refresh_together(daemon: &Daemon, clients: [Client; 2]) {
    let mut tokens = clients[0].register("ada@example.org").await;
    for round in 1..=ROUNDS {
        let token = tokens.refresh.clone();
        let answers = together(PARALLEL, |number| {
            let (client, token) = (clients[number % 2], token.clone());
            async move { client.try_refresh(&token).await }
        })
        .await;
        let successors: BTreeSet<String> = answers.iter().map(|answer| Tokens::of(answer).refresh).collect();
        assert_eq!(successors.len(), 1, "round {round}");
        tokens = Tokens::of(&answers[0]);
        let generation = daemon.admin().session(&tokens.session).await.generation;
        assert_eq!(generation, u64::try_from(round).unwrap(), "one step a round");
    }
    clients[1].refresh(&tokens).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_parallel_refreshes_are_one_rotation_on_sqlite() {
    let daemon = Daemon::start(Options::sqlite()).await;
    refresh_together(&daemon, [daemon.client(), daemon.client()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_parallel_refreshes_are_one_rotation_on_two_instances() {
    let daemon = Daemon::start(Options::postgres().await).await;
    let other = daemon.second().await;
    refresh_together(&daemon, [daemon.client(), other.client()]).await;
}

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

/// Every round: a refresh and a logout at once; after the 204 nothing of the session works, on either instance.
async fn logout_among_refreshes(daemon: &Daemon, clients: [Client; 2], by_bearer: bool) {
    for round in 0..LOGOUTS / 2 {
        let tokens = clients[0].register(&format!("user{round}-{by_bearer}@example.org")).await;
        let race = tokens.clone();
        let answers = together(4, |number| {
            let (client, race) = (clients[number % 2], race.clone());
            async move {
                match number {
                    0 if by_bearer => client.logout_bearer(&race.access, "current").await,
                    0 => client.logout(&race.refresh).await,
                    _ => client.try_refresh(&race.refresh).await,
                }
            }
        })
        .await;
        answers[0].assert_status(204);
        let mut known = vec![tokens.clone()];
        known.extend(answers[1..].iter().filter(|answer| answer.status == 200).map(Tokens::of));
        for answer in answers[1..].iter().filter(|answer| answer.status != 200) {
            answer.assert_refused(ErrorCode::TokenInvalid);
        }
        for tokens in &known {
            for client in clients {
                client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
                client.profile(&tokens.access).await.assert_refused(ErrorCode::TokenInvalid);
            }
            // The instance that answered knows at once, the other within a second.
            clients[0].verify(&tokens.access).await.assert_status(401);
            until(Duration::from_secs(1), "the other instance knows", || async {
                (clients[1].verify(&tokens.access).await.status == 401).then_some(())
            })
            .await;
        }
        assert_eq!(daemon.admin().session(&tokens.session).await.state, State::Ended);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_works_after_a_logout_among_refreshes_on_sqlite() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let clients = [daemon.client(), daemon.client()];
    logout_among_refreshes(&daemon, clients, false).await;
    logout_among_refreshes(&daemon, clients, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_works_after_a_logout_among_refreshes_on_two_instances() {
    let daemon = Daemon::start(Options::postgres().await).await;
    let other = daemon.second().await;
    let clients = [daemon.client(), other.client()];
    logout_among_refreshes(&daemon, clients, false).await;
    logout_among_refreshes(&daemon, clients, true).await;
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
