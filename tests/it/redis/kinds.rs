//! What Redis must do for every kind of limit: counts that end sessions, policies that only count, and keys that were
//! forgotten while it was away.

use super::{is_guess_evaluated, redis_state, registered, two, until_redis_is};
use crate::limits::WRONG;
use shared::{
    admin::limit::{Reset, ResetRequest, Set, SetRequest, Show, ShowRequest},
    error::ErrorCode,
};
use std::time::Duration;
use tests::{client::PASSWORD, daemon::Daemon, options::Options, redis::Redis, wait::until};

const OTHER: &str = "granite-lantern-46-tide";
const LONG: &str = "[limit.\"login.account\"]\nfirst_delay = \"10m\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_in_a_session_count_together_and_the_fifth_ends_it() {
    let redis = Redis::start().await;
    let (first, second) = two(&[&redis.patient()]).await;
    let ada = registered(&first, "ada@example.org").await;
    for daemon in [&first, &second, &first, &second, &first] {
        second.client().profile(&ada.access).await.assert_status(200);
        let answer = daemon.client().change_password(&ada.access, WRONG, OTHER).await;
        answer.assert_refused(ErrorCode::InvalidCredentials);
    }
    second.client().profile(&ada.access).await.assert_refused(ErrorCode::TokenInvalid);
    first.client().try_refresh(&ada.refresh).await.assert_refused(ErrorCode::TokenInvalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_in_shadow_are_counted_in_redis_and_refuse_nobody() {
    let redis = Redis::start().await;
    let daemon = Daemon::start(Options::sqlite().config(&redis.patient())).await;
    until_redis_is(&daemon, "up").await;
    let ada = registered(&daemon, "ada@example.org").await;
    let shadow = |policy: &str, burst| SetRequest {
        policy: policy.into(),
        burst: Some(burst),
        shadow: true,
        ..SetRequest::default()
    };
    daemon.admin().call::<Set>(&SetRequest { rate: "1/h".parse().ok(), ..shadow("login.ip", 2) }).await;
    daemon.admin().call::<Set>(&SetRequest { first_delay: "10m".parse().ok(), ..shadow("login.account", 2) }).await;
    daemon.admin().call::<Set>(&shadow("reauth.session", 2)).await;
    for _ in 0..5 {
        assert!(is_guess_evaluated(&daemon.client(), "ada@example.org").await);
        let answer = daemon.client().change_password(&ada.access, WRONG, OTHER).await;
        answer.assert_refused(ErrorCode::InvalidCredentials);
    }
    let user = daemon.ctl().run(&["-o", "json", "user", "show", "ada@example.org"]).await.json();
    assert!(user["data"]["locked"].is_null(), "{user}");
    for policy in ["login.ip", "login.account", "reauth.session"] {
        let shown = daemon.admin().call::<Show>(&ShowRequest { policy: policy.into() }).await.limit;
        assert_eq!((shown.refused, shown.would_refuse), (0, 3), "{policy}");
    }
    daemon.client().profile(&ada.access).await.assert_status(200);
    daemon.client().login("ada@example.org").await;
    assert_eq!(redis_state(&daemon).await, "up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_forgotten_while_redis_was_away_is_forgotten_when_it_is_back() {
    let redis = Redis::start().await;
    let daemon = Daemon::start(Options::sqlite().config(&redis.patient()).config(LONG)).await;
    until_redis_is(&daemon, "up").await;
    registered(&daemon, "ada@example.org").await;
    for _ in 0..5 {
        assert!(is_guess_evaluated(&daemon.client(), "ada@example.org").await);
    }
    assert_eq!(daemon.client().try_login("ada@example.org", PASSWORD).await.status, 429);
    let held = daemon.ctl().run(&["breaker", "open", "redis", "--yes"]).await;
    assert_eq!(held.code, Some(0), "{held:?}");
    let forget =
        ResetRequest { policy: "login.account".into(), key: Some("ada@example.org".into()), ..Default::default() };
    daemon.admin().call::<Reset>(&forget).await;
    let closed = daemon.ctl().run(&["breaker", "close", "redis"]).await;
    assert_eq!(closed.code, Some(0), "{closed:?}");
    // It is told with the next look at the connection.
    until(Duration::from_secs(5), "she gets in", || async {
        (daemon.client().try_login("ada@example.org", PASSWORD).await.status == 200).then_some(())
    })
    .await;
}
