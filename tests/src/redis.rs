//! A real Redis server in a temporary directory, which a test may halt, kill, empty and start again.

use crate::{
    postgres::{Server, free_port, keep},
    process::{halt, signal},
};
use redis::{Client, FromRedisValue, aio::MultiplexedConnection};
use rustix::process::Signal;
use std::{
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const START: Duration = Duration::from_secs(60);

/// A server that keeps nothing on disk: started again, it is empty.
#[derive(Debug)]
pub struct Redis {
    dir: TempDir,
    port: u16,
    password: Option<String>,
    /// Further arguments of `redis-server`.
    arguments: Vec<String>,
    server: Option<Server>,
}

impl Redis {
    /// A server of the test's own.
    ///
    /// # Panics
    /// When Redis is missing: `tests/run` installs it.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One that asks for this password.
    ///
    /// # Panics
    /// When Redis is missing.
    pub async fn start_with(password: Option<&str>) -> Self {
        Self::start_as(password, &[]).await
    }

    /// One with further arguments for `redis-server`.
    ///
    /// # Panics
    /// When Redis is missing.
    pub async fn start_as(password: Option<&str>, arguments: &[&str]) -> Self {
        let password = password.map(str::to_owned);
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let start = move || {
            let dir = tempfile::Builder::new().prefix("authd-redis-").tempdir().expect("a temporary directory");
            let mut server = Self { dir, port: free_port(), password, arguments, server: None };
            server.start_again();
            server
        };
        tokio::task::spawn_blocking(start).await.expect("the start does not panic")
    }

    /// One that speaks TLS on its only port, with these further arguments.
    ///
    /// # Panics
    /// When Redis is missing.
    pub async fn start_tls(arguments: &[&str]) -> Self {
        Self::start_as(None, &[&["--tls-port"][..], arguments].concat()).await
    }

    /// Starts it again on the same port, empty, after [`Self::kill`].
    ///
    /// # Panics
    /// When it does not accept connections in time.
    pub fn start_again(&mut self) {
        let mut command = Command::new("setpriv");
        let port = self.port.to_string();
        let arguments = match self.arguments.split_first() {
            Some((first, rest)) if first == "--tls-port" => {
                [vec!["--port".to_owned(), "0".to_owned(), first.clone(), port], rest.to_vec()].concat()
            }
            _ => [vec!["--port".to_owned(), port], self.arguments.clone()].concat(),
        };
        command.args(["--pdeathsig", "KILL", "redis-server"]).args(arguments);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        command.arg("--dir").arg(self.dir.path());
        let log = std::fs::File::create(self.dir.path().join("log")).expect("our own directory");
        let log_too = log.try_clone().expect("a file can be shared");
        command.stdin(Stdio::null()).stdout(log).stderr(log_too);
        self.server = Some(keep(command));
        let end = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "redis-server does not answer (tests/run installs it):\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        let user = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{user}127.0.0.1:{}", self.port)
    }

    /// Lines of configuration for a daemon that counts here. Machines that are busy with other tests answer late, which
    /// is not the fault these tests look for: a call may take two seconds.
    #[must_use]
    pub fn patient(&self) -> String {
        format!("[redis]\nurl = \"{}\"\ntimeout = \"2s\"\n", self.url())
    }

    /// The same with the time-out as it ships.
    #[must_use]
    pub fn quick(&self) -> String {
        format!("[redis]\nurl = \"{}\"\n", self.url())
    }

    /// A connection of the test's own.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn connect(&self) -> MultiplexedConnection {
        let client = Client::open(self.url()).expect("a URL");
        client.get_multiplexed_async_connection().await.expect("Redis answers")
    }

    /// Asks it something.
    ///
    /// # Panics
    /// When it refuses.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.connect().await).await.expect("Redis answers")
    }

    /// Forgets all it knows.
    pub async fn flush(&self) {
        let _: String = self.ask(&["FLUSHALL"]).await;
    }

    /// Halts it where it is.
    pub fn pause(&self) {
        halt(self.pid());
    }

    /// Lets it go on.
    pub fn resume(&self) {
        signal(self.pid(), Signal::CONT);
    }

    /// Kills it without warning, and returns when it is gone.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.end();
        }
    }

    fn pid(&self) -> i32 {
        self.server.as_ref().expect("the server runs").pid
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
