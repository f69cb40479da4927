//! Starting, stopping, crashing, and what several instances know of each other.

use shared::{
    admin::{audit::Outcome, limit},
    error::ErrorCode,
};
use std::time::{Duration, Instant};
use tests::{
    client::{PASSWORD, Tokens},
    daemon::{Daemon, new_kek},
    options::{Database, Options},
    process::crowded,
    wait::{together, until},
};

/// Starts a daemon that must refuse to start; its exit code and log.
fn refused(options: &Options, kek: bool) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let kek = kek.then(|| new_kek(dir.path()));
    let (mut running, log) = Daemon::launch(options, dir.path(), kek.as_deref());
    let code = running.wait(Duration::from_secs(60)).code();
    // What it said may still be on its way through the pipe.
    let end = Instant::now() + Duration::from_secs(2);
    while log.text().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    (code, log.text())
}

#[tokio::test]
async fn it_starts_on_an_empty_directory_and_says_how_to_reach_it() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let socket = daemon.admin_socket();
    daemon.until_logged(&format!("authctl --socket {}", socket.display())).await;
    for name in ["authd.db", "kek"] {
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(daemon.data_dir().join(name)).unwrap());
        assert_eq!(mode & 0o077, 0, "{name} is for its owner only: {mode:o}");
    }
}

#[tokio::test]
async fn postgres_without_a_key_encryption_key_is_refused_with_the_command_to_run() {
    let (code, log) = refused(&Options::postgres().await, false);
    assert_eq!(code, Some(78), "{log}");
    assert!(log.contains("authd generate-key"), "{log}");
}

#[tokio::test]
async fn what_the_configuration_must_not_say_is_refused() {
    for (config, named) in [
        ("[server]\nmode = \"production\"", "password.memory_kib"),
        ("[server]\nlissten = \"x\"", "listen"),
        ("[feature.passkeys]\nenabled = true", "passkeys"),
        ("[token]\naccess_ttl = \"soon\"", "token.access_ttl"),
    ] {
        let (code, log) = refused(&Options::sqlite().config(config), false);
        assert_eq!(code, Some(78), "{config}: {log}");
        assert!(log.contains(named), "{config}: {log}");
    }
}

#[tokio::test]
async fn a_database_that_never_comes_ends_the_start() {
    let options = Options::on(Database::Postgres("postgres://authd@127.0.0.1:1/none".into()));
    let (code, log) = refused(&options.config("[database]\nstart_timeout = \"1s\""), true);
    assert_eq!(code, Some(69), "{log}");
}

#[tokio::test]
async fn another_key_encryption_key_than_the_databases_is_refused() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    daemon.client().register("ada@example.org").await;
    daemon.stop();
    let kek = daemon.data_dir().join("kek");
    std::fs::remove_file(&kek).unwrap();
    let (mut missing, log) = Daemon::launch(&Options::sqlite(), daemon.data_dir(), None);
    assert_eq!(missing.wait(Duration::from_secs(60)).code(), Some(78), "{}", log.text());
    assert!(!kek.exists(), "no new key is made while something needs the old one");
    let other = new_kek(daemon.data_dir());
    let (mut wrong, log) = Daemon::launch(&Options::sqlite(), daemon.data_dir(), Some(&other));
    assert_eq!(wrong.wait(Duration::from_secs(60)).code(), Some(78), "{}", log.text());
}

on_both! {
    async fn sessions_outlive_a_restart_and_a_crash(options) {
        let mut daemon = Daemon::start(options).await;
        let mut tokens = daemon.client().register("ada@example.org").await;
        let ended = daemon.client().login("ada@example.org").await;
        daemon.client().logout(&ended.refresh).await.assert_status(204);
        tokens = daemon.client().refresh(&tokens).await;
        daemon.restart().await;
        daemon.client().verify(&tokens.access).await.assert_status(200);
        daemon.client().verify(&ended.access).await.assert_status(401);
        tokens = daemon.client().refresh(&tokens).await;
        daemon.crash().await;
        daemon.client().verify(&ended.access).await.assert_status(401);
        let retried = daemon.client().refresh(&tokens).await;
        daemon.client().login("ada@example.org").await;
        daemon.client().refresh(&retried).await;
    }
}

on_both! {
    async fn what_was_acknowledged_before_a_kill_is_there_after_it(options) {
        let mut daemon = Daemon::start(options).await;
        let mut acknowledged: Vec<(String, Tokens)> = Vec::new();
        for round in 0..6_u64 {
            let client = daemon.client();
            let pid = daemon.pid();
            let work = tokio::spawn(together(12, move |number| async move {
                let email = format!("user{round}-{number}@example.org");
                let body = serde_json::json!({ "email": email, "password": PASSWORD });
                let first = client.post("/api/auth/register", &body).try_send().await.ok()?;
                assert_eq!(first.status, 201, "{first}");
                let first = Tokens::of(&first);
                match client.refresh_call(&first.refresh).try_send().await {
                    Ok(second) if second.status == 200 => Some((email, Tokens::of(&second))),
                    _ => Some((email, first)),
                }
            }));
            tokio::time::sleep(Duration::from_millis(5 + round * 7)).await;
            tests::process::signal(pid, rustix::process::Signal::KILL);
            acknowledged.extend(work.await.unwrap().into_iter().flatten());
            daemon.crash().await;
        }
        for (email, tokens) in &acknowledged {
            let refreshed = daemon.client().refresh(tokens).await;
            assert_eq!(refreshed.user, tokens.user);
            assert_eq!(daemon.admin().events_about("user.created", &tokens.user).await.len(), 1, "{email}");
            daemon.client().login(email).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_limit_reaches_the_other_instance_within_a_second_and_outlives_restarts() {
    let mut daemon = Daemon::start(Options::postgres().await).await;
    let other = daemon.second().await;
    let set = limit::SetRequest {
        policy: "login.ip".into(),
        rate: Some("1/h".parse().unwrap()),
        burst: Some(1),
        ..Default::default()
    };
    daemon.admin().call::<limit::Set>(&set).await;
    let start = Instant::now();
    let show = limit::ShowRequest { policy: "login.ip".into() };
    until(crowded(Duration::from_millis(1_500)), "the other instance knows the limit", || async {
        let shown = other.admin().call::<limit::Show>(&show).await;
        (shown.limit.burst == Some(1)).then_some(())
    })
    .await;
    let wrong = |email: &'static str| {
        let client = other.client();
        async move { client.try_login(email, "not-the-velvet-one-55").await.status }
    };
    // The limit of the database is shown; the one in force follows with the next poll.
    until(crowded(Duration::from_millis(1_500)), "the other instance refuses", || async {
        (wrong("nobody@example.org").await == 429).then_some(())
    })
    .await;
    assert!(start.elapsed() < crowded(Duration::from_secs(3)), "{:?}", start.elapsed());
    daemon.restart().await;
    assert_eq!(daemon.admin().call::<limit::Show>(&show).await.limit.burst, Some(1));
    let client = daemon.client();
    client.try_login("nobody@example.org", "not-the-velvet-one-55").await;
    let second = client.try_login("nobody@example.org", "not-the-velvet-one-55").await;
    second.assert_refused(ErrorCode::RateLimited);
    let reset = limit::ResetRequest { policy: "login.ip".into(), ..Default::default() };
    daemon.admin().call::<limit::Reset>(&reset).await;
    until(crowded(Duration::from_millis(2_500)), "the other instance is back to the default", || async {
        (wrong("nobody@example.org").await == 401).then_some(())
    })
    .await;
}

on_both! {
    async fn a_limit_for_a_time_returns_to_its_default_by_itself(options) {
        let daemon = Daemon::start(options).await;
        let set = limit::SetRequest {
            policy: "login.ip".into(),
            rate: Some("1/h".parse().unwrap()),
            burst: Some(1),
            lasting: Some("4s".parse().unwrap()),
            ..Default::default()
        };
        let changed = daemon.admin().call::<limit::Set>(&set).await;
        assert!(changed.limit.expires_at.is_some());
        let client = daemon.client();
        until(Duration::from_millis(3_900), "the limit refuses", || async {
            (client.try_login("nobody@example.org", "wrong-wrong-wrong").await.status == 429).then_some(())
        })
        .await;
        until(crowded(Duration::from_secs(7)), "the limit is off again", || async {
            (client.try_login("nobody@example.org", "wrong-wrong-wrong").await.status == 401).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_on_one_instance_counts_on_the_other() {
    let daemon = Daemon::start(Options::postgres().await).await;
    let other = daemon.second().await;
    let tokens = daemon.client().register("ada@example.org").await;
    other.client().verify(&tokens.access).await.assert_status(200);
    daemon.client().logout(&tokens.refresh).await.assert_status(204);
    // Whoever asks the database knows at once; the gateway's question is answered from memory.
    other.client().try_refresh(&tokens.refresh).await.assert_refused(ErrorCode::TokenInvalid);
    other.client().profile(&tokens.access).await.assert_refused(ErrorCode::TokenInvalid);
    until(crowded(Duration::from_secs(1)), "the other instance's memory knows", || async {
        (other.client().verify(&tokens.access).await.status == 401).then_some(())
    })
    .await;
}

on_both! {
    async fn a_start_and_a_stop_are_on_record(options) {
        let mut daemon = Daemon::start(options).await;
        daemon.restart().await;
        let started = daemon.admin().events("daemon.started").await;
        let stopped = daemon.admin().events("daemon.stopped").await;
        assert_eq!((started.len(), stopped.len()), (2, 1));
        assert!(started.iter().all(|event| event.outcome == Outcome::Ok));
    }
}

#[tokio::test]
async fn a_daemon_that_was_halted_goes_on_where_it_was() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let tokens = daemon.client().register("ada@example.org").await;
    daemon.pause();
    let call = daemon.client().refresh_call(&tokens.refresh);
    let waiting = tokio::spawn(async move { call.send().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    daemon.resume();
    waiting.await.unwrap().assert_status(200);
}

#[tokio::test]
async fn a_first_signal_stops_a_daemon_that_nobody_uses_at_once() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let start = Instant::now();
    assert_eq!(daemon.stop().code(), Some(0), "{}", daemon.log().text());
    assert!(start.elapsed() < crowded(Duration::from_secs(3)), "{:?}", start.elapsed());
    assert!(!daemon.admin_socket().exists(), "a stopped daemon leaves no socket behind");
}
