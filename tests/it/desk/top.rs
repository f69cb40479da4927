//! `authctl top`: one frame as text without a terminal, and a live one in a terminal that `q` gives back.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};
use tests::{client::PASSWORD, daemon::Daemon, options::Options, process::program, wait::until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn without_a_terminal_one_frame_is_printed() {
    let daemon = Daemon::start(Options::sqlite()).await;
    daemon.client().register("ada@example.org").await;
    let client = daemon.client();
    let busy = tokio::spawn(async move {
        loop {
            client.try_login("ada@example.org", PASSWORD).await;
        }
    });
    let ran = daemon.ctl().run(&["top", "--once"]).await;
    busy.abort();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for part in ["authd ", "database sqlite up", "hashing [", "logins", "LIMITED", "EVENTS", "daemon.started"] {
        assert!(ran.stdout.contains(part), "{part} in {}", ran.stdout);
    }
    assert!(
        !ran.stdout.contains('\u{1b}') && ran.stdout.lines().all(|line| line.chars().count() <= 80),
        "{}",
        ran.stdout
    );
    let logins = ran.stdout.lines().find(|line| line.starts_with("logins")).unwrap_or_default();
    assert!(logins.contains("succeeded") || logins.contains("limited"), "{}", ran.stdout);
}

#[tokio::test]
async fn in_a_terminal_it_outlives_a_restart_of_the_daemon_and_q_gives_the_terminal_back() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let line = format!(
        "stty cols 80 rows 24; {} --socket {} top; echo ended with $?",
        program("authctl").display(),
        daemon.admin_socket().display()
    );
    let mut script = tokio::process::Command::new("script");
    script.args(["-q", "-c", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut script = script.spawn().expect("script (bsdutils) is installed");
    let (mut keys, mut screen) = (script.stdin.take().expect("keys"), script.stdout.take().expect("a screen"));
    let seen = Arc::new(Mutex::new(String::new()));
    let writes = seen.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4_096];
        while let Ok(count @ 1..) = screen.read(&mut buffer).await {
            writes.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    // What was drawn after the last time this was asked.
    let drawn = async |part: &str| {
        until(LIMIT, part, async || {
            let mut text = seen.lock().unwrap();
            let end = text.find(part)? + part.len();
            Some(text.drain(..end).collect::<String>())
        })
        .await
    };
    assert!(drawn("hashing [").await.contains("\u{1b}[?1049h"), "another screen");
    daemon.stop();
    drawn("NOT ANSWERING").await;
    daemon.start_again().await;
    drawn("ready").await;
    keys.write_all(b"q").await.expect("a key");
    assert!(drawn("ended with 0").await.contains("\u{1b}[?1049l"), "the screen is given back");
    script.wait().await.expect("script ends");
}
