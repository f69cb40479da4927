//! The daemon's parts inside the test: the same storage, use cases, router and listener, on a clock that the test
//! moves.
//!
//! The jobs do not run by themselves; [`InProcess::turn_jobs`] gives each of them one turn.

use crate::{
    client::Client,
    clock::TestClock,
    daemon::new_kek,
    options::{Database, Options},
};
use authd::{
    config::{Account, Args, Config},
    daemon::{Daemon, Ports},
    domain::clock::{OsRandom, Random},
    listener::{ListenerLimits, serve},
    tasks::{StopCause, Tasks},
};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch};

/// A daemon in the test's own process.
pub struct InProcess {
    /// Its time.
    pub clock: Arc<TestClock>,
    /// Its parts.
    pub daemon: Daemon,
    client: Client,
    tasks: Tasks,
    options: Options,
    // Dropped last: the database lives in it.
    dir: Arc<TempDir>,
}

impl InProcess {
    /// Starts one with the system's randomness.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(options: Options) -> Self {
        Self::start_with(options, Arc::new(OsRandom)).await
    }

    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(options: Options, random: Arc<dyn Random>) -> Self {
        let dir = tempfile::Builder::new().prefix("authd-").tempdir().expect("a temporary directory");
        if let Database::Postgres(_) = &options.database {
            drop(new_kek(dir.path()));
        }
        Self::start_in(Arc::new(dir), options, Arc::new(TestClock::default()), random).await
    }

    /// Another instance on the same database and the same clock, with the same key-encryption key.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn second(&self) -> Self {
        Self::start_in(self.dir.clone(), self.options.clone(), self.clock.clone(), Arc::new(OsRandom)).await
    }

    async fn start_in(dir: Arc<TempDir>, options: Options, clock: Arc<TestClock>, random: Arc<dyn Random>) -> Self {
        let config = configuration(&options, &dir);
        let ports = Ports { clock: clock.clone(), random };
        let daemon = Daemon::build(&config, ports).await.unwrap_or_else(|error| panic!("it does not start: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback interface");
        let client = Client::new(listener.local_addr().expect("a bound socket has an address"));
        let tasks = Tasks::new();
        let (_, trusted) = watch::channel(config.server.trusted_proxies.clone());
        let limits = ListenerLimits::new(&config.server, trusted);
        tasks.spawn("public", serve(listener, daemon.router(), limits, tasks.stop()));
        Self { clock, daemon, client, tasks, options, dir }
    }

    /// A client of its public API.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client
    }

    /// Its database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.options.database
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Gives every job a turn.
    ///
    /// # Panics
    /// When one fails.
    pub async fn turn_jobs(&self) {
        let auth = &self.daemon.auth;
        auth.poll_settings().await.expect("settings");
        auth.follow_openings().await.expect("openings");
        auth.poll_revocations().await.expect("revocations");
        auth.poll_alarms().await.expect("alarms");
        auth.beat(&self.daemon.instance).await.expect("keys");
        auth.seal_events(1_000).await.expect("seal");
        auth.sweep(1_000).await.expect("sweep");
        auth.forget_sessions(1_000).await.expect("past");
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.tasks.ask_to_stop(StopCause::Asked("the end of the test"));
    }
}

fn configuration(options: &Options, dir: &TempDir) -> Config {
    let etc = dir.path().join("etc");
    options.write(&etc).expect("the test's directory can be written");
    let mut args = Args::new(Account::Other, []);
    args.file = Some(etc.join("authd.toml"));
    args.data_dir = Some(dir.path().to_owned());
    args.listen = Some("127.0.0.1:0".to_owned());
    args.environment.extend(options.env.iter().cloned());
    if let Database::Postgres(url) = &options.database {
        let kek = dir.path().join("kek").to_string_lossy().into_owned();
        args.environment.insert("AUTHD_KEY__ENCRYPTION_KEY".to_owned(), kek);
        args.environment.insert("AUTHD_DATABASE__URL".to_owned(), url.clone());
    }
    Config::load(&args).unwrap_or_else(|problems| panic!("{problems:?}")).config
}
