//! Redis that is halted, killed, emptied, wrong or not there: requests are answered in time, and no budget grows.

use super::{TEN, assert_serves, is_guess_evaluated, login, redis_state, registered, two, until_redis_is};
use shared::admin::{Empty, daemon::Status};
use std::time::Duration;
use tests::{
    daemon::Daemon,
    options::Options,
    proxy::{Plan, Proxy},
    redis::Redis,
    wait::{timed, until},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Guesses that were evaluated, and the longest that one took.
async fn attack(daemon: &Daemon, guesses: usize) -> (usize, Duration) {
    let (mut evaluated, mut longest) = (0, Duration::ZERO);
    for _ in 0..guesses {
        let (is_evaluated, took) = timed(is_guess_evaluated(&daemon.client(), "ada@example.org")).await;
        evaluated += usize::from(is_evaluated);
        longest = longest.max(took);
    }
    (evaluated, longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halted_redis_costs_a_request_a_tenth_of_a_second_and_the_budget_does_not_grow() {
    let redis = Redis::start().await;
    let long = "[limit.\"login.account\"]\nfirst_delay = \"10m\"\n";
    let daemon = Daemon::start(Options::sqlite().config(&redis.quick()).config(long).config(TEN)).await;
    registered(&daemon, "ada@example.org").await;
    let (before, usual) = attack(&daemon, 3).await;
    redis.pause();
    let (during, longest) = attack(&daemon, 20).await;
    assert!(longest <= usual + Duration::from_millis(150), "{longest:?}, before {usual:?}");
    until_redis_is(&daemon, "down").await;
    let status = daemon.admin().call::<Status>(&Empty {}).await;
    assert!(status.ready && status.degraded.iter().any(|part| part.part == "redis"), "{status:?}");
    redis.resume();
    let ((), took) = timed(until_redis_is(&daemon, "up")).await;
    assert!(took <= Duration::from_secs(5), "{took:?}");
    let (after, _) = attack(&daemon, 5).await;
    assert!(before + during + after <= 5, "{before} + {during} + {after}");
    // Until the whole budget of the address is used up as well.
    assert_eq!(daemon.client().post("/api/auth/login", &login("eve@example.org")).send().await.status, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_of_a_login_to_a_slow_redis_cost_together_what_two_of_them_may() {
    let redis = Redis::start().await;
    let slow = Proxy::in_front_of(redis.url().trim_start_matches("redis://").parse().unwrap()).await;
    let place = format!("[redis]\nurl = \"redis://{}\"\ntimeout = \"500ms\"\n", slow.address());
    let net = "[limit.\"login.net\"]\nrate = \"100/h\"\nburst = 100\n";
    let daemon = Daemon::start(Options::sqlite().config(&place).config(TEN).config(net)).await;
    registered(&daemon, "ada@example.org").await;
    until_redis_is(&daemon, "up").await;
    let (_, usual) = timed(daemon.client().login("ada@example.org")).await;
    slow.set(Plan { reply_delay: Duration::from_millis(400), ..Plan::default() });
    // Four calls of 400 ms, had each of them its own time. A machine that is kept busy by others adds to it now and
    // then, not each time.
    let most = usual + Duration::from_millis(1_350);
    let mut logins = Vec::new();
    while logins.iter().all(|took| *took > most) {
        assert!(logins.len() < 3, "{logins:?}, before {usual:?}");
        logins.push(timed(daemon.client().login("ada@example.org")).await.1);
    }
    assert_eq!(redis_state(&daemon).await, "up", "slow within its time-out is not away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_locked_stays_locked_when_redis_comes_back_empty() {
    let mut redis = Redis::start().await;
    let long = "[limit.\"login.account\"]\nfirst_delay = \"10m\"\n";
    let (first, second) = two(&[&redis.patient(), long]).await;
    registered(&first, "ada@example.org").await;
    registered(&first, "eve@example.org").await;
    attack(&first, 6).await;
    assert_eq!(attack(&second, 1).await.0, 0);
    redis.kill();
    assert_eq!(attack(&first, 2).await.0, 0);
    assert_serves(&first, "eve@example.org").await;
    until_redis_is(&first, "down").await;
    tokio::task::block_in_place(|| redis.start_again());
    for daemon in [&second, &first] {
        until_redis_is(daemon, "up").await;
        assert_eq!(attack(daemon, 2).await.0, 0);
        assert_serves(daemon, "eve@example.org").await;
    }
    first.until_logged("has lost its data").await;
    // Nobody else has counted it: what one instance knows, both hold against the guesser.
    redis.flush().await;
    assert_eq!(attack(&second, 2).await.0, 0);
    assert_eq!(attack(&first, 2).await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_again_and_again_gives_no_further_guesses() {
    let redis = Redis::start().await;
    let long = "[limit.\"login.account\"]\nfirst_delay = \"10m\"\n";
    let daemon = Daemon::start(Options::sqlite().config(&redis.patient()).config(long)).await;
    until_redis_is(&daemon, "up").await;
    registered(&daemon, "ada@example.org").await;
    let mut evaluated = 0;
    for _ in 0..12 {
        evaluated += attack(&daemon, 2).await.0;
        redis.flush().await;
    }
    assert_eq!(evaluated, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_while_redis_was_away_count_on_every_instance_when_it_is_back() {
    let redis = Redis::start().await;
    let long = "[limit.\"login.account\"]\nfirst_delay = \"10m\"\n";
    let (first, second) = two(&[&redis.patient(), long]).await;
    registered(&first, "ada@example.org").await;
    registered(&first, "eve@example.org").await;
    let before = attack(&first, 2).await.0;
    let held = first.ctl().run(&["breaker", "open", "redis", "--yes"]).await;
    assert_eq!(held.code, Some(0), "{held:?}");
    // Its share: three in a row, once it has heard of the other.
    let alone = attack(&first, 6).await.0;
    assert!((1..=3).contains(&alone), "{alone}");
    let number = std::cell::Cell::new(0);
    until(Duration::from_secs(15), "an instance alone evaluates its share of five", || async {
        number.set(number.get() + 1);
        let name = format!("nobody{}@example.org", number.get());
        let mut evaluated = 0;
        for _ in 0..5 {
            evaluated += usize::from(is_guess_evaluated(&first.client(), &name).await);
        }
        (evaluated == 3).then_some(())
    })
    .await;
    let closed = first.ctl().run(&["breaker", "close", "redis"]).await;
    assert_eq!(closed.code, Some(0), "{closed:?}");
    until_redis_is(&first, "up").await;
    let after = attack(&first, 1).await.0 + attack(&second, 3).await.0;
    assert_eq!(before + alone + after, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_instance_alone_remembers_counts_also_where_another_has_begun_anew() {
    let redis = Redis::start().await;
    let long = "[limit.\"login.account\"]\nfirst_delay = \"10m\"\n";
    let (first, second) = two(&[&redis.patient(), long]).await;
    registered(&first, "ada@example.org").await;
    assert_eq!(attack(&first, 4).await.0, 4);
    redis.flush().await;
    // The second has never heard of the four: what Redis knows now comes from it alone.
    assert_eq!(attack(&second, 1).await.0, 1);
    until_redis_is(&second, "up").await;
    assert_eq!(attack(&second, 1).await.0, 1);
    let mut evaluated = attack(&first, 1).await.0;
    until_redis_is(&first, "up").await;
    evaluated += attack(&first, 4).await.0;
    assert_eq!(evaluated, 1, "four are known, and the fifth is the last");
    assert_eq!(attack(&second, 2).await.0, 0);
}

/// A server that answers everything with `text`.
pub(crate) async fn answering(text: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4_096];
                while let Ok(1..) = stream.read(&mut bytes).await {
                    if stream.write_all(text).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("[redis]\nurl = \"redis://{address}\"\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_no_redis_is_counted_without() {
    let endless: &[u8] = b"$536870912\r\nxxxxxxxxxxxxxxxxxxxxxxxxx";
    for text in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"+OK\r\n", b":0\r\n", b"*-1\r\n", b"\xff\xfe\0", endless] {
        let daemon = Daemon::start(Options::sqlite().config(&answering(text).await)).await;
        registered(&daemon, "ada@example.org").await;
        assert_serves(&daemon, "ada@example.org").await;
        assert_eq!(attack(&daemon, 7).await.0, 5);
        assert_eq!(redis_state(&daemon).await, "down", "{}", String::from_utf8_lossy(text));
        assert_eq!(daemon.client().ready().await.json()["parts"]["redis"]["state"], "degraded");
    }
    let tls = answering(b"+OK\r\n").await.replace("redis://", "rediss://");
    let daemon = Daemon::start(Options::sqlite().config(&tls)).await;
    registered(&daemon, "ada@example.org").await;
    assert_serves(&daemon, "ada@example.org").await;
}

#[tokio::test]
async fn a_url_that_this_version_cannot_use_is_refused_with_78_and_without_its_password() {
    for (url, named) in [
        ("redis-sentinel://:s3cr3t@a,b/main", "Redis Sentinel is not supported"),
        ("redis+cluster://:s3cr3t@a", "Redis Cluster is not supported"),
        ("mysql://:s3cr3t@a", "another scheme is not supported"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::sqlite().config(&format!("[redis]\nurl = \"{url}\"\n"));
        let (mut running, log) = Daemon::launch(&options, dir.path(), None);
        assert_eq!(running.wait(Duration::from_secs(60)).code(), Some(78), "{}", log.text());
        let said = || async { Some(log.text()).filter(|text| text.contains(named)) };
        let text = until(Duration::from_secs(5), named, said).await;
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_never_there_is_found_when_it_comes() {
    let mut redis = Redis::start().await;
    redis.kill();
    let daemon = Daemon::start(Options::sqlite().config(&redis.quick())).await;
    registered(&daemon, "ada@example.org").await;
    assert_serves(&daemon, "ada@example.org").await;
    assert_eq!(redis_state(&daemon).await, "down");
    tokio::task::block_in_place(|| redis.start_again());
    until_redis_is(&daemon, "up").await;
    assert_serves(&daemon, "ada@example.org").await;
    until(Duration::from_secs(5), "nothing is degraded", || async {
        daemon.admin().call::<Status>(&Empty {}).await.degraded.is_empty().then_some(())
    })
    .await;
}
