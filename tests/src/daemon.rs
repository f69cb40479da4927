//! The real `authd`, started in a directory of its own and ended with its test.

use crate::{
    admin::Admin,
    client::Client,
    ctl::Ctl,
    disk::SmallDisk,
    options::{Database, LogTo, Options},
    process::{Running, crowded, halt, program, signal, write_secret},
    wait,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::process::Signal;
use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const START: Duration = Duration::from_secs(90);
/// The daemon's own deadlines and a little more, on a machine that others leave alone.
const STOP: Duration = Duration::from_secs(20);

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    options: Options,
    dir: Arc<TempDir>,
    kek: Option<PathBuf>,
    running: Running,
    address: SocketAddr,
    log: Log,
}

/// What a daemon wrote to its standard error, line by line.
#[derive(Debug, Clone)]
pub enum Log {
    /// Collected by a thread of the test.
    Memory(Arc<Mutex<Vec<String>>>),
    /// Written by the daemon.
    File(PathBuf),
}

impl Log {
    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Memory(lines) => lines.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Self::File(path) => std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect(),
        }
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Starts `command` with its output going to the log.
    fn of(command: &mut Command, to: LogTo, data_dir: &Path) -> (Running, Self) {
        if to == LogTo::File {
            let path = data_dir.join("log");
            let file = std::fs::File::create(&path).expect("the data directory can be written");
            command.stdout(file.try_clone().expect("a file can be shared")).stderr(file);
            return (Running::start(command), Self::File(path));
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::start(command);
        let lines = Arc::default();
        collect(&lines, running.child().stderr.take().expect("its stream is piped"));
        collect(&lines, running.child().stdout.take().expect("its stream is piped"));
        (running, Self::Memory(lines))
    }

    /// The address in the line that says the public listener listens.
    fn address(&self) -> Option<SocketAddr> {
        self.lines().iter().find_map(|line| {
            let json: serde_json::Value = serde_json::from_str(line).ok()?;
            let field = |name: &str| json["fields"][name].as_str().or_else(|| json[name].as_str()).map(str::to_owned);
            let is_it =
                field("message").as_deref() == Some("listening") && field("listener").as_deref() == Some("public");
            field("address").filter(|_| is_it)?.parse().ok()
        })
    }
}

fn collect(lines: &Arc<Mutex<Vec<String>>>, stream: impl Read + Send + 'static) {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
}

impl Daemon {
    /// Starts a daemon and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start(options: Options) -> Self {
        let dir = Arc::new(tempfile::Builder::new().prefix("authd-").tempdir().expect("a temporary directory"));
        let kek = matches!(options.database, Database::Postgres(_)).then(|| new_kek(dir.path()));
        Self::start_in(dir, options, kek).await
    }

    /// Starts a daemon on SQLite whose data directory is on this disk, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start_on(disk: &SmallDisk, options: Options) -> Self {
        let dir = tempfile::Builder::new().prefix("authd-").tempdir_in(disk.path()).expect("there is room");
        Self::start_in(Arc::new(dir), options, None).await
    }

    /// Starts a daemon in a directory that is prepared first, and waits until it is ready. On PostgreSQL its
    /// key-encryption key is the file `kek` there, made if it is missing.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start_prepared(options: Options, prepare: impl FnOnce(&Path)) -> Self {
        let dir = Arc::new(tempfile::Builder::new().prefix("authd-").tempdir().expect("a temporary directory"));
        prepare(dir.path());
        let kek = dir.path().join("kek");
        let kek = if kek.exists() { kek } else { new_kek(dir.path()) };
        let kek = matches!(options.database, Database::Postgres(_)).then_some(kek);
        Self::start_in(dir, options, kek).await
    }

    /// [`Self::start_prepared`] of a daemon on SQLite that listens and need not be ready.
    ///
    /// # Panics
    /// When it does not listen.
    pub async fn start_prepared_unready(options: Options, prepare: impl FnOnce(&Path)) -> Self {
        let dir = Arc::new(tempfile::Builder::new().prefix("authd-").tempdir().expect("a temporary directory"));
        prepare(dir.path());
        Self::listen_in(dir, options, None).await
    }

    /// Starts it again after it ended; it listens then, and need not be ready.
    pub async fn start_again_unready(&mut self) {
        *self = Self::listen_in(self.dir.clone(), self.options.clone(), self.kek.clone()).await;
    }

    /// Starts it again, after it ended, in the same directory on another database with the same key-encryption key.
    pub async fn start_again_on(&mut self, database: Database) {
        self.point_to(database);
        self.start_again().await;
    }

    /// The next start is on this database.
    pub fn point_to(&mut self, database: Database) {
        self.kek = matches!(database, Database::Postgres(_)).then(|| self.data_dir().join("kek"));
        self.options.database = database;
    }

    /// Runs a command of `authd` with its configuration.
    ///
    /// # Panics
    /// When the program is missing.
    #[must_use]
    pub fn command(&self, verb: &str) -> std::process::Output {
        let mut command = Command::new(program("authd"));
        command.arg("--config").arg(self.data_dir().join("etc/authd.toml")).arg("--data-dir").arg(self.data_dir());
        command.env_clear().arg(verb).stdin(Stdio::null()).output().expect("authd can be started")
    }

    /// Starts a daemon that is not waited for: it may be meant to fail.
    ///
    /// # Panics
    /// When the program is missing.
    #[must_use]
    pub fn launch(options: &Options, data_dir: &Path, kek: Option<&Path>) -> (Running, Log) {
        let etc = data_dir.join("etc");
        options.write(&etc).expect("the data directory can be written");
        let mut command = Command::new(program("authd"));
        if let Some((soft, hard)) = options.open_files {
            // It becomes the daemon: the process stays the same.
            command = Command::new("prlimit");
            command.arg(format!("--nofile={soft}:{hard}")).arg(program("authd"));
        }
        command.arg("--config").arg(etc.join("authd.toml")).arg("--data-dir").arg(data_dir);
        command.args(["--listen", "127.0.0.1:0"]);
        // Nothing of the machine's own configuration reaches a daemon under test.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let Database::Postgres(url) = &options.database {
            command.env("AUTHD_DATABASE__URL", url);
        }
        if let Some(kek) = kek {
            command.env("AUTHD_KEY__ENCRYPTION_KEY", kek);
        }
        command.envs(options.env.iter().map(|(name, value)| (name, value)));
        Log::of(command.stdin(Stdio::null()), options.log, data_dir)
    }

    async fn start_in(dir: Arc<TempDir>, options: Options, kek: Option<PathBuf>) -> Self {
        let daemon = Self::listen_in(dir, options, kek).await;
        daemon.until_ready().await;
        daemon
    }

    async fn listen_in(dir: Arc<TempDir>, options: Options, kek: Option<PathBuf>) -> Self {
        let (mut running, log) = Self::launch(&options, dir.path(), kek.as_deref());
        let end = Instant::now() + START;
        let address = loop {
            if let Some(address) = log.address() {
                break address;
            }
            let ended = running.poll();
            assert!(ended.is_none(), "authd ended with {ended:?}:\n{}", log.text());
            assert!(Instant::now() < end, "authd does not listen after {START:?}:\n{}", log.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Self { options, dir, kek, running, address, log }
    }

    /// Waits until it says that it can do its work.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn until_ready(&self) {
        let end = Instant::now() + START;
        loop {
            let answer = self.client().get("/health/ready").try_send().await;
            match answer {
                Ok(answer) if answer.status == 200 => return,
                answer => assert!(Instant::now() < end, "authd is not ready: {answer:?}\n{}", self.log.text()),
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Waits until it says that it cannot do its work.
    pub async fn until_not_ready(&self) {
        let not_ready = || async { (self.client().ready().await.status == 503).then_some(()) };
        wait::until(START, "authd is not ready", not_ready).await;
    }

    /// Another instance on the same PostgreSQL database, with the same key-encryption key and configuration.
    ///
    /// # Panics
    /// On SQLite, which has one instance only.
    pub async fn second(&self) -> Self {
        assert!(matches!(self.options.database, Database::Postgres(_)), "SQLite has one instance");
        let dir = Arc::new(tempfile::Builder::new().prefix("authd-").tempdir().expect("a temporary directory"));
        Self::start_in(dir, self.options.clone(), self.kek.clone()).await
    }

    /// Stops it, drained, and starts it again on the same data.
    ///
    /// # Panics
    /// When either fails.
    pub async fn restart(&mut self) {
        let status = self.stop();
        assert_eq!(status.code(), Some(0), "{}", self.log.text());
        self.start_again().await;
    }

    /// Stops it and starts it again on the same data with other options.
    pub async fn restart_with(&mut self, change: impl FnOnce(Options) -> Options) {
        self.options = change(self.options.clone());
        self.restart().await;
    }

    /// Kills it without warning and starts it again on the same data with other options.
    pub async fn crash_with(&mut self, change: impl FnOnce(Options) -> Options) {
        self.options = change(self.options.clone());
        self.crash().await;
    }

    /// Kills it without warning and starts it again on the same data.
    pub async fn crash(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// Starts it again after it ended, on the same data with these options.
    pub async fn again(self, options: Options) -> Self {
        Self::start_in(self.dir.clone(), options, self.kek.clone()).await
    }

    /// Starts it again after it ended.
    pub async fn start_again(&mut self) {
        *self = Self::start_in(self.dir.clone(), self.options.clone(), self.kek.clone()).await;
    }

    /// A client of its public API.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A client of its admin socket.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.admin_socket())
    }

    /// A client of its read socket.
    #[must_use]
    pub fn reader(&self) -> Admin {
        Admin::new(self.data_dir().join("read.sock"))
    }

    /// `authctl` for its admin socket.
    #[must_use]
    pub fn ctl(&self) -> Ctl {
        Ctl::new(self.admin_socket())
    }

    /// Path of its admin socket.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.data_dir().join("admin.sock")
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.options.database
    }

    /// Address of its public API.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.running.pid()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Asks it to stop; does not wait.
    pub fn terminate(&self) {
        signal(self.pid(), Signal::TERM);
    }

    /// Halts it where it is.
    pub fn pause(&self) {
        halt(self.pid());
    }

    /// Lets it go on.
    pub fn resume(&self) {
        signal(self.pid(), Signal::CONT);
    }

    /// Kills it without warning and waits for its end.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.running.wait(crowded(STOP))
    }

    /// Waits for a line of its log that contains `part`.
    pub async fn until_logged(&self, part: &str) -> String {
        let find = || async { self.log.lines().into_iter().find(|line| line.contains(part)) };
        wait::until(Duration::from_secs(60), part, find).await
    }
}

/// A fresh key-encryption key in `dir`, in the form of `authd generate-key`.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn new_kek(dir: &Path) -> PathBuf {
    let mut bytes = [0; 32];
    let mut source = std::fs::File::open("/dev/urandom").expect("randomness");
    source.read_exact(&mut bytes).expect("randomness");
    let path = dir.join("kek");
    write_secret(&path, &STANDARD.encode(bytes));
    path
}
