//! The wire: slow, malformed, oversized and misdirected requests, and the shape of every refusal.

use serde_json::json;
use shared::error::ErrorCode;
use std::time::{Duration, Instant};
use tests::{
    client::PASSWORD,
    daemon::Daemon,
    options::Options,
    raw::{Raw, shout},
    wait::{timed, together},
};

const SHORT: &str = "[server]\nheader_timeout = \"1s\"";

/// Every public route with a method it has.
const ROUTES: &[(&str, &str)] = &[
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/logout"),
    ("POST", "/api/auth/password/reset"),
    ("GET", "/api/auth/sessions"),
    ("DELETE", "/api/auth/sessions/ses_01jcq4z5d0e0a8r9w9s8h7k6m5"),
    ("GET", "/api/user/profile"),
    ("PATCH", "/api/user/password"),
    ("DELETE", "/api/user"),
    ("GET", "/api/auth/verify"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/health"),
    ("GET", "/health/ready"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_are_closed_and_keep_nobody_out() {
    let daemon = Daemon::start(Options::sqlite().config(SHORT)).await;
    let address = daemon.address();
    let silent =
        tokio::spawn(together(
            500,
            move |_| async move { Raw::connect(address).await.hear(Duration::from_secs(8)).await },
        ));
    for _ in 0..20 {
        let (answer, took) = timed(daemon.client().health()).await;
        answer.assert_status(200);
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
    for heard in silent.await.unwrap() {
        assert!(heard.closed, "still open after {:?}", heard.after);
        assert!(heard.after < Duration::from_secs(4), "{:?}", heard.after);
    }
}

#[tokio::test]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let daemon = Daemon::start(Options::sqlite().config(SHORT)).await;
    let mut raw = Raw::connect(daemon.address()).await;
    let start = Instant::now();
    for byte in b"GET /health HTTP/1.1\r\nhost: a\r\nx-slow: 1234567890\r\n" {
        if !raw.send([*byte]).await || start.elapsed() > Duration::from_secs(6) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let heard = raw.hear(Duration::from_secs(1)).await;
    assert!(heard.closed && heard.after < Duration::from_secs(5), "{heard:?}");
    assert!(matches!(heard.status(), None | Some(408)), "{}", heard.text());
}

#[tokio::test]
async fn a_body_that_trickles_in_is_not_waited_for() {
    let daemon = Daemon::start(Options::sqlite().config(SHORT)).await;
    let mut raw = Raw::connect(daemon.address()).await;
    let head =
        "POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    raw.send(head).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) && raw.send(" ").await {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let heard = raw.hear(Duration::from_millis(1)).await;
        if heard.closed || heard.status().is_some() {
            assert!(matches!(heard.status(), None | Some(408)), "{}", heard.text());
            return;
        }
    }
    let heard = raw.hear(Duration::from_secs(1)).await;
    assert!(heard.closed, "still waiting after {:?}", heard.after);
}

#[tokio::test]
async fn an_idle_connection_lives_for_the_keepalive_time_and_not_longer() {
    let config = "[server]\nheader_timeout = \"500ms\"\nkeepalive_timeout = \"2s\"";
    let daemon = Daemon::start(Options::sqlite().config(config)).await;
    let mut raw = Raw::connect(daemon.address()).await;
    let request = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
    raw.send(request).await;
    let first = raw.hear(Duration::from_millis(1_200)).await;
    assert_eq!((first.status(), first.closed), (Some(200), false), "{}", first.text());
    assert!(raw.send(request).await);
    let second = raw.hear(Duration::from_secs(6)).await;
    assert_eq!((second.status(), second.closed), (Some(200), true), "{}", second.text());
    assert!(second.after > Duration::from_millis(2_800), "{:?}", second.after);
}

/// Requests about whose end two parsers could disagree; each is followed by a smuggled one.
#[tokio::test]
async fn ambiguous_requests_are_refused_and_their_connection_closed() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let with = |headers: &str, body: &str| {
        format!("POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{headers}\r\n\r\n{body}")
    };
    let chunked = "2\r\n{}\r\n0\r\n\r\n";
    let requests = [
        ("CL and TE", with("content-length: 2\r\ntransfer-encoding: chunked", chunked)),
        ("TE and CL", with("transfer-encoding: chunked\r\ncontent-length: 2", chunked)),
        ("two different CL", with("content-length: 2\r\ncontent-length: 3", "{}")),
        ("two equal CL", with("content-length: 2\r\ncontent-length: 2", "{}")),
        ("CL list", with("content-length: 2, 2", "{}")),
        ("CL +2", with("content-length: +2", "{}")),
        ("CL 0x2", with("content-length: 0x2", "{}")),
        ("CL -2", with("content-length: -2", "{}")),
        ("CL 2 2", with("content-length: 2 2", "{}")),
        ("CL empty", with("content-length:", "{}")),
        ("CL beyond 2^64", with("content-length: 18446744073709551618", "{}")),
        ("TE xchunked", with("transfer-encoding: xchunked", chunked)),
        ("TE chunked, identity", with("transfer-encoding: chunked, identity", chunked)),
        ("TE identity", with("transfer-encoding: identity", "{}")),
        ("TE twice", with("transfer-encoding: chunked\r\ntransfer-encoding: chunked", chunked)),
        ("TE with tab", with("transfer-encoding:\tchunked, \tgzip", chunked)),
        ("folded header", with("x-a: b\r\n c: d\r\ncontent-length: 2", "{}")),
        ("blank before colon", with("content-length : 2", "{}")),
        ("blank before name", with(" content-length: 2", "{}")),
        ("bare LF", with("content-length: 2", "{}").replace("\r\n", "\n")),
        ("one bare LF", with("x-a: b\ncontent-length: 2", "{}")),
        ("bare CR", with("x-a: b\rx: c\r\ncontent-length: 2", "{}")),
        ("NUL in a value", with("x-a: \u{0}\r\ncontent-length: 2", "{}")),
        ("no host", "GET /health HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", "GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned()),
        ("TE in HTTP/1.0", with("transfer-encoding: chunked", chunked).replace("HTTP/1.1", "HTTP/1.0")),
        ("bad chunk size", with("transfer-encoding: chunked", "0x2\r\n{}\r\n0\r\n\r\n")),
        ("no version", "GET /health\r\n\r\n".to_owned()),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("HTTP/9.9", "GET /health HTTP/9.9\r\nhost: a\r\n\r\n".to_owned()),
    ];
    for (what, request) in requests {
        let smuggled = format!("{request}GET /health HTTP/1.1\r\nhost: a\r\n\r\n");
        let heard = shout(daemon.address(), &smuggled, Duration::from_secs(5)).await;
        assert!(heard.closed, "{what}: the connection stays open\n{}", heard.text());
        assert!(heard.answers() <= 1, "{what}: two answers\n{}", heard.text());
        // CL+TE alone may be read as TE wins (RFC 9112 §6.3); the answer is then that of the route.
        assert!(matches!(heard.status(), Some(400 | 405 | 501 | 505) | None), "{what}: {}", heard.text());
        assert!(!heard.text().contains("\"status\":\"ok\""), "{what}: the smuggled request was served");
    }
    let fine =
        shout(daemon.address(), "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", Duration::from_secs(5));
    assert_eq!(fine.await.status(), Some(200));
}

#[tokio::test]
async fn too_many_headers_too_large_ones_and_too_long_targets_are_refused() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let many: String = (0..101).map(|number| format!("x-{number}: a\r\n")).collect();
    let large = format!("x-large: {}\r\n", "a".repeat(64 << 10));
    for (status, request) in [
        (431, format!("GET /health HTTP/1.1\r\nhost: a\r\n{many}\r\n")),
        (431, format!("GET /health HTTP/1.1\r\nhost: a\r\n{large}\r\n")),
        (414, format!("GET /health?{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(16 << 10))),
    ] {
        let heard = shout(daemon.address(), &request, Duration::from_secs(5)).await;
        assert_eq!((heard.status(), heard.closed), (Some(status), true), "{}", heard.text());
    }
}

#[tokio::test]
async fn a_body_beyond_sixteen_kibibytes_is_refused_before_it_is_read() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let credential_routes = ROUTES.iter().filter(|(method, _)| !matches!(*method, "GET"));
    for (method, path) in credential_routes.filter(|(_, path)| !path.contains("ses_")) {
        let head = "content-type: application/json\r\ncontent-length: 16385";
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x\r\n{head}\r\n\r\n{{");
        let heard = shout(daemon.address(), request, Duration::from_secs(2)).await;
        assert!(matches!(heard.status(), Some(413 | 401)), "{method} {path}: {}", heard.text());
        if !path.contains("user") {
            assert_eq!(heard.status(), Some(413), "{method} {path}: {}", heard.text());
        }
    }
    let pad = " ".repeat((16 << 10) - 2);
    let fits = daemon.client().call("POST", "/api/auth/refresh").body("application/json", format!("{{{pad}}}"));
    fits.send().await.assert_refused(ErrorCode::Malformed);
    let chunked = "POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let heard = shout(daemon.address(), format!("{chunked}{}", chunk.repeat(5)), Duration::from_secs(2)).await;
    assert_eq!(heard.status(), Some(413), "{}", heard.text());
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let daemon = Daemon::start(Options::sqlite()).await;
    for (right, path) in ROUTES {
        for wrong in ["PUT", "PROPFIND", "TRACE"] {
            let answer = daemon.client().call(wrong, path).send().await;
            // TRACE is refused below the router, with an empty body.
            assert_eq!(answer.status, 405, "{wrong} {path}: {answer}");
            if wrong == "PUT" {
                answer.assert_refused(ErrorCode::MethodNotAllowed);
            }
            let allow = answer.header("allow").unwrap_or_default();
            assert!(allow.split(',').any(|method| method.trim() == *right), "{wrong} {path}: {answer}");
        }
    }
    let connect = shout(daemon.address(), "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", Duration::from_secs(2)).await;
    assert_eq!(connect.status(), Some(405), "{}", connect.text());
}

#[tokio::test]
async fn a_method_override_is_ignored() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let tokens = daemon.client().register("ada@example.org").await;
    for header in ["x-http-method-override", "x-method-override", "x-http-method"] {
        let call = daemon.client().get("/api/auth/sessions?_method=DELETE").bearer(&tokens.access);
        call.header(header, "DELETE").send().await.assert_status(200);
    }
    daemon.client().verify(&tokens.access).await.assert_status(200);
}

#[tokio::test]
async fn only_json_in_utf_8_is_read() {
    let daemon = Daemon::start(Options::sqlite()).await;
    daemon.client().register("ada@example.org").await;
    let body = json!({ "email": "ada@example.org", "password": PASSWORD }).to_string();
    let send = |kind: &str| daemon.client().call("POST", "/api/auth/login").body(kind, body.clone());
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"] {
        send(kind).send().await.assert_status(200);
    }
    let wrong = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "",
        "application/jsonp",
    ];
    for kind in wrong {
        send(kind).send().await.assert_refused(ErrorCode::UnsupportedMediaType);
    }
    let untyped = format!("POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let heard = shout(daemon.address(), untyped, Duration::from_secs(1)).await;
    assert_eq!(heard.status(), Some(415), "{}", heard.text());
    let utf16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let answer = daemon.client().call("POST", "/api/auth/login").body("application/json", utf16).send().await;
    answer.assert_refused(ErrorCode::Malformed);
}

#[tokio::test]
async fn a_refusal_is_a_problem_document_that_gives_nothing_away() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let client = daemon.client();
    let broken = [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"email\":1}",
        "{\"email\":\"a\",}",
        "{} {}",
        "\u{feff}{}",
        "{\"unknown\":1}",
    ];
    for body in broken {
        for (method, path) in ROUTES.iter().filter(|(method, path)| *method == "POST" && !path.ends_with("logout")) {
            let answer = client.call(method, path).body("application/json", body).send().await;
            answer.assert_refused(ErrorCode::Malformed);
            let text = String::from_utf8_lossy(&answer.body).to_lowercase();
            for leak in ["panicked", "sqlx", "sqlite", "select ", "authd/src", ".rs:", "stack", "serde", "at line"] {
                assert!(!text.contains(leak) || leak == "at line", "{answer}");
            }
        }
    }
    client.get("/nowhere").send().await.assert_refused(ErrorCode::NotFound);
    client.get("/api/auth/../auth/verify").send().await.assert_refused(ErrorCode::NotFound);
    client.get("//api/auth/verify").send().await.assert_refused(ErrorCode::NotFound);
}

#[tokio::test]
async fn a_request_id_is_the_daemons_own_unless_a_trusted_proxy_gives_one() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let strange = daemon.client().get("/health").header("x-request-id", "chosen-by-a-stranger").send().await;
    assert_ne!(strange.header("x-request-id"), Some("chosen-by-a-stranger"));
    let config = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]";
    let daemon = Daemon::start(Options::sqlite().config(config)).await;
    let known = daemon.client().get("/health").header("x-request-id", "chosen-by-the-proxy").send().await;
    assert_eq!(known.header("x-request-id"), Some("chosen-by-the-proxy"));
}

#[tokio::test]
async fn one_network_cannot_take_every_connection() {
    let config = "[server]\nmax_connections_per_network = 8";
    let daemon = Daemon::start(Options::sqlite().config(config)).await;
    let request = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..8 {
        // A connection that has asked for something holds its place; a silent one makes room.
        let mut raw = Raw::connect(daemon.address()).await;
        raw.send(request).await;
        assert_eq!(raw.hear(Duration::from_millis(200)).await.status(), Some(200));
        held.push(raw);
    }
    let mut ninth = Raw::connect(daemon.address()).await;
    ninth.send(request).await;
    let heard = ninth.hear(Duration::from_secs(2)).await;
    assert!(heard.closed && heard.status() != Some(200), "{}", heard.text());
    drop(held);
    drop(ninth);
    tests::wait::until(Duration::from_secs(3), "the places are free again", || async {
        daemon.client().get("/health").try_send().await.ok().filter(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_before_a_stop_is_finished_and_nothing_new_is_taken() {
    // Hashing slowly enough that a hundred logins are still under way when the stop comes.
    let config = "[password]\nmemory_kib = 4096\niterations = 2\nqueue = 200\nwait = \"10s\"";
    let mut daemon = Daemon::start(Options::sqlite().config(config)).await;
    let client = daemon.client();
    for number in 0..100 {
        client.register(&format!("user{number}@example.org")).await;
    }
    let logins = tokio::spawn(together(100, move |number| async move {
        client.try_login(&format!("user{number}@example.org"), PASSWORD).await
    }));
    tests::wait::until(Duration::from_secs(5), "logins are under way", || async {
        let status = daemon.admin().call::<shared::admin::daemon::Status>(&shared::admin::Empty {}).await;
        (status.hashing.queued > 50).then_some(())
    })
    .await;
    let start = Instant::now();
    daemon.terminate();
    let answers = logins.await.unwrap();
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 503)), "{answers:?}");
    assert!(done >= 90, "only {done} were finished");
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log().text());
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    assert!(client.get("/health").try_send().await.is_err());
}
