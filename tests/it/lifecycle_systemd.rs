//! What the service manager sees: readiness, reload, watchdog, stop, and the sockets it opens itself.

use rustix::process::Signal;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tests::{
    daemon::Daemon,
    options::Options,
    process::{Running, program, signal},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Stands in for the service manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _dir: TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a time above zero");
        Self { socket, path, _dir: dir }
    }

    /// Reads until an assignment begins like this; that message.
    fn until(&self, wanted: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        let mut buffer = [0_u8; 4096];
        while Instant::now() < end {
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let message = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
            if message.lines().any(|line| line.starts_with(wanted)) {
                return message;
            }
            seen.push(message);
        }
        panic!("no {wanted} among {seen:?}");
    }
}

#[tokio::test]
async fn the_service_manager_is_told_of_readiness_reload_watchdog_and_stop() {
    let manager = Manager::new();
    let path = manager.path.display().to_string();
    let options = Options::sqlite().env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "600000");
    let mut daemon = Daemon::start(options).await;
    let ready = manager.until("READY=1");
    assert!(ready.contains(&format!("STATUS=serving on {}", daemon.address())), "{ready}");
    manager.until("WATCHDOG=1");
    signal(daemon.pid(), Signal::HUP);
    assert!(manager.until("RELOADING=1").contains("MONOTONIC_USEC="));
    assert!(manager.until("READY=1").contains(&format!("STATUS=serving on {}", daemon.address())));
    daemon.terminate();
    manager.until("STOPPING=1");
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log().text());
}

/// Starts the daemon with these sockets as descriptors 3, 4 and 5. A shell moves them there, so that the process id of
/// `LISTEN_PID` is the daemon's own.
fn activated(dir: &Path, names: &str, sockets: [OwnedFd; 3]) -> (Running, PathBuf) {
    let log = dir.join("log");
    let script = "exec 3<&0 4<&1 5<&2 </dev/null >\"$LOG\" 2>&1; LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(program("authd")).arg("--data-dir").arg(dir).args(["--listen", "127.0.0.1:1"]);
    command.env_clear().env("LISTEN_FDS", "3").env("LISTEN_FDNAMES", names).env("LOG", &log);
    command.env("AUTHD_LOG__FORMAT", "json");
    let [first, second, third] = sockets.map(Stdio::from);
    (Running::start(command.stdin(first).stdout(second).stderr(third)), log)
}

/// One request on a connection that was perhaps opened before anybody could answer; the answer.
fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("a connection");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn sockets_that_the_service_manager_opened_are_served_and_left_to_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = tempfile::tempdir().expect("a temporary directory");
    let (admin_path, read_path) = (run.path().join("a"), run.path().join("r"));
    let public = TcpListener::bind("127.0.0.1:0").expect("a port");
    let admin = UnixListener::bind(&admin_path).expect("a socket");
    let read = UnixListener::bind(&read_path).expect("a socket");
    let address = public.local_addr().expect("an address");
    // These wait in the queues: nobody is there yet.
    let waiting = TcpStream::connect(address).expect("a connection");
    waiting.set_read_timeout(Some(PATIENCE)).expect("a time above zero");
    let operators = [&admin_path, &read_path].map(|path| UnixStream::connect(path).expect("a connection"));

    let sockets = [read.into(), public.into(), admin.into()];
    let (mut daemon, log) = activated(dir.path(), "read:public:admin", sockets);
    let answer = ask(waiting, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let logged = || std::fs::read_to_string(&log).unwrap_or_default();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}\n{}", logged());
    for operator in operators {
        operator.set_read_timeout(Some(PATIENCE)).expect("a time above zero");
        let request = "POST /v1/status HTTP/1.1\r\nHost: authd\r\nContent-Type: application/json\r\n\
                       Content-Length: 2\r\nConnection: close\r\n\r\n{}";
        let answer = ask(operator, request);
        assert!(answer.contains(&format!("\"listen\":\"{address}\"")), "{answer}\n{}", logged());
    }
    assert!(!dir.path().join("admin.sock").exists(), "no socket beside the one that was passed");
    signal(daemon.pid(), Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code(), Some(0), "{}", logged());
    assert!(admin_path.exists() && read_path.exists(), "they belong to the service manager");
}

#[test]
fn a_socket_that_nobody_would_answer_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let unix = |name: &str| OwnedFd::from(UnixListener::bind(dir.path().join(name)).expect("a socket"));
    let public = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("a port"));
    let cases = [
        ("public:admin:metrics", [public(), unix("1"), unix("2")], "public, admin or read"),
        ("public:admin:read", [public(), public(), unix("3")], "wrong kind"),
        ("admin:read:read", [unix("4"), unix("5"), unix("6")], "two sockets are named read"),
    ];
    for (names, sockets, reason) in cases {
        let (mut daemon, log) = activated(dir.path(), names, sockets);
        assert_eq!(daemon.wait(PATIENCE).code(), Some(78), "{names}");
        let logged = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(logged.contains(reason), "{names}: {logged}");
    }
}
