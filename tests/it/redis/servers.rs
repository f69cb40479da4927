//! Kinds of Redis: behind TLS, with users and rights, short of memory, a replica that lags behind.

use super::{assert_serves, is_guess_evaluated, redis_state, registered, until_redis_is};
use shared::admin::limit::{Reset, ResetRequest};
use std::{path::Path, process::Command};
use tests::{daemon::Daemon, options::Options, redis::Redis};

/// No second chance while the test lasts.
const LONG: &str = "[limit.\"login.account\"]\nfirst_delay = \"10m\"\n";

fn at(url: &str) -> String {
    format!("[redis]\nurl = \"{url}\"\ntimeout = \"2s\"\n")
}

async fn guesses(daemon: &Daemon, count: usize) -> usize {
    let mut evaluated = 0;
    for _ in 0..count {
        evaluated += usize::from(is_guess_evaluated(&daemon.client(), "ada@example.org").await);
    }
    evaluated
}

fn openssl(dir: &Path, args: &str) {
    let done = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().expect("openssl starts");
    assert!(done.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An authority, and a certificate of it for 127.0.0.1.
fn certificates(dir: &Path) {
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(dir, &format!("req -x509 {new} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    openssl(dir, &format!("req {new} -keyout key.pem -out request.pem -subj /CN=redis"));
    std::fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    let sign =
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
    openssl(dir, sign);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_shared_through_tls_with_a_server_that_is_trusted_and_with_no_other() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (cert, key, authority) = (file("cert.pem"), file("key.pem"), file("ca.pem"));
    // Its plain port is taken back by the later argument.
    let redis = Redis::start_tls(&[
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let url = format!("rediss://{}", redis.address());
    let trusting = Options::sqlite().config(&at(&url)).config(LONG).env("SSL_CERT_FILE", &authority);
    let daemon = Daemon::start(trusting).await;
    until_redis_is(&daemon, "up").await;
    registered(&daemon, "ada@example.org").await;
    assert_eq!(guesses(&daemon, 7).await, 5);
    assert_eq!(redis_state(&daemon).await, "up");

    let stranger = Daemon::start(Options::sqlite().config(&at(&url)).config(LONG)).await;
    registered(&stranger, "ada@example.org").await;
    assert_serves(&stranger, "ada@example.org").await;
    assert_eq!(guesses(&stranger, 7).await, 5);
    assert_eq!(redis_state(&stranger).await, "down");
    let line = stranger.until_logged("Redis is not used").await;
    assert!(line.to_lowercase().contains("certificate"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_few_rights_of_a_limiter_is_enough_and_one_without_is_told_of() {
    let rights = "+eval +evalsha +script|load +get +set +time +hgetall +hset +hdel +pexpire";
    let user = format!("authd on >s3cr3t-word ~authd:* -@all {rights}");
    let mut arguments = vec!["--user"];
    arguments.extend(user.split(' '));
    arguments.extend(["--user", "nobody", "on", ">s3cr3t-word", "-@all"]);
    let redis = Redis::start_as(None, &arguments).await;
    let url = |who: &str| format!("redis://{who}@{}", redis.address());
    let daemon = Daemon::start(Options::sqlite().config(&at(&url("authd:s3cr3t-word"))).config(LONG)).await;
    until_redis_is(&daemon, "up").await;
    registered(&daemon, "ada@example.org").await;
    assert_eq!(guesses(&daemon, 7).await, 5);
    let key = Some("ada@example.org".to_owned());
    let forget = ResetRequest { policy: "login.account".to_owned(), key, ..Default::default() };
    daemon.admin().call::<Reset>(&forget).await;
    assert_serves(&daemon, "ada@example.org").await;
    assert_eq!(redis_state(&daemon).await, "up", "{}", daemon.log().text());
    for who in ["authd:wr0ng-word", "nobody:s3cr3t-word"] {
        let daemon = Daemon::start(Options::sqlite().config(&at(&url(who))).config(LONG)).await;
        registered(&daemon, "ada@example.org").await;
        assert_serves(&daemon, "ada@example.org").await;
        assert_eq!((guesses(&daemon, 7).await, redis_state(&daemon).await.as_str()), (5, "down"));
        daemon.until_logged("Redis is not used").await;
        assert!(!daemon.log().text().contains("-word"), "{}", daemon.log().text());
    }
}

/// Takes the memory of a server, as another program that uses it too.
async fn crowd(redis: &Redis, name: &str) {
    let fill = "for n = 1, 4000 do redis.pcall('SET', KEYS[1] .. n, string.rep('x', 900)) end return 'OK'";
    let _: Result<String, _> =
        ::redis::cmd("EVAL").arg(fill).arg(1).arg(name).query_async(&mut redis.connect().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_drops_what_it_has_no_room_for_gives_no_further_guesses() {
    let redis = Redis::start_as(None, &["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-random"]).await;
    let daemon = Daemon::start(Options::sqlite().config(&redis.patient()).config(LONG)).await;
    until_redis_is(&daemon, "up").await;
    registered(&daemon, "ada@example.org").await;
    let mut evaluated = 0;
    for round in 0..6 {
        evaluated += guesses(&daemon, 2).await;
        crowd(&redis, &format!("theirs:{round}:")).await;
    }
    assert_eq!(evaluated, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_full_is_counted_without_until_it_has_room() {
    let redis = Redis::start_as(None, &["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]).await;
    let daemon = Daemon::start(Options::sqlite().config(&redis.patient()).config(LONG)).await;
    until_redis_is(&daemon, "up").await;
    registered(&daemon, "ada@example.org").await;
    registered(&daemon, "eve@example.org").await;
    let before = guesses(&daemon, 2).await;
    crowd(&redis, "theirs:").await;
    assert_serves(&daemon, "eve@example.org").await;
    let during = guesses(&daemon, 2).await;
    until_redis_is(&daemon, "down").await;
    redis.flush().await;
    until_redis_is(&daemon, "up").await;
    assert_eq!(before + during + guesses(&daemon, 4).await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_failures_gives_no_further_guesses_when_it_takes_over() {
    let mut primary = Redis::start().await;
    let replica = Redis::start().await;
    let port = primary.address().port().to_string();
    let _: String = replica.ask(&["REPLICAOF", "127.0.0.1", &port]).await;
    let daemon = Daemon::start(Options::sqlite().config(&primary.patient()).config(LONG)).await;
    until_redis_is(&daemon, "up").await;
    registered(&daemon, "ada@example.org").await;
    let before = guesses(&daemon, 2).await;
    let copied = || async {
        let info: String = replica.ask(&["INFO", "replication"]).await;
        let keys: u64 = replica.ask(&["DBSIZE"]).await;
        (info.contains("master_link_status:up") && keys >= 2).then_some(())
    };
    tests::wait::until(std::time::Duration::from_secs(60), "the replica has followed", copied).await;
    let _: u64 = primary.ask(&["WAIT", "1", "2000"]).await;
    let _: String = replica.ask(&["REPLICAOF", "NO", "ONE"]).await;
    let missed = guesses(&daemon, 2).await;
    primary.kill();
    until_redis_is(&daemon, "down").await;
    let _: String = replica.ask(&["CONFIG", "SET", "port", &port]).await;
    until_redis_is(&daemon, "up").await;
    assert_eq!((before, missed, guesses(&daemon, 4).await), (2, 2, 1));
}
