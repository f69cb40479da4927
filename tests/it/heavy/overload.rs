//! Storms of guesses and of connections that go nowhere: whoever verifies does not notice, and memory stays bounded.

use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tests::{
    cgroup::MemoryGroup,
    client::{Client, PASSWORD, Tokens},
    daemon::Daemon,
    options::{LogTo, Options},
    process::{crowding, resident_kib},
    raw::Raw,
    scale,
    wait::together,
};
use tokio::task::JoinSet;

/// Hashing as in production, and limits that count prefixes behind a proxy.
const CONFIG: &str = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\nmax_connections_per_network = 4096\n
[password]\nmemory_kib = 19456\niterations = 2\n
[limit.\"login.ip\"]\nrate = \"30/min\"\nburst = 20\n
[limit.\"login.net\"]\nrate = \"300/min\"\nburst = 150";
const SECONDS: usize = 30;
const PREFIXES: usize = 500;
const SILENT: usize = 2_000;
/// Guesses a second.
const GUESSES: u32 = 500;
const P99: Duration = Duration::from_millis(200);
const MEMORY_KIB: u64 = 512 * 1024;

/// Times of calls that must not notice.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn p99(&mut self) -> Duration {
        self.0.sort_unstable();
        self.0.get(self.0.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// Verifies and fetches the key set, one call after the other, until told to stop.
async fn observe(client: Client, tokens: Tokens, is_over: Arc<AtomicBool>) -> (Times, Times) {
    let (mut verify, mut keys) = (Times::default(), Times::default());
    while !is_over.load(Ordering::Relaxed) {
        let started = Instant::now();
        client.verify(&tokens.access).await.assert_status(200);
        verify.0.push(started.elapsed());
        let started = Instant::now();
        client.jwks().await.assert_status(200);
        keys.0.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (verify, keys)
}

/// Wrong passwords at a steady rate from many prefixes; how many were answered how.
async fn guess(client: Client, lasting: Duration) -> [usize; 3] {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / GUESSES);
    let (end, mut calls, mut number) = (Instant::now() + lasting, JoinSet::new(), 0);
    while Instant::now() < end {
        pace.tick().await;
        number += 1;
        let body = json!({ "email": format!("user{}@example.org", number % 97), "password": "not-the-velvet-one-55" });
        let from = format!("2001:db8:{:x}:{:x}::1", number % PREFIXES, number % 7);
        let call = client.post("/api/auth/login", &body).header("x-forwarded-for", from);
        calls.spawn(async move { call.try_send().await.map(|answer| answer.status) });
    }
    let statuses = calls.join_all().await;
    let answered = statuses.into_iter().map(|status| status.expect("every guess is answered")).collect::<Vec<_>>();
    let of = |wanted: u16| answered.iter().filter(|status| **status == wanted).count();
    assert_eq!(of(401) + of(429) + of(503), answered.len(), "{answered:?}");
    [of(401), of(429), of(503)]
}

/// Connections that are silent, drip a head, or drip a body; all are closed in time.
async fn hang(daemon: &Daemon) -> Duration {
    let address = daemon.address();
    let longest = Duration::from_secs(20);
    let heard = together(SILENT, move |number| async move {
        let mut raw = Raw::connect(address).await;
        let head =
            "POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n";
        let drips = match number % 4 {
            0 | 1 => None,
            2 => Some("GET /health HTTP/1.1\r\nx-slow: "),
            _ => Some(head),
        };
        if let Some(start) = drips {
            raw.send(start).await;
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                raw.send("x").await;
            }
        }
        raw.hear(longest).await
    })
    .await;
    assert!(heard.iter().all(|heard| heard.closed), "a connection is still open");
    heard.into_iter().map(|heard| heard.after).max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_does_not_notice_a_storm_of_guesses_and_of_connections_that_go_nowhere() {
    let daemon = Daemon::start(Options::sqlite().config(CONFIG).log_to(LogTo::File)).await;
    let client = daemon.client();
    let tokens = client.register("ada@example.org").await;
    let is_over = Arc::new(AtomicBool::new(false));
    let observer = tokio::spawn(observe(client, tokens, is_over.clone()));
    let lasting = Duration::from_secs(u64::try_from(scale::of(SECONDS).max(4)).expect("small"));
    let guesses = tokio::spawn(guess(client, lasting));
    let longest = hang(&daemon).await;
    let answered = guesses.await.expect("no guess panicked");
    let rss_kib = resident_kib(daemon.pid());
    is_over.store(true, Ordering::Relaxed);
    let (mut verify, mut keys) = observer.await.expect("verification did not fail");
    let (verify_p99, keys_p99) = (verify.p99(), keys.p99());
    println!(
        "{lasting:?} of {GUESSES} guesses/s from {PREFIXES} prefixes, {SILENT} slow connections: verify p99 {verify_p99:?} of {}, \
         key set p99 {keys_p99:?}, resident {} MiB, longest slow connection {longest:?}, guesses 401/429/503: {answered:?}",
        verify.0.len(),
        rss_kib / 1024,
    );
    let p99 = P99.mul_f64(crowding());
    assert!(verify_p99 <= p99 && keys_p99 <= p99, "verify {verify_p99:?}, key set {keys_p99:?}, allowed {p99:?}");
    assert!(rss_kib <= MEMORY_KIB, "{rss_kib} KiB");
    assert!(longest <= Duration::from_secs(16), "{longest:?}");
    assert!(answered[1] + answered[2] > answered[0], "nothing was shed: {answered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarter_of_a_gibibyte_is_enough_for_a_storm_of_guesses() {
    let daemon = Daemon::start(Options::sqlite().config(CONFIG).log_to(LogTo::File)).await;
    let group = MemoryGroup::of(daemon.pid(), 256 << 20);
    let client = daemon.client();
    let tokens = client.register("ada@example.org").await;
    let lasting = Duration::from_secs(u64::try_from(scale::of(SECONDS).max(3)).expect("small"));
    let answered = guess(client, lasting).await;
    println!("guesses 401/429/503: {answered:?}, at most {} MiB", group.peak() >> 20);
    assert_eq!(group.kills(), 0, "the kernel ended a process for its memory");
    client.verify(&tokens.access).await.assert_status(200);
    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    client.post("/api/auth/login", &body).header("x-forwarded-for", "192.0.2.1").send().await.assert_status(200);
}
