//! Replies that get lost between the daemon and its client, after the commit: every retry gets the same successor (R2).

use super::{announce, instances};
use std::time::Duration;
use tests::{
    client::{Call, Client, Tokens},
    clock::SeededRandom,
    daemon::Daemon,
    inprocess::InProcess,
    jwt::Jwt,
    options::{Database, Options},
    postgres::Postgres,
    proxy::{Plan, Proxy, Reply, postgres::PostgresProxy},
    scale,
    wait::until,
    wire::Answer,
};

fn refresh(client: Client, token: &str, key: Option<&str>) -> Call {
    let call = client.refresh_call(token);
    match key {
        Some(key) => call.header("idempotency-key", key),
        None => call,
    }
}

fn expiry(tokens: &Tokens) -> i64 {
    Jwt::of(&tokens.access).claims["exp"].as_i64().expect("a token ends")
}

/// The tokens in a reply that nobody got.
async fn lost_tokens(proxy: &Proxy) -> Tokens {
    until(Duration::from_secs(60), "the whole reply is heard", || async {
        let heard = proxy.heard();
        let head = heard.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        let body: serde_json::Value = serde_json::from_slice(&heard[head..]).ok()?;
        let body = body.to_string().into();
        Some(Tokens::of(&Answer { status: 200, headers: hyper::HeaderMap::new(), body }))
    })
    .await
}

on_both! {
    async fn a_cut_reply_is_given_again(options) {
        let rounds = scale::of(500);
        announce(rounds);
        let dice = SeededRandom::new(scale::seed());
        let daemons = instances(options).await;
        let clients: Vec<Client> = daemons.iter().map(Daemon::client).collect();
        let mut proxies = Vec::new();
        for daemon in &daemons {
            proxies.push(Proxy::in_front_of(daemon.address()).await);
        }
        let first = clients[0].register("ada@example.org").await;
        let mut tokens = Client::new(proxies[0].address()).refresh(&first).await;
        let length = proxies[0].heard().len();
        for round in 1..=rounds {
            let key = (dice.below(2) == 0).then(|| format!("the-key-of-round-{round}"));
            let proxy = &proxies[dice.below(proxies.len())];
            // The very beginning in every fourth round; never at the very end, where nothing would be missing.
            let cut = if dice.below(4) == 0 { 0 } else { dice.below(length - 8) };
            println!("round {round}: {key:?}, cut after {cut} of {length}");
            proxy.set_reply(Reply::CutAfter(cut));
            let lost = refresh(Client::new(proxy.address()), &tokens.refresh, key.as_deref()).try_send().await;
            assert!(lost.is_err(), "round {round}: {lost:?}");
            let meant = lost_tokens(proxy).await;
            assert_ne!(meant.refresh, tokens.refresh);
            for _ in 0..3 {
                let client = clients[dice.below(clients.len())];
                let again = Tokens::of(&refresh(client, &tokens.refresh, key.as_deref()).send().await);
                assert_eq!((&again.refresh, expiry(&again)), (&meant.refresh, expiry(&meant)), "round {round}");
            }
            tokens = meant;
            let generation = daemons[0].admin().session(&tokens.session).await.generation;
            assert_eq!(generation, u64::try_from(round).unwrap() + 1, "one step a round");
        }
        clients[0].refresh(&tokens).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_never_comes_is_given_to_whoever_asks_again() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let proxy = Proxy::in_front_of(daemon.address()).await;
    let first = daemon.client().register("ada@example.org").await;
    let delay = Duration::from_millis(20);
    proxy.set(Plan { request_delay: delay, reply_delay: delay, reply: Reply::Swallow });
    let waiting = tokio::spawn({
        let call = Client::new(proxy.address()).refresh_call(&first.refresh);
        async move { call.try_send().await }
    });
    let meant = lost_tokens(&proxy).await;
    assert_eq!(daemon.client().refresh(&first).await.refresh, meant.refresh);
    assert!(!waiting.is_finished(), "nobody got the first one");
    proxy.down();
    assert!(waiting.await.unwrap().is_err());
    assert!(Client::new(proxy.address()).get("/health").try_send().await.is_err());
    proxy.up();
    proxy.set(Plan::default());
    Client::new(proxy.address()).health().await.assert_status(200);
}

/// The grace does not run while storage is away (R5): a reply is lost, then the database, for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_without_storage_between_lost_reply_and_retry_is_no_replay() {
    let rounds = scale::of(500);
    announce(rounds);
    let dice = SeededRandom::new(scale::seed());
    let url = Postgres::shared().await.create_database().await;
    let storage = PostgresProxy::in_front_of(&url).await;
    let app = InProcess::start(Options::on(Database::Postgres(storage.url()))).await;
    let proxy = Proxy::in_front_of(app.client().address()).await;
    let mut tokens = app.client().register("ada@example.org").await;
    for round in 1..=rounds {
        let cut = dice.below(300);
        let before_s = i64::try_from(dice.below(8)).unwrap();
        println!("round {round}: cut after {cut}, storage leaves after {before_s} s");
        proxy.set_reply(Reply::CutAfter(cut));
        let lost = Client::new(proxy.address()).refresh_call(&tokens.refresh).try_send().await;
        assert!(lost.is_err(), "round {round}: {lost:?}");
        let meant = lost_tokens(&proxy).await;
        app.clock.advance_secs(before_s);
        storage.down();
        app.client().try_refresh(&tokens.refresh).await.assert_status(503);
        app.clock.advance_secs(60);
        app.client().try_refresh(&tokens.refresh).await.assert_status(503);
        storage.up();
        let again = app.client().refresh(&tokens).await;
        assert_eq!(again.refresh, meant.refresh, "round {round}");
        tokens = again;
    }
    let shown = app.daemon.auth.show_session(&tokens.session).await.expect("the row is there");
    assert_eq!(shown.generation, i64::try_from(rounds).unwrap());
}
