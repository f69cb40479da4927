//! What operators see and tune of limits that are counted in Redis; what each instance counts for itself all the same.

use super::{is_guess_evaluated, redis_state, registered, two, until_redis_is};
use crate::limits::{PROXY, WRONG, alarms, login};
use shared::{
    admin::limit::{Limited, Reset, ResetRequest, Set, SetRequest, Show, ShowRequest, Top, TopRequest},
    error::ErrorCode,
};
use std::time::Duration;
use tests::{client::PASSWORD, daemon::Daemon, options::Options, redis::Redis, wait::until};

/// Ten attempts that fail are an attack.
const GLOBAL_OF_TEN: &str = "[limit.\"login.global\"]\npercent = 60\nattempts = 10\n";

async fn limited(daemon: &Daemon, policy: &str) -> Vec<Limited> {
    daemon.admin().call::<Show>(&ShowRequest { policy: policy.into() }).await.limited
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_redis_refuses_is_shown_with_how_often_until_it_is_forgotten() {
    let redis = Redis::start().await;
    let long = "[limit.\"login.account\"]\nfirst_delay = \"10m\"\n";
    let (first, second) = two(&[&redis.patient(), long]).await;
    let ada = registered(&first, "ada@example.org").await;
    // What it has heard of with this is also that it is the second.
    let set = SetRequest { policy: "login.net".into(), burst: Some(140), ..Default::default() };
    first.admin().call::<Set>(&set).await;
    until(Duration::from_secs(8), "both know of the limit", || async {
        let shown = second.admin().call::<Show>(&ShowRequest { policy: "login.net".into() }).await;
        (shown.limit.burst == Some(140)).then_some(())
    })
    .await;
    for _ in 0..4 {
        assert!(is_guess_evaluated(&second.client(), "ada@example.org").await);
    }
    // More than its share, and the account is not locked: both count together.
    assert_eq!(limited(&second, "login.account").await, []);
    assert!(is_guess_evaluated(&second.client(), "ada@example.org").await);
    let locked = limited(&second, "login.account").await;
    assert_eq!(locked.iter().map(|one| (one.key.as_str(), one.refused)).collect::<Vec<_>>(), [(ada.user.as_str(), 0)]);
    for daemon in [&first, &second, &second] {
        assert!(!is_guess_evaluated(&daemon.client(), "ada@example.org").await);
    }
    for (daemon, refused) in [(&first, 1), (&second, 2)] {
        let shown = limited(daemon, "login.account").await;
        assert_eq!(shown.iter().map(|one| one.refused).collect::<Vec<_>>(), [refused], "{shown:?}");
        let top = daemon.admin().call::<Top>(&TopRequest::default()).await.items;
        assert!(top.iter().any(|one| one.policy == "login.account" && one.refused == refused), "{top:?}");
    }
    let forget =
        ResetRequest { policy: "login.account".into(), key: Some("ada@example.org".into()), ..Default::default() };
    first.admin().call::<Reset>(&forget).await;
    assert_eq!(limited(&first, "login.account").await, []);
    second.client().login("ada@example.org").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_tightens_what_redis_is_asked() {
    let redis = Redis::start().await;
    let rate = "[limit.\"login.ip\"]\nrate = \"20/h\"\nburst = 20\n";
    let config = [PROXY, GLOBAL_OF_TEN, rate, &redis.patient()];
    let options = config.into_iter().fold(Options::sqlite(), |options, toml| options.config(toml));
    let daemon = Daemon::start(options).await;
    until_redis_is(&daemon, "up").await;
    let client = daemon.client();
    let attempt = |from: &str, number: u32| {
        let call = login(client, from, &format!("user{number}@example.org"), WRONG);
        async move { call.send().await }
    };
    for number in 0..10 {
        attempt(&format!("192.0.{number}.1"), number).await.assert_status(401);
    }
    assert_eq!(alarms(&daemon).await, ["login.global"]);
    let mut statuses = Vec::new();
    for number in 10..16 {
        statuses.push(attempt("203.0.113.1", number).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429], "a quarter of twenty");
    assert_eq!(redis_state(&daemon).await, "up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_that_tries_many_accounts_is_found_with_redis_too() {
    let redis = Redis::start().await;
    let spray = "[limit.\"login.spray\"]\ncount = 4\n";
    let daemon = Daemon::start(Options::sqlite().config(PROXY).config(spray).config(&redis.patient())).await;
    until_redis_is(&daemon, "up").await;
    registered(&daemon, "ada@example.org").await;
    let client = daemon.client();
    for number in 0..4 {
        login(client, "192.0.2.1", &format!("user{number}@example.org"), WRONG).send().await.assert_status(401);
    }
    login(client, "192.0.2.1", "ada@example.org", PASSWORD).send().await.assert_refused(ErrorCode::RateLimited);
    login(client, "192.0.2.2", "ada@example.org", PASSWORD).send().await.assert_status(200);
    let shown = limited(&daemon, "login.spray").await;
    assert_eq!(shown.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["192.0.2.1"]);
}
