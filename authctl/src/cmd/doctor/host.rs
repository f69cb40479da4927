//! What this machine shows: sockets, programs of the same name, the clock.

use nix::unistd::Group;
use shared::admin::doctor::Check;
use std::{
    fs::Metadata,
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// Where another daemon of this name is known to be.
const OTHERS: [&str; 2] = ["/usr/share/doc/authd", "/usr/libexec/authd"];
/// How long a program that tells of the clock may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A socket as it is found.
struct Found {
    is_socket: bool,
    mode: u32,
    gid: u32,
    /// Whether everybody gets to it; `None`: it lies in the daemon's own directory, for its own user.
    is_reachable: Option<bool>,
}

/// Whether a socket is open to its group and to nobody else.
pub(super) fn socket(check: &str, path: &str, groups: &[String], data_dir: &str) -> Check {
    let file = Path::new(path);
    let found = std::fs::symlink_metadata(file).map(|meta| found(file, &meta, Path::new(data_dir)));
    let group = groups.first().map(|name| (name.as_str(), gid_of(name)));
    judge_socket(check, path, found, group)
}

fn found(file: &Path, meta: &Metadata, data_dir: &Path) -> Found {
    let directory = file.parent().filter(|directory| *directory != data_dir);
    let is_open = |directory: &Path| std::fs::metadata(directory).is_ok_and(|meta| meta.mode() & 0o001 != 0);
    Found {
        is_socket: meta.file_type().is_socket(),
        mode: meta.mode() & 0o777,
        gid: meta.gid(),
        is_reachable: directory.map(is_open),
    }
}

fn gid_of(name: &str) -> Option<u32> {
    let by_name = || Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    name.parse().ok().or_else(by_name)
}

fn judge_socket(check: &str, path: &str, found: io::Result<Found>, group: Option<(&str, Option<u32>)>) -> Check {
    let found = match found {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Check::warn(check, format!("{path} cannot be looked at: {error}"), "run doctor as root");
        }
        Err(error) => {
            let fix = "systemctl restart authd-admin.socket authd-read.socket authd";
            return Check::bad(check, format!("{path}: {error}"), fix);
        }
    };
    if !found.is_socket {
        return Check::bad(
            check,
            format!("{path} is no socket"),
            format!("look at it, remove it, and restart authd: {path}"),
        );
    }
    if found.mode & 0o007 != 0 {
        return Check::bad(
            check,
            format!("{path} has mode {:04o}: everybody can connect to it", found.mode),
            format!("chmod 0660 {path}"),
        );
    }
    if found.mode & 0o660 != 0o660 {
        return Check::bad(
            check,
            format!("{path} has mode {:04o}: its group cannot connect", found.mode),
            format!("chmod 0660 {path}"),
        );
    }
    match group {
        Some((name, Some(gid))) if gid != found.gid => Check::bad(
            check,
            format!("{path} belongs to group {}, not to {name}: its members cannot connect", found.gid),
            format!("chgrp {name} {path}, or restart the socket unit"),
        ),
        _ if found.is_reachable == Some(false) => Check::bad(
            check,
            format!("the directory of {path} lets only its owner through"),
            "chmod 0755 the directory; its sockets keep others out",
        ),
        _ => Check::ok(check, format!("{path} has mode {:04o}", found.mode)),
    }
}

/// Whether the program that runs is the one that would be started.
pub(super) fn program(pid: u32) -> Check {
    const NAME: &str = "program";
    let Ok(running) = std::fs::read_link(format!("/proc/{pid}/exe")) else {
        return Check::ok(NAME, format!("process {pid}; which program it runs is root's to see"));
    };
    let shown = running.display().to_string();
    if shown.ends_with(" (deleted)") {
        let fix = "systemctl restart authd, to run the program that is installed now";
        return Check::warn(NAME, format!("process {pid} runs {shown}: it was replaced since"), fix);
    }
    match others_in_path(&running).first() {
        None => Check::ok(NAME, shown),
        Some(other) => Check::warn(
            NAME,
            format!("{shown} runs, and {} is another program of that name", other.display()),
            format!("see which is which with: {} --version", other.display()),
        ),
    }
}

/// Programs called authd that are another file than the one that runs.
fn others_in_path(running: &Path) -> Vec<PathBuf> {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let own = identity(running);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/libexec")]);
    let mut found: Vec<PathBuf> = places
        .map(|directory| directory.join("authd"))
        .filter(|file| file.is_file() && identity(file) != own)
        .collect();
    found.dedup();
    found
}

/// Whether another daemon of the same name is installed: Ubuntu's authd is one.
pub(super) fn other_daemon() -> Check {
    judge_others(&OTHERS.map(|path| (path, Path::new(path).exists())))
}

fn judge_others(found: &[(&str, bool)]) -> Check {
    match found.iter().find(|(_, exists)| *exists) {
        None => Check::ok("other authd", "no other daemon of this name is installed"),
        Some((path, _)) => Check::bad(
            "other authd",
            format!("{path}: another daemon called authd is installed, and its unit has the same name"),
            "remove one of the two: apt remove authd, or this one",
        ),
    }
}

/// Whether the clock of this machine is kept right.
pub(super) async fn time_synchronised() -> Check {
    let ask = || {
        let mut ask = std::process::Command::new("timedatectl");
        ask.args(["show", "--property=NTPSynchronized", "--value"]).stdin(std::process::Stdio::null()).output()
    };
    // One that hangs is left behind with its thread when this program ends.
    let told = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(ask)).await;
    let told = told.ok().and_then(Result::ok).and_then(Result::ok).filter(|output| output.status.success());
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    judge_time(told.as_deref(), Path::new("/run/systemd/timesync/synchronized").exists())
}

fn judge_time(told: Option<&str>, is_marked: bool) -> Check {
    match told {
        Some("yes") => Check::ok("time", "synchronised"),
        _ if is_marked => Check::ok("time", "synchronised"),
        Some(_) => Check::warn("time", "the clock of this machine is not synchronised", "timedatectl set-ntp true"),
        None => Check::warn(
            "time",
            "timedatectl does not tell whether the clock is synchronised",
            "make sure of it: tokens and limits go by the clock",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::admin::doctor::Verdict;

    fn judged(mode: u32, gid: u32, is_socket: bool, is_reachable: Option<bool>) -> Verdict {
        let found = Found { is_socket, mode, gid, is_reachable };
        judge_socket("admin socket", "/s", Ok(found), Some(("authd-admin", Some(7)))).result
    }

    #[test]
    fn a_socket_is_for_its_group_and_for_nobody_else() {
        assert_eq!(judged(0o660, 7, true, Some(true)), Verdict::Ok);
        assert_eq!(judged(0o660, 7, true, None), Verdict::Ok);
        assert_eq!(judged(0o666, 7, true, None), Verdict::Bad);
        assert_eq!(judged(0o600, 7, true, None), Verdict::Bad);
        assert_eq!(judged(0o660, 0, true, None), Verdict::Bad);
        assert_eq!(judged(0o660, 7, false, None), Verdict::Bad);
        assert_eq!(judged(0o660, 7, true, Some(false)), Verdict::Bad);
        let denied = Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(judge_socket("x", "/s", denied, None).result, Verdict::Warn);
        let absent = Err(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(judge_socket("x", "/s", absent, None).result, Verdict::Bad);
    }

    #[test]
    fn another_daemon_of_the_name_is_noticed() {
        assert_eq!(judge_others(&[("/a", false), ("/b", false)]).result, Verdict::Ok);
        assert_eq!(judge_others(&[("/a", false), ("/b", true)]).result, Verdict::Bad);
    }

    #[test]
    fn a_clock_is_synchronised_by_word_or_by_mark() {
        let judged = |told, is_marked| judge_time(told, is_marked).result;
        assert_eq!((judged(Some("yes"), false), judged(None, true)), (Verdict::Ok, Verdict::Ok));
        assert_eq!((judged(Some("no"), false), judged(None, false)), (Verdict::Warn, Verdict::Warn));
    }
}
