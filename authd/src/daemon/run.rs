//! From start to stop: sockets, jobs, signals, drain.

use crate::{
    admin,
    auth::{CheckpointPace, DATABASE, Flush},
    config::{Config, Loaded},
    daemon::{
        Daemon, Ports, StartError, anchor,
        control::{Health, Running},
        parts,
    },
    domain::audit::{Action, EventOutcome},
    http, jobs,
    lifecycle::{self, Inherited, Manager, Probe, Reload, Start},
    listener::{self, ListenerLimits},
    store,
    tasks::{Stop, StopCause, Tasks},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};
use tracing::{error, info, warn};

/// How long a stop may take before what is left is cut off: the drain, then the rest.
const STOP_DEADLINE: Duration = Duration::from_secs(12);
/// How long storage may take to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// Connections the kernel keeps until they are accepted (it takes no more than `net.core.somaxconn`).
const BACKLOG: u32 = 4_096;
/// Files the daemon may have open besides the connections of the public API and to its database: 64 connections on each
/// admin socket, what `SQLite` and the spool keep open, the way to Redis, files that are read now and then.
pub(super) const OWN_FILES: u32 = 240;
/// How often the anchor and the line for `systemctl status` follow.
const FOLLOW_PERIOD: Duration = Duration::from_secs(5);

/// Serves until it is told to stop.
///
/// # Errors
/// [`StartError`].
pub async fn run(start: Start) -> Result<(), StartError> {
    let Start { loaded, args, log, sockets } = start;
    let config = loaded.config.clone();
    make_data_dir(&config)?;
    let daemon = Arc::new(Daemon::build(&config, Ports::default()).await?);
    let Inherited { public, admin, read } = sockets;
    let public = bind(&loaded, public).await?;
    let listen = public.local_addr().map_err(|cause| internal("the public address cannot be read", &cause))?;
    let (trusted_proxies, uncounted) = watch::channel(config.server.trusted_proxies.clone());
    let running = Arc::new(Running {
        since_ms: daemon.auth.parts.clock.now_ms(),
        daemon: daemon.clone(),
        loaded: Mutex::new(loaded),
        args,
        log,
        trusted_proxies,
        listen,
    });
    let tasks = Arc::new(Tasks::new());
    admin::start(&admin::Options::new(&config), daemon.auth.clone(), running.clone(), (admin, read), &tasks)
        .map_err(|cause| StartError::Configuration(cause.to_string()))?;
    daemon.patience.take(|| check_anchor(&daemon, &config)).await?;
    let retention = ("retention", config.audit.retention.to_string());
    let detail = vec![("listen", listen.to_string()), retention];
    let started = daemon.auth.daemon_event(Action::DaemonStarted, EventOutcome::Ok, None, detail);
    daemon.patience.take(|| daemon.auth.note_once(&started)).await?;

    // Before anybody is served, whom a signal would cut off.
    lifecycle::watch_signals(&tasks, OnHangup(running)).map_err(|cause| internal("signals", &cause))?;
    let own = OWN_FILES.saturating_add(config.database.max_connections);
    let limits = ListenerLimits::new(&config.server, uncounted).within_open_files(own);
    tasks.spawn("public", listener::serve(public, daemon.router(), limits, tasks.stop()));
    jobs::start(&daemon.auth, &daemon.instance, &tasks);
    if let Some(shared) = daemon.shared_limits.clone() {
        let mut stop = tasks.stop();
        tasks.spawn("redis", async move {
            tokio::select! {
                () = stop.wait() => {}
                () = shared.watch() => {}
            }
        });
    }
    tasks.spawn("follow", follow(daemon.clone(), config.places.audit_anchor.clone(), listen, tasks.stop()));
    if let Some(interval) = lifecycle::watchdog_interval() {
        tasks.spawn("watchdog", lifecycle::feed_watchdog(interval, Turns(daemon.clone()), tasks.stop()));
    }
    info!(address = %listen, listener = "public", "listening");
    Manager.ready(&format!("serving on {listen}"));
    say_how_to_operate(&config);
    until_stopped(&daemon, &config, &tasks).await
}

async fn until_stopped(daemon: &Daemon, config: &Config, tasks: &Tasks) -> Result<(), StartError> {
    let mut stop = tasks.stop();
    stop.wait().await;
    Manager.stopping();
    let cause = stop.cause().unwrap_or(StopCause::Asked("end"));
    info!(%cause, "stopping: finishing requests in flight");
    let left = tasks.finish(STOP_DEADLINE).await;
    if !left.is_empty() {
        warn!(tasks = left.join(" "), "cut off at the deadline");
    }
    if let Err(fault) = daemon.auth.flush_denials(Flush::All).await {
        warn!(%fault, "refusals that were only counted are missing in the audit");
    }
    if let Err(fault) = note(daemon, Action::DaemonStopped, vec![("cause", cause.to_string())]).await {
        warn!(%fault, "the stop could not be recorded in the audit");
    }
    if let Err(fault) = daemon.auth.leave(&daemon.instance).await {
        warn!(%fault, "other instances will count this one for a few seconds more");
    }
    if let Err(fault) = daemon.auth.seal_events(1_000).await {
        warn!(%fault, "the last events are not sealed yet; the next start does it");
    }
    if let Err(fault) = jobs::checkpoint(&daemon.auth, CheckpointPace::Now).await {
        warn!(%fault, "the last events are not signed yet; the next start does it");
    }
    if let Err(fault) = jobs::tell_news(&daemon.auth).await {
        warn!(%fault, "the last events are in the audit alone");
    }
    if let Err(fault) = check_anchor(daemon, config).await {
        warn!(%fault, "the anchor is a few seconds behind");
    }
    if tokio::time::timeout(CLOSE_DEADLINE, daemon.close()).await.is_err() {
        warn!("storage did not close in time; nothing acknowledged is lost");
    }
    match cause {
        StopCause::Asked(_) => Ok(()),
        StopCause::TaskDied(name) => Err(StartError::Internal(format!(
            "the task {name} died: this is a bug; the daemon stops so that its service manager starts it afresh"
        ))),
    }
}

fn internal(what: &str, cause: &dyn std::fmt::Display) -> StartError {
    StartError::Internal(format!("{what}: {cause}"))
}

/// Made 0700: it holds the key-encryption key and the database.
fn make_data_dir(config: &Config) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let directory = &config.places.data_dir;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|cause| {
        StartError::Configuration(format!(
            "the data directory {} cannot be made: {cause}; choose another with --data-dir",
            directory.display()
        ))
    })
}

async fn bind(loaded: &Loaded, inherited: Option<std::net::TcpListener>) -> Result<TcpListener, StartError> {
    let address: SocketAddr = loaded.config.server.listen;
    let listener = match inherited {
        Some(listener) => {
            warn_of_two_addresses(loaded, listener.local_addr().ok());
            TcpListener::from_std(listener)
        }
        None => listen_on(address),
    };
    listener.map_err(|cause| {
        StartError::Configuration(format!("cannot listen on {address}: {cause}; choose another address with --listen"))
    })
}

/// Somebody who sets `server.listen` expects it to count.
fn warn_of_two_addresses(loaded: &Loaded, opened: Option<SocketAddr>) {
    let address = loaded.config.server.listen;
    if let (Some(opened), Some(origin)) = (opened, loaded.origins.get("server.listen"))
        && opened != address
    {
        warn!(
            %origin,
            "server.listen = {address} does not count, because the service manager opened {opened}: set ListenStream= \
             with `systemctl edit authd-public.socket`, or disable that unit"
        );
    }
}

/// As `TcpListener::bind`, with room for a burst of connections: the kernel forgets what does not fit, and the client
/// believes in a connection that nobody has.
fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn note(daemon: &Daemon, action: Action, detail: Vec<(&'static str, String)>) -> Result<(), StartError> {
    Ok(daemon.auth.note_daemon(action, EventOutcome::Ok, None, detail).await?)
}

async fn check_anchor(daemon: &Daemon, config: &Config) -> Result<(), StartError> {
    Ok(anchor::check(&daemon.auth, &config.places.audit_anchor).await?)
}

/// Moves the anchor and says in `systemctl status` how things are.
async fn follow(daemon: Arc<Daemon>, anchor_file: PathBuf, listen: SocketAddr, mut stop: Stop) {
    let mut timer = tokio::time::interval(FOLLOW_PERIOD);
    loop {
        tokio::select! {
            () = stop.wait() => return,
            _ = timer.tick() => {}
        }
        // A database that is away is said below, and by the jobs in the log.
        let _ = anchor::check(&daemon.auth, &anchor_file).await;
        let found = Health::new(daemon.auth.clone()).look().await.conditions.into_iter();
        let found: Vec<String> = found
            .map(|(condition, since_ms)| format!("{} since {}", condition.name(), shared::time::Timestamp(since_ms)))
            .collect();
        let status = if found.is_empty() { format!("serving on {listen}") } else { found.join("; ") };
        Manager.status(&status);
    }
}

/// The event loop turns and storage answers in time, if only with a refusal: a restart does not cure a database that
/// is away, and would take token verification down with it.
struct Turns(Arc<Daemon>);

impl Probe for Turns {
    async fn is_well(&self) -> bool {
        let _ = self.0.auth.parts.readiness.probe().await;
        true
    }
}

struct OnHangup(Arc<Running>);

impl Reload for OnHangup {
    async fn reload(&self) {
        Manager.reloading();
        match self.0.reload_for(None).await {
            Ok(reloaded) => {
                for problem in &reloaded.problems {
                    error!(key = problem.key, file = problem.file, line = problem.line, "{}", problem.message);
                }
            }
            Err(error) => error!(%error, "the configuration was not read again"),
        }
        Manager.ready(&format!("serving on {}", self.0.listen));
    }
}

/// For whoever started it by hand in a directory of its own.
fn say_how_to_operate(config: &Config) {
    if config.places.data_dir_is_given {
        println!("authctl --socket {} status", config.places.admin_socket.display());
    }
}

/// Brings the database to this version's schema.
///
/// # Errors
/// [`StartError`].
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    make_data_dir(config)?;
    let ports = Ports::default();
    let circuit = parts::circuit(DATABASE, config, &ports);
    store::open(parts::store_options(config, &ports, circuit)).await?;
    info!("the database has this version's schema");
    Ok(())
}

/// The OpenAPI document of the public API.
#[must_use]
pub fn openapi() -> serde_json::Value {
    http::openapi_document()
}
