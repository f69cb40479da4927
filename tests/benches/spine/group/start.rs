//! Time from the start of the process to `READY=1`, as a service manager sees it.

use crate::{
    group::{Bench, Kind},
    measure::times,
    subject::{Audit, options},
    table::{Aim, Figure, Row, Section},
};
use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tests::{daemon::Daemon, options::Options, process::signal};

const STARTS: usize = 10;
const FIRST_STARTS: usize = 3;
const AIM: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures.
pub(crate) async fn measure(bench: Bench) -> Vec<Section> {
    let dir = TempDir::new().expect("a temporary directory");
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket in our own directory");
    manager.set_read_timeout(Some(PATIENCE)).expect("sockets take time-outs");
    let told = socket.to_string_lossy().into_owned();
    let options = options(bench.database(Kind::Sqlite).await, Audit::Changes).env("NOTIFY_SOCKET", &told);
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..FIRST_STARTS {
        let data = TempDir::new().expect("a temporary directory");
        first.push(ready(&options, data.path(), &manager));
        for _ in 0..STARTS.div_ceil(FIRST_STARTS) {
            again.push(ready(&options, data.path(), &manager));
        }
    }
    let row = |what: &str, all: &[Duration]| {
        let times = times(all.iter().copied());
        Row::figures(what, Figure::Time(times.p50), "aim", Figure::Time(AIM)).times(times)
    };
    let rows = vec![row("migrations done", &again).aim(Aim::AtMost(1.0)), row("first start: schema, keys", &first)];
    vec![Section { title: "exec to ready, SQLite (p99: the slowest)".to_owned(), rows }]
}

/// Starts a daemon in `data`, waits until it says it is ready, and stops it.
fn ready(options: &Options, data: &Path, manager: &UnixDatagram) -> Duration {
    let begin = Instant::now();
    let (mut running, log) = Daemon::launch(options, data, None);
    let mut buffer = [0; 1_024];
    loop {
        let count = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("not ready: {error}\n{}", log.text()));
        let said = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
        if said.lines().any(|line| line == "READY=1") {
            break;
        }
    }
    let took = begin.elapsed();
    signal(running.pid(), rustix::process::Signal::TERM);
    running.wait(PATIENCE);
    took
}
