//! The listener against raw sockets: everything a client can do wrong, slowly or too often.

use super::*;
use crate::tasks::{StopCause, Tasks};
use axum::{
    Extension,
    body::Bytes,
    routing::{any, get, post},
};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::Instant,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct Server {
    address: SocketAddr,
    tasks: Tasks,
    release: Arc<Notify>,
    entered: Arc<Notify>,
    requests: Arc<AtomicUsize>,
}

fn limits() -> ListenerLimits {
    let short = Duration::from_millis(150);
    ListenerLimits {
        header_timeout: short,
        keepalive_timeout: short * 3,
        body_timeout: short,
        write_timeout: short,
        drain_timeout: short * 4,
        last_request_timeout: short,
        max_connections: 100,
        max_connections_per_network: 100,
        uncounted: watch::channel(Vec::new()).1,
    }
}

impl Server {
    async fn start(limits: ListenerLimits) -> Self {
        let (release, entered, requests) =
            (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::<AtomicUsize>::default());
        let (wait, tell, count) = (Arc::clone(&release), Arc::clone(&entered), Arc::clone(&requests));
        let hold = move || async move {
            tell.notify_one();
            wait.notified().await;
            "held"
        };
        let app = Router::new()
            .route("/", get(|Extension(Peer(peer)): Extension<Peer>| async move { peer.ip().to_string() }))
            .route("/body", post(|body: Bytes| async move { body.len().to_string() }))
            .route("/deaf", post(|| async { "deaf" }))
            .route("/big", get(|| async { vec![b'x'; 32 << 20] }))
            .route("/hold", any(hold))
            .layer(axum::middleware::from_fn(move |request: axum::extract::Request, next: axum::middleware::Next| {
                count.fetch_add(1, Ordering::SeqCst);
                next.run(request)
            }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, tasks) = (listener.local_addr().unwrap(), Tasks::new());
        tasks.spawn("listener", serve(listener, app, limits, tasks.stop()));
        Self { address, tasks, release, entered, requests }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that is answered to these bytes until the connection ends.
    async fn raw(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(bytes.as_bytes()).await;
        rest(&mut stream).await
    }
}

/// Reads to the end; a reset must not have taken the answer away.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("the connection stays open").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads one answer with a short body.
async fn one(stream: &mut TcpStream, body: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(body) || !answer.contains("\r\n\r\n") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "ended after {answer:?}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    answer
}

fn is(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} "))
        && answer.contains("connection: close")
        && answer.ends_with("\r\n\r\n")
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert!(one(&mut stream, "127.0.0.1").await.starts_with("HTTP/1.1 200 "));
    stream.write_all(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    assert!(one(&mut stream, "\r\n\r\n5").await.starts_with("HTTP/1.1 200 "));
    let pipelined = format!(
        "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc{GET}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(pipelined.as_bytes()).await.unwrap();
    let answers = rest(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_request_that_two_servers_could_read_differently_is_refused_and_the_connection_ends() {
    let server = Server::start(limits()).await;
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: +5",
        "Content-Length:  5",
        "Content-Length: 0x5",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "X: a\r\n folded",
        "Y : space",
    ] {
        let answer = server.raw(&format!("POST /body HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{GET}")).await;
        assert!(is(&answer, 400), "{fields:?}: {answer}");
    }
    for head in ["GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\n\r\n", "nonsense\r\n\r\n"] {
        assert!(is(&server.raw(&format!("{head}{GET}")).await, 400), "{head:?}");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn heads_beyond_the_limits_get_their_own_status() {
    let server = Server::start(limits()).await;
    let fields = "X: 1\r\n".repeat(101);
    assert!(is(&server.raw(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await, 431));
    let long = "x".repeat(64 * 1024);
    assert!(is(&server.raw(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")).await, 431));
    let target = "x".repeat(16 * 1024);
    assert!(is(&server.raw(&format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n")).await, 414));
    for method in ["TRACE /", "CONNECT a:1"] {
        let answer = server.raw(&format!("{method} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(is(&answer, 405) && answer.contains("allow: "), "{answer}");
    }
}

#[tokio::test]
async fn a_bad_head_behind_a_good_one_is_refused_after_the_good_one_was_answered() {
    let server = Server::start(limits()).await;
    let answers = server.raw(&format!("{GET}GET / HTTP/1.1\nHost: a\n\n{GET}")).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK") && answers.contains("HTTP/1.1 400 Bad Request"), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 2, "{answers}");
}

#[tokio::test]
async fn a_chunked_request_is_answered_and_ends_its_connection() {
    let server = Server::start(limits()).await;
    let chunked = "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = server.raw(&format!("{chunked}{GET}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\n3"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn silence_ends_a_connection_without_an_answer_and_half_a_head_with_408() {
    let server = Server::start(limits()).await;
    let started = Instant::now();
    assert_eq!(server.raw("").await, "");
    assert!(is(&server.raw("GET / HT").await, 408));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_head_that_drips_has_one_deadline_in_all() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    let started = Instant::now();
    let mut bytes = GET.bytes().cycle();
    while let Err(_) | Ok(Err(_)) = timeout(Duration::from_millis(20), stream.peek(&mut [0])).await {
        let byte = bytes.next().unwrap_or_default();
        if byte != b'\r' && byte != b'\n' && stream.write_all(&[byte]).await.is_err() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(3), "still open");
    }
    assert!(is(&rest(&mut stream).await, 408));
}

#[tokio::test]
async fn a_keep_alive_connection_may_be_idle_longer_than_a_head_may_take() {
    let server = Server::start(ListenerLimits { keepalive_timeout: Duration::from_millis(700), ..limits() }).await;
    let mut stream = server.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    one(&mut stream, "127.0.0.1").await;
    assert!(
        timeout(Duration::from_millis(300), stream.peek(&mut [0])).await.is_err(),
        "ended with the head's deadline"
    );
    stream.write_all(GET.as_bytes()).await.unwrap();
    one(&mut stream, "127.0.0.1").await;
    let started = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!((500..4_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_head_after_an_idle_time_has_the_heads_deadline() {
    let server = Server::start(ListenerLimits { keepalive_timeout: Duration::from_secs(9), ..limits() }).await;
    let mut stream = server.connect().await;
    stream.write_all(format!("{GET}GET /").as_bytes()).await.unwrap();
    let started = Instant::now();
    let answers = rest(&mut stream).await;
    assert!(answers.contains("HTTP/1.1 200 ") && answers.contains("HTTP/1.1 408 "), "{answers}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_connection() {
    let server = Server::start(limits()).await;
    let started = Instant::now();
    for framing in ["Content-Length: 9\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"] {
        let answer = server.raw(&format!("POST /body HTTP/1.1\r\nHost: a\r\n{framing}")).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_pipelined_request_does_not_lift_the_deadline_of_the_next_ones_body() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(format!("{GET}POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na").as_bytes())
        .await
        .unwrap();
    let started = Instant::now();
    let answers = rest(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_the_connection() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("still open");
    assert!(answer.len() < 32 << 20, "the whole answer came");
}

#[tokio::test]
async fn an_unread_body_does_not_take_the_answer_away() {
    let server = Server::start(limits()).await;
    let body = "x".repeat(200_000);
    let answer = server
        .raw(&format!("POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n{body}"))
        .await;
    assert!(answer.ends_with("deaf"), "{answer}");
}

#[tokio::test]
async fn a_handler_may_take_longer_than_any_deadline_of_the_client() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    server.release.notify_one();
    assert!(one(&mut stream, "held").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn beyond_the_cap_silent_connections_give_way_and_busy_ones_stay() {
    let server =
        Server::start(ListenerLimits { max_connections: 2, header_timeout: Duration::from_secs(5), ..limits() }).await;
    let mut silent = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    let mut second = server.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    second.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    let mut third = server.connect().await;
    assert!(rest(&mut third).await.starts_with("HTTP/1.1 503 "));
    server.release.notify_waiters();
    one(&mut busy, "held").await;
    one(&mut second, "held").await;
}

#[tokio::test]
async fn beyond_the_cap_the_longest_idle_connection_gives_way_and_is_answered_until_then() {
    let server = Server::start(ListenerLimits {
        max_connections: 2,
        header_timeout: Duration::from_secs(5),
        keepalive_timeout: Duration::from_secs(9),
        ..limits()
    })
    .await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    for is_first in [true, false, true] {
        let stream = if is_first { &mut first } else { &mut second };
        stream.write_all(GET.as_bytes()).await.unwrap();
        one(stream, "127.0.0.1").await;
    }
    let mut third = server.connect().await;
    assert_eq!(rest(&mut second).await, "");
    for stream in [&mut first, &mut third] {
        stream.write_all(GET.as_bytes()).await.unwrap();
        one(stream, "127.0.0.1").await;
    }
}

#[tokio::test]
async fn at_stop_what_is_on_its_way_is_answered_as_the_last_and_idle_connections_end() {
    let server = Server::start(ListenerLimits {
        header_timeout: Duration::from_secs(9),
        keepalive_timeout: Duration::from_secs(9),
        drain_timeout: Duration::from_secs(9),
        last_request_timeout: Duration::from_secs(2),
        ..limits()
    })
    .await;
    let (mut fresh, mut kept, mut busy) = (server.connect().await, server.connect().await, server.connect().await);
    let (mut silent, mut idle) = (server.connect().await, server.connect().await);
    for stream in [&mut kept, &mut idle] {
        stream.write_all(GET.as_bytes()).await.unwrap();
        one(stream, "127.0.0.1").await;
    }
    busy.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    server.tasks.ask_to_stop(StopCause::Asked("SIGTERM"));
    while TcpStream::connect(server.address).await.is_ok() {}
    for stream in [&mut fresh, &mut kept] {
        stream.write_all(GET.as_bytes()).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    }
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut idle).await, "");
    server.release.notify_one();
    let answer = rest(&mut busy).await;
    assert!(answer.contains("connection: close") && answer.ends_with("held"), "{answer}");
    drop((fresh, kept, busy, silent, idle));
    assert_eq!(server.tasks.finish(Duration::from_secs(4)).await, Vec::<&str>::new());
}

#[tokio::test]
async fn at_stop_nobody_is_waited_for_longer_than_the_drain() {
    let server = Server::start(ListenerLimits { drain_timeout: Duration::from_millis(100), ..limits() }).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.entered.notified().await;
    server.tasks.ask_to_stop(StopCause::Asked("SIGTERM"));
    assert_eq!(server.tasks.finish(Duration::from_secs(1)).await, Vec::<&str>::new());
    let mut answer = Vec::new();
    let _ = busy.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}
