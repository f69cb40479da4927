//! Races about one session: many refreshes of one token (R8), and refreshes against whatever ends a session (R7).

use super::{announce, instances};
use serde_json::json;
use shared::{admin::session::State, error::ErrorCode};
use std::{collections::BTreeSet, time::Duration};
use tests::{
    admin::Admin,
    client::{Client, PASSWORD, Tokens},
    clock::SeededRandom,
    daemon::Daemon,
    process::crowded,
    scale,
    wait::{together, until},
    wire::Answer,
};

const PARALLEL: usize = 50;
/// Refreshes in a race with the end of their session.
const REFRESHES: usize = 3;
/// Races at a time: most of each is waiting for the other instance to hear of the end.
const LANES: usize = 8;

/// Refreshes as clients do: once more while the machine is too busy for an answer in time.
async fn refresh(client: Client, token: &str) -> Answer {
    until(Duration::from_secs(60), "an answer", || async {
        let answer = client.try_refresh(token).await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

on_both! {
    async fn parallel_refreshes_are_one_rotation_each_round(options) {
        let rounds = scale::of(200);
        announce(rounds);
        let daemons = instances(options).await;
        let clients: Vec<Client> = daemons.iter().map(Daemon::client).collect();
        let mut tokens = clients[0].register("ada@example.org").await;
        for round in 1..=rounds {
            let answers = together(PARALLEL, |number| {
                let (client, token) = (clients[number % clients.len()], tokens.refresh.clone());
                async move { refresh(client, &token).await }
            })
            .await;
            let successors: BTreeSet<String> = answers.iter().map(|answer| Tokens::of(answer).refresh).collect();
            assert_eq!(successors.len(), 1, "round {round}");
            tokens = Tokens::of(&answers[0]);
            let generation = daemons[0].admin().session(&tokens.session).await.generation;
            assert_eq!(generation, u64::try_from(round).unwrap(), "one step a round");
        }
        clients[clients.len() - 1].refresh(&tokens).await;
    }
}

/// The ways a session ends in these races.
#[derive(Debug, Clone, Copy)]
enum End {
    LogoutByRefresh,
    LogoutByBearer,
    LogoutOfAll,
    EndedById,
    RevokedByOperator,
    AccountDisabled,
    AccountDeleted,
}

const ENDS: [End; 7] = [
    End::LogoutByRefresh,
    End::LogoutByBearer,
    End::LogoutOfAll,
    End::EndedById,
    End::RevokedByOperator,
    End::AccountDisabled,
    End::AccountDeleted,
];

impl End {
    async fn carry_out(self, client: Client, admin: Admin, tokens: &Tokens) -> Answer {
        match self {
            Self::LogoutByRefresh => client.logout(&tokens.refresh).await,
            Self::LogoutByBearer => client.logout_bearer(&tokens.access, "current").await,
            Self::LogoutOfAll => client.logout_bearer(&tokens.access, "all").await,
            Self::EndedById => client.end_session(&tokens.access, &tokens.session).await,
            Self::RevokedByOperator => {
                admin.post("/v1/session/revoke", &json!({ "id": tokens.session }).to_string()).await
            }
            Self::AccountDisabled => admin.post("/v1/user/disable", &json!({ "user": tokens.user }).to_string()).await,
            Self::AccountDeleted => {
                let call = client.call("DELETE", "/api/user").json(&json!({ "password": PASSWORD }));
                call.bearer(&tokens.access).send().await
            }
        }
    }
}

/// Refreshes and an end at once; then nothing of the session works, wherever it is shown.
async fn race(daemons: &[(Client, Admin)], email: &str, end: End, head_start: Duration) {
    let (here, admin) = daemons[0].clone();
    let tokens = here.register(email).await;
    let answers = together(1 + REFRESHES, |number| {
        let (tokens, admin, client) = (tokens.clone(), admin.clone(), daemons[number % daemons.len()].0);
        async move {
            if number > 0 {
                return refresh(client, &tokens.refresh).await;
            }
            tokio::time::sleep(head_start).await;
            end.carry_out(client, admin, &tokens).await
        }
    })
    .await;
    assert!(matches!(answers[0].status, 200 | 204), "{end:?}: {}", answers[0]);
    let (won, lost): (Vec<_>, Vec<_>) = answers[1..].iter().partition(|answer| answer.status == 200);
    for answer in lost {
        answer.assert_refused(ErrorCode::TokenInvalid);
    }
    let mut known = vec![tokens.clone()];
    known.extend(won.into_iter().map(Tokens::of));
    for tokens in &known {
        here.verify(&tokens.access).await.assert_status(401);
        for (client, _) in daemons {
            client.try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
            client.profile(&tokens.access).await.assert_refused(ErrorCode::TokenInvalid);
        }
    }
    // The instance that answered knew at once, the others within a second.
    for tokens in &known {
        for (client, _) in &daemons[1..] {
            until(crowded(Duration::from_secs(1)), "the other instance knows", || async {
                (client.verify(&tokens.access).await.status == 401).then_some(())
            })
            .await;
        }
    }
    assert_eq!(admin.session(&tokens.session).await.state, State::Ended, "{end:?}");
}

on_both! {
    async fn nothing_works_after_the_end_of_a_session_among_refreshes(options) {
        let rounds = scale::of(2_000);
        announce(rounds);
        let daemons = instances(options).await;
        let daemons: Vec<_> = daemons.iter().map(|daemon| (daemon.client(), daemon.admin())).collect();
        together(LANES, |lane| {
            let daemons = daemons.clone();
            async move {
                let dice = SeededRandom::new(scale::seed().wrapping_add(lane as u64));
                for round in (lane..rounds).step_by(LANES) {
                    let end = ENDS[dice.below(ENDS.len())];
                    let head_start = Duration::from_micros(dice.next() % 4_000);
                    println!("round {round}: {end:?} after {head_start:?}");
                    race(&daemons, &format!("user{round}@example.org"), end, head_start).await;
                }
            }
        })
        .await;
    }
}
