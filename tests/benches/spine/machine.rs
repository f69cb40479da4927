//! What the figures were measured on.

use crate::bare::{hash, sqlite};
use std::{fs, path::Path, process::Command};
use tests::process::program;

/// Prints machine, versions and settings.
pub(crate) async fn describe() {
    let memory_mib = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let memory_gib = memory_mib.map_or(0.0, |kib| kib as f64 / 1_048_576.0);
    let (memory_kib, passes, lanes) = hash::COST;
    println!("authd: how near it comes to what bounds it");
    println!(
        "machine   {} cores of {}, {memory_gib:.0} GiB; shared by daemon, database and client",
        hash::workers(),
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unknown processor".to_owned()),
    );
    let busy: f64 = line("/proc/loadavg").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    if busy > 0.5 {
        println!("          other work runs here (load {busy}): do not trust the figures");
    }
    println!("system    Linux {}; data in {}", line("/proc/sys/kernel/osrelease"), file_system(&std::env::temp_dir()));
    println!("versions  {}, {}, SQLite {}", said("authd", &program("authd")), postgres(), sqlite::version().await);
    println!(
        "settings  Argon2id m={memory_kib} KiB t={passes} p={lanes}; SQLite WAL synchronous=FULL, 4 readers; \
         PostgreSQL fsync=on, pool of 16;\n          limits off; log at `info` into a file"
    );
}

fn postgres() -> String {
    let dir = std::env::var("PG_BIN").ok();
    let server = dir.map_or_else(|| "postgres".into(), |dir| Path::new(&dir).join("postgres"));
    let text = said("PostgreSQL", &server);
    text.replace("postgres (PostgreSQL)", "PostgreSQL")
}

fn said(name: &str, program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    output.map_or_else(|_| name.to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The first `name: value` of a file in `/proc`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// Type and device of the file system that holds `dir`: fsync in memory would be no limit.
fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let fields = |line: &str| -> Option<(usize, String)> {
        let mut parts = line.split(' ');
        let (device, at, kind) = (parts.next()?, parts.next()?, parts.next()?);
        dir.starts_with(at).then(|| (at.len(), format!("{kind} on {device}")))
    };
    let deepest = mounts.lines().filter_map(fields).max_by_key(|(length, _)| *length);
    deepest.map_or_else(|| "an unknown file system".to_owned(), |(_, text)| text)
}
