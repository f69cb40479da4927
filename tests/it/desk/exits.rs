//! Every exit code of `authctl`, as a script meets it, and a hint beside each that is no success.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tests::{
    ctl::{Ctl, Ran},
    daemon::Daemon,
    options::Options,
    process::program,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

/// Asserts a code, and that a failure says what to do.
fn assert_ends(ran: &Ran, code: i32) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(code == 0 || ran.stderr.contains("; hint: "), "{ran:?}");
}

/// Something that answers every call with this, as a daemon in trouble would.
fn in_trouble(directory: &Path, status: u16, body: &str) -> PathBuf {
    let socket = directory.join("admin.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4_096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    socket
}

async fn against(status: u16, body: &str, line: &[&str]) -> Ran {
    let directory = tempfile::tempdir().expect("a directory");
    Ctl::new(in_trouble(directory.path(), status, body)).run(line).await
}

#[tokio::test]
async fn a_script_can_tell_by_the_code_how_a_command_ended() {
    let mut daemon = Daemon::start(Options::sqlite()).await;
    let ada = daemon.client().register("ada@example.org").await;
    daemon.client().register("eve@example.org").await;
    let ctl = daemon.ctl();
    let run = async |line: &[&str]| ctl.run(line).await;
    assert_ends(&run(&["ban", "list"]).await, 0);
    assert_ends(&run(&["session", "list", "--nonsense"]).await, 2);
    assert_ends(&run(&["user", "create", "no address"]).await, 2);
    assert_ends(&run(&["session", "show", "ses_01hzzzzzzzzzzzzzzzzzzzzzzz"]).await, 10);
    assert_ends(&run(&["schema", "nothing.such"]).await, 10);
    assert_ends(&run(&["user", "show", &ada.user[..5]]).await, 11);
    let drifted = ["session", "revoke", "--user", "ada@example.org", "--expect", "9", "--yes"];
    assert_ends(&run(&drifted).await, 11);
    assert_ends(&run(&["user", "enable", "ada@example.org", "nobody@example.org"]).await, 12);
    assert_ends(&run(&["user", "delete", "ada@example.org"]).await, 13);
    let socket = daemon.data_dir().join("read.sock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).expect("the socket");
    assert_ends(&run(&["doctor"]).await, 14);
    daemon.stop();
    assert_ends(&run(&["status"]).await, 69);
}

#[tokio::test]
async fn what_is_not_found_is_named() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let ctl = daemon.ctl();
    for (line, said) in [
        (&["limit", "set", "nope", "1/s"][..], "there is no policy `nope`"),
        (&["breaker", "open", "nope"], "there is no breaker `nope`"),
        (&["ban", "remove", "192.0.2.0/24"], "there is no ban of `192.0.2.0/24`"),
        (&["session", "show", "ses_zz"], "there is no session `ses_zz`"),
        (&["session", "list", "--user", "nobody@example.org"], "there is no account `nobody@example.org`"),
        (&["user", "show", "usr_zz"], "there is no account `usr_zz`"),
        (&["key", "show", "key_zz"], "there is no key `key_zz`"),
        (&["audit", "show", "99999"], "there is no event `99999`"),
    ] {
        let ran = ctl.run(line).await;
        assert_ends(&ran, 10);
        assert!(ran.stderr.contains(said), "{line:?}: {ran:?}");
    }
}

#[tokio::test]
async fn a_read_without_an_answer_is_not_said_to_have_changed_something() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("admin.sock");
    let _silent = UnixListener::bind(&socket).expect("a socket");
    let ctl = Ctl::new(socket);
    let read = ctl.run(&["status", "--timeout", "100ms"]).await;
    assert_ends(&read, 75);
    assert!(read.stderr.contains("nothing was changed"), "{read:?}");
    for (line, said) in [
        (&["user", "enable", "ada@example.org", "--timeout", "100ms"][..], "a change may have happened"),
        (&["user", "enable", "ada@example.org", "--timeout", "100ms", "-n"], "nothing was changed"),
    ] {
        let change = ctl.run(line).await;
        assert!(change.stderr.contains(said), "{line:?}: {change:?}");
    }
}

#[tokio::test]
async fn trouble_of_the_daemon_is_told_apart_from_mistakes() {
    let problem = |code: &str| format!("{{\"code\":\"{code}\",\"detail\":\"it is so\",\"request_id\":\"r1\"}}");
    assert_ends(&against(500, &problem("INTERNAL"), &["user", "list"]).await, 70);
    assert_ends(&against(503, &problem("STORAGE_UNAVAILABLE"), &["user", "list"]).await, 75);
    assert_ends(&against(403, &problem("FORBIDDEN"), &["user", "list"]).await, 77);
    assert_ends(&against(200, "no JSON", &["user", "list"]).await, 1);
    let unready = serde_json::json!({
        "version": "1", "ready": false, "since": "2026-11-20T08:00:00Z", "listen": null, "mode": "normal",
        "database": {"kind": "sqlite", "state": "down"}, "redis": {"state": "off"},
        "keys": {"active": null, "staged": null}, "sessions": {"live": null},
        "hashing": {"workers": 1, "busy": 0, "queued": 0, "evaluated": 0}, "degraded": [], "problems": [],
    });
    assert_ends(&against(200, &unready.to_string(), &["status"]).await, 3);
    let wrong = serde_json::json!({
        "problems": [{"key": "server.listen", "file": null, "line": null, "message": "no address", "hint": null}],
        "live": [], "restart": [],
    });
    for verb in ["check", "diff"] {
        assert_ends(&against(200, &wrong.to_string(), &["config", verb]).await, 78);
    }
}

#[tokio::test]
async fn an_interrupt_is_130_and_a_full_disk_is_1() {
    let daemon = Daemon::start(Options::sqlite()).await;
    let mut tail = tokio::process::Command::new(program("authctl"));
    tail.arg("--socket").arg(daemon.admin_socket()).args(["audit", "tail", "-f"]);
    tail.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut tail = tail.spawn().expect("authctl can be started");
    let mut first = [0; 1];
    tail.stdout.as_mut().expect("output").read_exact(&mut first).await.expect("it follows");
    let pid = i32::try_from(tail.id().expect("it runs")).expect("a process id");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let ended = tokio::time::timeout(Duration::from_secs(60), tail.wait()).await.expect("it ends").expect("it ends");
    assert_eq!(ended.code(), Some(130));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let mut version = tokio::process::Command::new(program("authctl"));
    let version = version.arg("version").stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn();
    let ran = version.expect("authctl can be started").wait_with_output().await.expect("it ends");
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("; hint: "), "{ran:?}");
}
