//! Completion in a real shell, with ids from a running daemon and without one.

use std::{path::Path, process::Stdio, time::Duration};
use tests::{daemon::Daemon, process::program, wait::timed};

/// What bash offers after these words, the last of which has begun.
async fn offered(socket: &Path, words: &[&str]) -> Vec<String> {
    let path = program("authctl");
    let directory = path.parent().expect("a directory").display();
    let line = words.join(" ");
    let (at, last) = (words.len() - 1, words.last().copied().unwrap_or_default());
    let script = format!(
        "PATH={directory}:$PATH; source <(authctl completion bash) || exit 9; COMP_WORDS=({line}); COMP_CWORD={at}; \
         COMP_TYPE=9; _clap_complete_authctl authctl '{last}' x 2>&1; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", &script]).env("AUTHCTL_SOCKET", socket).stdin(Stdio::null());
    let output = bash.output().await.expect("bash can be started");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.iter().all(u8::is_ascii_whitespace), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[tokio::test]
async fn a_shell_completes_commands_flags_and_ids() {
    let daemon = Daemon::start(tests::options::Options::sqlite()).await;
    let tokens = daemon.client().register("ada@example.org").await;
    let socket = daemon.admin_socket();
    // On a busy machine the moment that a shell waits can be too short.
    let offered = async |words: &[&str]| {
        let some = || async { Some(offered(&socket, words).await).filter(|words| !words.is_empty()) };
        tests::wait::until(Duration::from_secs(60), "something is offered", some).await
    };
    assert_eq!(offered(&["authctl", "sessi"]).await, ["session"]);
    assert_eq!(offered(&["authctl", "session", "epo"]).await, ["epoch-bump"]);
    assert_eq!(offered(&["authctl", "session", "show", "ses_"]).await, [tokens.session.as_str()]);
    assert_eq!(offered(&["authctl", "session", "list", "--user", "usr"]).await, [tokens.user.as_str()]);
    assert_eq!(offered(&["authctl", "user", "show", "ad"]).await, ["ada@example.org"]);
    assert_eq!(offered(&["authctl", "why", "ses_"]).await, [tokens.session.as_str()]);
    assert_eq!(offered(&["authctl", "limit", "show", "login.ha"]).await, ["login.hard"]);
    assert_eq!(offered(&["authctl", "breaker", "open", "data"]).await, ["database"]);
    assert_eq!(offered(&["authctl", "mode", "set", "read"]).await, ["read-only"]);
    let keys = offered(&["authctl", "key", "show", "key_"]).await;
    assert!(!keys.is_empty() && keys.iter().all(|key| key.starts_with("key_")), "{keys:?}");
}

#[tokio::test]
async fn a_daemon_that_is_away_or_hangs_costs_no_more_than_a_moment_and_no_word() {
    let mut daemon = Daemon::start(tests::options::Options::sqlite()).await;
    let socket = daemon.admin_socket();
    let line = ["authctl", "session", "show", "ses_"];
    // Bash offers names of files where it is offered nothing.
    daemon.pause();
    let (hanging, took) = timed(offered(&socket, &line)).await;
    assert!(hanging.is_empty() && took < Duration::from_secs(2), "{hanging:?} {took:?}");
    daemon.resume();
    daemon.stop();
    assert!(offered(&socket, &line).await.is_empty());
}
