//! Signals, readiness, watchdog and the sockets of the service manager.

use crate::{
    config::{Args, Loaded},
    log::LogHandle,
    sys,
    tasks::{Stop, StopCause, Tasks},
};
use sd_notify::NotifyState;
use std::{
    future::Future,
    io,
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixListener},
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, timeout},
};

/// What the daemon is started with.
pub struct Start {
    /// The configuration.
    pub loaded: Loaded,
    /// Where it was read from: a reload reads it again.
    pub args: Args,
    /// The log, which is running.
    pub log: LogHandle,
    /// Sockets from the service manager.
    pub sockets: Inherited,
}

/// Listening sockets that the service manager opened, by their `FileDescriptorName=`.
#[derive(Debug, Default)]
pub struct Inherited {
    /// `public`.
    pub public: Option<TcpListener>,
    /// `admin`.
    pub admin: Option<UnixListener>,
    /// `read`.
    pub read: Option<UnixListener>,
}

/// Takes over the passed sockets (`sd_listen_fds_with_names(3)`). Call it once, before anything else opens files.
///
/// # Errors
/// A name that is not one of ours, a second socket of the same name, or a descriptor that is no socket of its kind:
/// the daemon must not start and leave a socket that nobody answers.
pub fn inherited() -> io::Result<Inherited> {
    let mut sockets = Inherited::default();
    for (number, name) in sd_notify::listen_fds_with_names()? {
        sockets.put(&name, sys::adopt(number)?)?;
    }
    Ok(sockets)
}

impl Inherited {
    fn put(&mut self, name: &str, fd: OwnedFd) -> io::Result<()> {
        let family = family(&fd)?;
        let is_unix = family == Some(nix::sys::socket::AddressFamily::Unix);
        let taken = match name {
            "public" if !is_unix => {
                let listener = TcpListener::from(fd);
                listener.set_nonblocking(true)?;
                self.public.replace(listener).is_some()
            }
            "admin" | "read" if is_unix => {
                let listener = UnixListener::from(fd);
                listener.set_nonblocking(true)?;
                let place = if name == "admin" { &mut self.admin } else { &mut self.read };
                place.replace(listener).is_some()
            }
            "public" | "admin" | "read" => return Err(io::Error::other(format!("socket {name} is of the wrong kind"))),
            _ => {
                let message = "the service manager passed a socket that is not named public, admin or read";
                return Err(io::Error::other(message));
            }
        };
        if taken { Err(io::Error::other(format!("two sockets are named {name}"))) } else { Ok(()) }
    }
}

fn family(fd: &OwnedFd) -> io::Result<Option<nix::sys::socket::AddressFamily>> {
    use nix::sys::socket::{SockaddrLike as _, SockaddrStorage, getsockname};
    use std::os::fd::AsRawFd as _;
    Ok(getsockname::<SockaddrStorage>(fd.as_raw_fd())?.family())
}

/// Tells the service manager how things are (`sd_notify(3)`); nothing happens where there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manager;

impl Manager {
    /// Started, or reloaded: requests are answered.
    pub fn ready(self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// A reload begins; [`Self::ready`] ends it. `Type=notify-reload` wants the time it began.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(began) => self.tell(&[NotifyState::Reloading, began]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// The drain begins.
    pub fn stopping(self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("finishing requests in flight")]);
    }

    /// One line for `systemctl status`.
    pub fn status(self, status: &str) {
        self.tell(&[NotifyState::Status(&one_line(status))]);
    }

    fn watchdog(self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(self, state: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(state) {
            tracing::warn!(%error, "cannot tell the service manager");
        }
    }
}

/// A line break would start a further assignment.
fn one_line(status: &str) -> String {
    status.replace(char::is_control, " ")
}

/// What the daemon does when it is asked to read its configuration again.
pub trait Reload: Send + Sync + 'static {
    /// Reads, compares, puts into force; logs and audits what came of it.
    fn reload(&self) -> impl Future<Output = ()> + Send;
}

/// Heeds SIGTERM and SIGINT (stop) and SIGHUP (reload) until the daemon stops.
///
/// # Errors
/// When the process cannot handle signals.
pub fn watch_signals(tasks: &Arc<Tasks>, reload: impl Reload) -> io::Result<()> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let asked = Arc::clone(tasks);
    tasks.spawn("signals", async move {
        let mut stop = asked.stop();
        let cause = tokio::select! {
            () = stop.wait() => return,
            cause = stop_signal(terminate, interrupt) => cause,
            () = reload_signals(hangup, &reload) => return,
        };
        asked.ask_to_stop(cause);
    });
    Ok(())
}

async fn stop_signal(mut terminate: Signal, mut interrupt: Signal) -> StopCause {
    tokio::select! {
        _ = terminate.recv() => StopCause::Asked("SIGTERM"),
        _ = interrupt.recv() => StopCause::Asked("SIGINT"),
    }
}

async fn reload_signals(mut hangup: Signal, reload: &impl Reload) {
    // Signals that arrive during a reload are one further reload.
    while hangup.recv().await.is_some() {
        reload.reload().await;
    }
}

/// Whether the daemon does its work: the event loop turns and the database answers.
pub trait Probe: Send + Sync + 'static {
    /// A quick look; being slow counts as a no.
    fn is_well(&self) -> impl Future<Output = bool> + Send;
}

/// The service manager's watchdog, if it has set one (`WatchdogSec=`).
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Feeds the watchdog as long as the probe answers well; a daemon that hangs is then restarted.
///
/// It is fed three times an interval, so that a drain after the last time fits in as well.
pub async fn feed_watchdog(interval: Duration, probe: impl Probe, mut stop: Stop) {
    let pause = interval / 3;
    loop {
        match timeout(pause, probe.is_well()).await {
            Ok(true) => Manager.watchdog(),
            Ok(false) | Err(_) => tracing::warn!("not well: the watchdog is not fed"),
        }
        tokio::select! {
            () = stop.wait() => break,
            () = sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn passed_sockets_are_told_by_name_and_kind() {
        let directory = tempfile::tempdir().unwrap();
        let unix = |name: &str| OwnedFd::from(UnixListener::bind(directory.path().join(name)).unwrap());
        let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let mut sockets = Inherited::default();
        sockets.put("public", tcp()).unwrap();
        sockets.put("admin", unix("admin")).unwrap();
        sockets.put("read", unix("read")).unwrap();
        assert!(sockets.public.is_some() && sockets.admin.is_some() && sockets.read.is_some());
        assert!(sockets.put("public", tcp()).is_err(), "two of one name");
        assert!(sockets.put("unknown", tcp()).is_err(), "a strange name");
        assert!(Inherited::default().put("admin", tcp()).is_err(), "an admin API on the network");
        assert!(Inherited::default().put("public", unix("public")).is_err());
        let (stream, _other) = UnixStream::pair().unwrap();
        assert!(Inherited::default().put("public", OwnedFd::from(stream)).is_err());
    }

    #[test]
    fn the_socket_units_use_the_names_that_are_looked_for() {
        let directory = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd"));
        for name in ["public", "admin", "read"] {
            let unit = std::fs::read_to_string(directory.join(format!("authd-{name}.socket"))).unwrap();
            assert!(unit.contains(&format!("\nFileDescriptorName={name}\n")), "{unit}");
        }
        let service = std::fs::read_to_string(directory.join("authd.service")).unwrap();
        assert!(
            !service.contains("\nPrivateUsers=") && !service.contains("\nRuntimeDirectory="),
            "see the unit's comments"
        );
    }

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("a\nMAINPID=1"), "a MAINPID=1");
    }

    struct Nothing;

    impl Reload for Nothing {
        async fn reload(&self) {}
    }

    #[tokio::test]
    async fn the_signal_task_ends_with_the_daemon() {
        let tasks = Arc::new(Tasks::new());
        watch_signals(&tasks, Nothing).unwrap();
        tasks.ask_to_stop(StopCause::Asked("test"));
        assert_eq!(tasks.finish(Duration::from_secs(1)).await, Vec::<&str>::new());
    }
}
