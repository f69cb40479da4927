//! Programs the tests start: where they are, signals by process id, and an end that is always waited for.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

/// The program `name` that was built with the tests.
///
/// # Panics
/// When it was not built: `tests/run` builds the programs first.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its own path");
    // target/<profile>/deps/it-…  →  target/<profile>/authd
    let found = test.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("no program `{name}` beside {}: run tests/run, or `cargo build --workspace --bins`", test.display())
    })
}

/// Sends a signal to a process this test started.
///
/// # Panics
/// When there is no such process.
pub fn signal(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process id is above zero");
    kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal process {pid:?}: {error}"));
}

/// Halts a process this test started, and returns when it stands still.
///
/// # Panics
/// When there is no such process, or it does not halt within seconds.
pub fn halt(pid: i32) {
    signal(pid, Signal::STOP);
    until_still(pid);
}

/// Waits until every thread of a halted process stands still: the kernel stops them one by one, after the signal was
/// sent. A process that is gone stands still.
///
/// # Panics
/// When it does not halt within seconds.
pub(crate) fn until_still(pid: i32) {
    until_states(pid, &['T', 'Z', 'X']);
}

/// Waits until a killed process is gone, up to what its parent has to ask for.
///
/// # Panics
/// When it is not within seconds.
pub(crate) fn until_gone(pid: i32) {
    until_states(pid, &['Z', 'X']);
}

fn until_states(pid: i32, wanted: &[char]) {
    let end = Instant::now() + Duration::from_secs(5);
    while !is_all(pid, wanted) {
        assert!(Instant::now() < end, "process {pid} is not in one of the states {wanted:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_all(pid: i32, wanted: &[char]) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let state = |stat: &str| stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok())
        .all(|stat| state(&stat).is_some_and(|state| wanted.contains(&state)))
}

/// Process ids whose parent is `pid`.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    let parent_of = |stat: &str| -> Option<i32> {
        // The name may hold spaces and brackets; what follows its last bracket is plain (proc_pid_stat(5)).
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let entries = std::fs::read_dir("/proc").expect("/proc is there");
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
        .filter(|child| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            parent_of(&stat) == Some(pid)
        })
        .collect()
}

/// How many times slower than alone a program may run now: one for a machine with no more than two runnable tasks for
/// each processor, now and over the last minute (`/proc/loadavg`), more for one that others keep busy.
#[must_use]
pub fn crowding() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let field = |at| load.split([' ', '/']).nth(at).and_then(|number| number.parse::<f64>().ok()).unwrap_or_default();
    let (minute, now) = (field(0), field(3));
    let load = minute.max(now);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (load / (2.0 * processors as f64)).max(1.0)
}

/// A bound for a machine that others leave alone, on the machine as it is.
#[must_use]
pub fn crowded(bound: Duration) -> Duration {
    bound.mul_f64(crowding())
}

/// Memory a process holds, in KiB (`VmRSS`).
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn resident_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a running process has VmRSS");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// How many descriptors a process has open.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}

/// How many threads a process has.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn threads(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").count()
}

/// How many connections to a port of the loopback interface the server's side has not closed yet.
///
/// # Panics
/// When the kernel does not tell.
#[must_use]
pub fn connections_to(port: u16) -> usize {
    const LISTENING: &str = "0A";
    const TIME_WAIT: &str = "06";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc is there");
    let local = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter(|fields| fields[1].ends_with(&local) && ![LISTENING, TIME_WAIT].contains(&fields[3])).count()
}

/// A child process that is killed and waited for when the test lets go of it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts `command`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, ended: None }
    }

    /// Its process id.
    ///
    /// # Panics
    /// Never on Linux, where ids fit.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids are below 2^22")
    }

    /// Its streams, to be taken once.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it did.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.poll() {
                return status;
            }
            assert!(Instant::now() < end, "process {} did not end within {limit:?}", self.pid());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it, if it still runs, and waits.
    pub fn kill(&mut self) {
        if self.poll().is_none() {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A file that only its owner may read.
///
/// # Panics
/// When it cannot be written.
pub fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("the test's directory can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400)).expect("its owner may restrict it");
}
