//! `authctl doctor`: what is wrong is found on a running daemon, with a fix, and ends with 14.

use serde_json::Value;
use std::{os::unix::fs::PermissionsExt, sync::Arc};
use tests::{ctl::Ran, daemon::Daemon, options::Options};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Mutex,
};

/// The check of this name.
fn check(ran: &Ran, name: &str) -> Value {
    let checks = ran.json()["data"].as_array().cloned().unwrap_or_else(|| panic!("{ran:?}"));
    checks.into_iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name} in {ran:?}"))
}

async fn examined(daemon: &Daemon) -> Ran {
    daemon.ctl().run(&["doctor", "-o", "json"]).await
}

fn chmod(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a file of the daemon");
}

#[tokio::test]
async fn a_daemon_without_a_fault_passes_and_each_fault_of_its_files_is_named_with_a_fix() {
    // Where nobody answers: at the default address somebody else may.
    let daemon = Daemon::start(Options::sqlite().config("[server]\npublic_url = \"http://127.0.0.1:1\"")).await;
    let well = examined(&daemon).await;
    assert_eq!(well.code, Some(0), "{well:?}");
    for name in ["admin socket", "read socket", "uid map", "database", "memory", "open files", "key-encryption key"] {
        assert_eq!(check(&well, name)["result"], "ok", "{name}: {well:?}");
    }
    let (socket, kek) = (daemon.data_dir().join("read.sock"), daemon.data_dir().join("kek"));
    for (file, name, wrong, right) in
        [(&socket, "read socket", 0o666, 0o660), (&kek, "key-encryption key", 0o440, 0o400)]
    {
        chmod(file, wrong);
        let unwell = examined(&daemon).await;
        assert_eq!(unwell.code, Some(14), "{unwell:?}");
        let found = check(&unwell, name);
        assert_eq!(found["result"], "bad", "{found}");
        assert!(found["fix"].as_str().is_some_and(|fix| fix.contains("chmod")), "{found}");
        chmod(file, right);
    }
    std::fs::remove_file(&socket).expect("the socket");
    assert_eq!(check(&examined(&daemon).await, "read socket")["result"], "bad");
    let text = daemon.ctl().run(&["doctor"]).await;
    assert!(text.stdout.contains("\n  fix: ") && text.stderr.contains("hint: "), "{text:?}");
}

#[tokio::test]
async fn a_proxy_that_everybody_is_and_a_database_that_forgets_are_found() {
    let open = "[server]\ntrusted_proxies = [\"64.0.0.0/2\"]";
    let daemon = Daemon::start(Options::postgres().await.config(open)).await;
    let unwell = examined(&daemon).await;
    assert_eq!(unwell.code, Some(14), "{unwell:?}");
    assert_eq!(check(&unwell, "proxies")["result"], "bad");
    // What PostgreSQL says of itself, whatever these tests' server is set to.
    let database = check(&unwell, "database");
    let forgets = database["finding"].as_str().is_some_and(|found| found.contains("is off"));
    assert_eq!(database["result"] == "bad", forgets, "{database}");
}

#[tokio::test]
async fn a_daemon_that_is_away_is_said_with_what_can_be_seen_without_it() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    daemon.stop();
    let ran = examined(&daemon).await;
    assert_eq!(ran.code, Some(69), "{ran:?}");
    assert_eq!(check(&ran, "daemon")["result"], "bad");
    assert!(check(&ran, "other authd")["finding"].is_string());
}

#[tokio::test]
async fn the_key_set_is_fetched_through_the_public_address_and_compared() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let body = Arc::new(Mutex::new(String::from("{\"keys\":[{\"kid\":\"key_of_somebody_else\"}]}")));
    let served = body.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4_096];
            let _ = stream.read(&mut head).await;
            let body = served.lock().await.clone();
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let daemon = Daemon::start(Options::sqlite().config(&format!("[server]\npublic_url = \"{url}\""))).await;
    let others = examined(&daemon).await;
    assert_eq!((others.code, &check(&others, "key set")["result"]), (Some(14), &"bad".into()), "{others:?}");
    *body.lock().await = daemon.client().jwks().await.json().to_string();
    let own = examined(&daemon).await;
    assert_eq!((own.code, &check(&own, "key set")["result"]), (Some(0), &"ok".into()), "{own:?}");
    *body.lock().await = "<html>".to_owned();
    assert_eq!(check(&examined(&daemon).await, "key set")["result"], "bad");
}
