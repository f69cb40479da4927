//! Real PostgreSQL servers in temporary directories: one that tests share, and ones that a test may stop.

use crate::{
    disk::SmallDisk,
    process::{Running, children, halt, signal, until_gone, until_still},
    wait::until,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PREFIX: &str = "authd-pg-";
const START: Duration = Duration::from_secs(90);

/// A server. PostgreSQL refuses to run as root: a harness started as root runs it as `postgres`.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    port: u16,
    server: Option<Server>,
    databases: AtomicU32,
    outlasts: Outlasts,
}

/// Whether a server takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// It does.
    Taken,
    /// It says that it is read-only.
    Refused,
}

/// What a commit outlasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlasts {
    /// The death of processes. What the tests claim is about these: fsync would only cost time.
    Processes,
    /// Also the loss of power.
    Power,
}

/// The server process, kept by a thread of its own: the kernel ends the server when that thread ends, and the thread
/// ends with the test program at the latest.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) pid: i32,
    /// Dropping it tells the thread to end the server.
    keep: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Ends it without warning, and returns when it is gone.
    pub(crate) fn end(self) {
        drop(self.keep);
        let _ = self.thread.join();
    }
}

impl Postgres {
    /// The server that all tests of the run share; nobody stops it.
    ///
    /// # Panics
    /// When PostgreSQL is missing: `tests/run` installs it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        // Starting blocks for seconds; other tests have their own threads.
        SHARED.get_or_init(|| {
            sweep();
            Self::start_blocking(Outlasts::Processes, None)
        })
    }

    /// A server of the test's own.
    ///
    /// # Panics
    /// When PostgreSQL is missing.
    pub async fn start_own() -> Self {
        Self::start_outlasting(Outlasts::Processes).await
    }

    /// A server of the caller's own whose commits are as durable as in production: for figures.
    ///
    /// # Panics
    /// When PostgreSQL is missing.
    pub async fn start_durable() -> Self {
        Self::start_outlasting(Outlasts::Power).await
    }

    /// A server of the test's own whose tables are on this disk; its log of changes is not.
    ///
    /// # Panics
    /// When PostgreSQL is missing, or the disk too small for an empty server.
    pub async fn start_on(disk: &SmallDisk) -> Self {
        let tables = disk.path().join("tables");
        let start = move || Self::start_blocking(Outlasts::Processes, Some(&tables));
        tokio::task::spawn_blocking(start).await.expect("the start does not panic")
    }

    async fn start_outlasting(outlasts: Outlasts) -> Self {
        let start = move || Self::start_blocking(outlasts, None);
        tokio::task::spawn_blocking(start).await.expect("the start does not panic")
    }

    fn start_blocking(outlasts: Outlasts, tables: Option<&Path>) -> Self {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("owner"), std::process::id().to_string()).expect("our own directory");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).expect("our own directory");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("our own directory");
        if rustix::process::getuid().is_root() {
            let owner = as_root(Command::new("chown").arg("postgres").arg(&data));
            assert!(owner, "there is no user `postgres`: tests/run installs PostgreSQL");
        }
        let initdb = ["--username=authd", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
        let made = unprivileged(&bin("initdb")).args(initdb).arg("-D").arg(&data).output().expect("initdb starts");
        if let Some(tables) = tables {
            move_tables(&data, tables);
        }
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let mut server = Self { dir, port, server: None, databases: AtomicU32::new(0), outlasts };
        server.start_again();
        server
    }

    /// Starts it again on the same data and port, after [`Self::kill`].
    ///
    /// # Panics
    /// When it does not accept connections in time.
    pub fn start_again(&mut self) {
        let mut command = unprivileged(&bin("postgres"));
        command.arg("-D").arg(self.dir.path().join("data")).arg("-p").arg(self.port.to_string());
        let fsync = match self.outlasts {
            Outlasts::Processes => "fsync=off",
            Outlasts::Power => "fsync=on",
        };
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=400", fsync] {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::create(self.dir.path().join("log")).expect("our own directory");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.server = Some(keep(command));
        self.until_answers();
    }

    /// Waits until it accepts connections.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn until_answers(&self) {
        let end = Instant::now() + START;
        while !self.answers() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "PostgreSQL does not answer:\n{}", log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn answers(&self) -> bool {
        self.client("pg_isready").args(["-t", "1"]).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(bin(name));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "authd"]).stdin(Stdio::null());
        command
    }

    /// A new, empty database; its URL.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn create_database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::SeqCst));
        let mut command = tokio::process::Command::from(self.client("createdb"));
        let made = command.arg(&name).output().await.expect("createdb starts");
        assert!(made.status.success(), "createdb: {}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://authd@127.0.0.1:{}/{name}", self.port)
    }

    /// Process id of the postmaster.
    ///
    /// # Panics
    /// After [`Self::kill`].
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.server.as_ref().expect("the server runs").pid
    }

    /// Halts every process of the server where it is.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
        let Some(server) = &self.server else { return };
        until_still(server.pid);
        children(server.pid).into_iter().for_each(until_still);
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    /// Kills every process of the server without warning, and returns when they are gone.
    pub fn kill(&mut self) {
        let Some(server) = self.server.take() else { return };
        // Halted first: it must not start children that nobody sees, nor have its own taken over by another parent.
        halt(server.pid);
        let all = [children(server.pid), vec![server.pid]].concat();
        for pid in all.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // A backend may have ended by itself meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        server.end();
        all.into_iter().for_each(until_gone);
    }

    /// Ends every connection from the server's side, as an administrator would.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn kill_backends(&self) {
        let query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname LIKE 'test%'";
        self.query(query).await;
    }

    /// Makes the server read-only or not, for connections that exist too, as an operator would.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn set_writes(&self, writes: Writes) {
        let read_only = match writes {
            Writes::Taken => "off",
            Writes::Refused => "on",
        };
        let mut command = tokio::process::Command::from(self.client("psql"));
        command.env("PGOPTIONS", "-c default_transaction_read_only=off");
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {read_only}");
        command.args(["-d", "postgres", "-qAt", "-c", &set, "-c", "SELECT pg_reload_conf()"]);
        let done = command.output().await.expect("psql starts");
        assert!(done.status.success(), "psql: {}", String::from_utf8_lossy(&done.stderr));
        until(START, "the server has read its configuration", || async {
            (self.query("SHOW default_transaction_read_only").await.trim() == read_only).then_some(())
        })
        .await;
    }

    /// Kills the process behind one connection without warning: the server ends all others, recovers, and answers
    /// again.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn crash_backend(&self) {
        let query = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname LIKE 'test%' ORDER BY random() LIMIT 1";
        let found = self.query(query).await;
        // It may have ended by itself meanwhile.
        let Some(pid) = found.trim().parse().ok().and_then(Pid::from_raw) else { return };
        let _ = kill_process(pid, Signal::KILL);
        let gone = || async move { (!Path::new("/proc").join(pid.to_string()).exists()).then_some(()) };
        until(START, "the server notices the end of its child", gone).await;
        self.until_answers();
    }

    /// Asks the server, and gives back what `psql` prints.
    async fn query(&self, query: &str) -> String {
        let mut command = tokio::process::Command::from(self.client("psql"));
        let done = command.args(["-d", "postgres", "-qAtc", query]).output().await.expect("psql starts");
        assert!(done.status.success(), "psql: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// The postmaster first: it must not start new children for the ones that are halted.
    fn signal_all(&self, with: Signal) {
        let Some(server) = &self.server else { return };
        signal(server.pid, with);
        for pid in children(server.pid).into_iter().filter_map(Pid::from_raw) {
            // A backend may have ended by itself meanwhile.
            let _ = kill_process(pid, with);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
    }
}

/// Starts `command` on a thread that holds it until it is let go.
pub(crate) fn keep(mut command: Command) -> Server {
    let (keep, let_go) = mpsc::channel();
    let (tell_pid, pid) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut running = Running::start(&mut command);
        let _ = tell_pid.send(running.pid());
        let _ = let_go.recv();
        running.kill();
    });
    Server { pid: pid.recv().expect("the server starts"), keep, thread }
}

/// A command that runs as `postgres` when the tests run as root, and ends with the thread that starts it.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if rustix::process::getuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT"]).arg(program).current_dir("/");
    command
}

/// Moves the tables of a server that does not run; where they were, a link is left.
fn move_tables(data: &Path, to: &Path) {
    let from = data.join("base");
    let moved = as_root(Command::new("cp").arg("-a").arg(&from).arg(to));
    assert!(moved, "the tables do not fit into {}", to.display());
    std::fs::remove_dir_all(&from).expect("our own directory");
    std::os::unix::fs::symlink(to, &from).expect("our own directory");
}

fn as_root(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// A program of PostgreSQL 15 or later.
fn bin(name: &str) -> PathBuf {
    let mut dirs: Vec<PathBuf> = std::env::var_os("PG_BIN").map(PathBuf::from).into_iter().collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut packaged: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    let version = |path: &PathBuf| path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok());
    packaged.retain(|path| version(path).is_some_and(|version| version >= 15));
    packaged.sort_by_key(version);
    dirs.extend(packaged.into_iter().rev().map(|path| path.join("bin")));
    let found = dirs.into_iter().map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("PostgreSQL's `{name}` is missing: run tests/run, or set PG_BIN"))
}

/// Removes what earlier runs left: a shared server's directory outlives its test program.
fn sweep() {
    for dir in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let ours = dir.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(PREFIX));
        let Some(owner) = std::fs::read_to_string(dir.join("owner")).ok().filter(|_| ours) else { continue };
        if !Path::new("/proc").join(owner).exists() {
            let _ = std::fs::remove_dir_all(&dir);
        }
    }
}

/// A port nobody listens on now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the loopback interface");
    listener.local_addr().expect("a bound socket has an address").port()
}
