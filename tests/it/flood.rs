//! Floods of connections and of small requests: whoever else asks is served, and nothing is answered twice or out of
//! turn.

use serde_json::json;
use std::time::Duration;
use tests::{
    client::PASSWORD,
    daemon::Daemon,
    options::Options,
    process::crowding,
    raw::{Raw, shout},
    wait::timed,
};

const SHORT: &str = "[server]\nheader_timeout = \"4s\"";

/// The bound on open files that is in force for a process.
fn open_files(pid: i32) -> u32 {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Opens silent connections, more than there may be open files, and is served all the while.
async fn assert_served_among_silent_ones(daemon: &Daemon, count: usize) {
    let client = daemon.client();
    let mut silent = Vec::new();
    for number in 0..count {
        silent.push(Raw::connect(daemon.address()).await);
        if number % 50 != 0 {
            continue;
        }
        let (answer, took) = timed(client.health()).await;
        answer.assert_status(200);
        assert!(took < Duration::from_secs(1).mul_f64(crowding()), "{took:?} with {number} silent connections");
    }
    // What opens files of its own works too.
    client.try_register(&json!({ "email": "eve@example.org", "password": PASSWORD })).await.assert_status(201);
    let status = daemon.ctl().run(&["status"]).await;
    assert_eq!(status.code, Some(0), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_low_bound_on_open_files_is_raised_as_far_as_it_may_be() {
    let daemon = Daemon::start(Options::sqlite().config(SHORT).open_files(256, 8_192)).await;
    assert!(open_files(daemon.pid()) >= 4_096 + 240, "{}", open_files(daemon.pid()));
    assert_served_among_silent_ones(&daemon, 600).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_few_files_may_be_open_silent_connections_give_way_before_the_kernel_refuses_others() {
    let daemon = Daemon::start(Options::sqlite().config(SHORT).open_files(400, 400)).await;
    assert!(daemon.log().text().contains("LimitNOFILE"), "{}", daemon.log().text());
    assert_served_among_silent_ones(&daemon, 600).await;
    assert!(!daemon.log().text().contains("cannot accept a connection"), "{}", daemon.log().text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_sent_without_waiting_are_answered_one_after_the_other() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let mut requests = String::new();
    for number in 0..500 {
        let path = ["/health", "/nowhere", "/.well-known/jwks.json"][number % 3];
        requests += &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    requests += "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let heard = shout(daemon.address(), requests, Duration::from_secs(20)).await;
    assert_eq!((heard.answers(), heard.closed), (501, true));
    let text = heard.text();
    let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    for (number, status) in statuses.iter().enumerate() {
        assert_eq!(*status, if number % 3 == 1 { "404" } else { "200" }, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_with_extensions_and_trailers_are_one_request_and_the_last_of_their_connection() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let smuggled = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
    let chunked = |body: &str| {
        let head = "POST /api/auth/refresh HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
        format!("{head}transfer-encoding: chunked\r\n\r\n{body}{smuggled}")
    };
    let long = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "x: y\r\n".repeat(20_000));
    for (what, body) in [
        ("an extension", "2;a=b\r\n{}\r\n0\r\n\r\n"),
        ("a quoted extension", "2;a=\"\r\"\r\n{}\r\n0\r\n\r\n"),
        ("an extension with a bare LF", "2;\n{}\r\n0\r\n\r\n"),
        ("a bare LF behind the size", "2\n{}\r\n0\r\n\r\n"),
        ("a bare LF behind the chunk", "2\r\n{}\n0\r\n\r\n"),
        ("a trailer", "2\r\n{}\r\n0\r\ncontent-length: 5\r\n\r\n"),
        ("a trailer that is no field", "2\r\n{}\r\n0\r\nGET /health HTTP/1.1\r\n\r\n"),
        ("a size beyond 64 bits", "10000000000000002\r\n{}\r\n0\r\n\r\n"),
        ("a negative size", "-2\r\n{}\r\n0\r\n\r\n"),
        ("a blank before the size", " 2\r\n{}\r\n0\r\n\r\n"),
        ("a very long extension", &long),
        ("very many trailers", &many),
    ] {
        let heard = shout(daemon.address(), chunked(body), Duration::from_secs(8)).await;
        assert!(heard.closed && heard.answers() <= 1, "{what}: {}", heard.text());
        assert!(matches!(heard.status(), Some(400) | None), "{what}: {}", heard.text());
        assert!(!heard.text().contains("\"status\":\"ok\""), "{what}: the smuggled request was served");
    }
    daemon.client().health().await.assert_status(200);
}
