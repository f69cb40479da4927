//! A small Debian with a systemd of its own, booted in a container: commands inside, its files, its network.

use crate::{
    ctl::Ran,
    process::{Running, children},
};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// For the machine to come up, on a host that is busy too.
const BOOT: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(100);

/// A running machine. It needs root, and `systemd-nspawn`; the host need not run systemd.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    supervisor: Running,
    leader: i32,
}

impl Machine {
    /// Boots a copy of the root directory `base` in `root`, which must not exist yet, without a network but its own
    /// loopback.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn boot(base: &Path, root: &Path) -> Self {
        let copied = Command::new("cp").args(["--archive", "--reflink=auto"]).arg(base).arg(root).status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy {}", base.display());
        let (supervisor, leader) = start(root);
        let machine = Self { root: root.to_owned(), supervisor, leader };
        machine.until_up();
        machine
    }

    /// Shuts it down as `reboot` does, and boots it again.
    ///
    /// # Panics
    /// When it does not go down or come up.
    pub fn reboot(&mut self) {
        let _ = self.run("systemctl reboot");
        self.supervisor.wait(BOOT);
        remove_groups();
        (self.supervisor, self.leader) = start(&self.root);
        self.until_up();
    }

    fn until_up(&self) {
        self.until(BOOT, "systemctl is-system-running", |state| ["running", "degraded"].contains(&state));
    }

    /// Runs a line of shell as root.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, line: &str) -> Ran {
        inside(self.leader, line)
    }

    /// Runs a line of shell as root, which must succeed; its output.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{line}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Runs a program as somebody, with the groups they have when they log in.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run_as(&self, user: &str, line: &str) -> Ran {
        self.run(&format!("runuser -u {user} -- {line}"))
    }

    /// Asks a line of shell again and again until its output is right.
    ///
    /// # Panics
    /// When it was not within `limit`.
    #[track_caller]
    pub fn until(&self, limit: Duration, line: &str, is_right: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + limit;
        loop {
            let ran = self.run(line);
            if is_right(ran.stdout.trim()) {
                return ran.stdout;
            }
            assert!(Instant::now() < end, "in vain for {limit:?}: {line}: {}{}", ran.stdout, ran.stderr);
            thread::sleep(PAUSE);
        }
    }

    /// Where a file of the machine is on the host.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// Writes a file of root's.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("root may write");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Runs `work` on a thread in the machine's network.
    ///
    /// # Panics
    /// When `work` does.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.leader)).expect("the machine runs");
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter");
                work()
            });
            inside.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With its first process the kernel ends all others of a machine.
        if let Some(leader) = Pid::from_raw(self.leader) {
            let _ = kill_process(leader, Signal::KILL);
        }
        self.supervisor.wait(Duration::from_secs(20));
        remove_groups();
        if thread::panicking() {
            println!("the machine's root is left for a look: {}", self.root.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.root);
            let _ = std::fs::remove_file(self.root.with_extension("console"));
        }
    }
}

/// The container, and its first process.
fn start(root: &Path) -> (Running, i32) {
    let console = File::options().create(true).append(true).open(root.with_extension("console"));
    let console = console.expect("the directory of the root can be written");
    let mut command = Command::new("systemd-nspawn");
    command.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--private-network", "--machine=authd-test"]);
    command.arg("--directory").arg(root).stdin(Stdio::null());
    command.stdout(console.try_clone().expect("a file can be shared")).stderr(console);
    let mut supervisor = Running::start(&mut command);
    let end = Instant::now() + BOOT;
    loop {
        let ended = supervisor.poll();
        assert!(ended.is_none() && Instant::now() < end, "no boot ({ended:?}): see {}.console", root.display());
        if let Some(leader) = children(supervisor.pid()).into_iter().find(|pid| is_init(*pid)) {
            return (supervisor, leader);
        }
        thread::sleep(PAUSE);
    }
}

/// The control groups that a machine leaves behind, beside that of this process. Those that are in use stay.
fn remove_groups() {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own: Vec<&str> = own.lines().filter_map(|line| line.rsplit(':').next()).collect();
    for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
        for group in ["payload", "supervisor"] {
            own.iter()
                .for_each(|own| remove_group(&Path::new(hierarchy).join(own.trim_start_matches('/')).join(group)));
        }
    }
}

fn remove_group(group: &Path) {
    for inner in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&inner.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}

/// Whether a process is the first of a machine: the last of its ids is 1.
fn is_init(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("NSpid:") && line.split_whitespace().next_back() == Some("1"))
}

fn inside(leader: i32, line: &str) -> Ran {
    let mut command = Command::new("nsenter");
    command.args(["--target", &leader.to_string(), "--all", "--wd=/", "/bin/sh", "-c", line]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8").env("HOME", "/root");
    let output = command.current_dir("/").stdin(Stdio::null()).output().expect("nsenter can be started");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
