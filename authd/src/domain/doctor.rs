//! What a daemon can tell of its own health: facts about its process, its configuration and what it depends on, judged
//! one by one. What is bad or could be better comes with what to do.

use ipnet::IpNet;
use shared::admin::doctor::Check;
use std::net::SocketAddr;

/// Memory of everything but the hashes, in bytes: the budget of the whole is 512 MiB.
const REST_BYTES: u64 = 128 << 20;
/// Below it no database goes on for long, in bytes.
const DISK_BAD_BYTES: u64 = 100 << 20;
/// Below it somebody should look.
const DISK_WARN_BYTES: u64 = 1 << 30;
/// How far two clocks may be apart before tokens suffer, in milliseconds.
const CLOCK_WARN_MS: u64 = 2_000;
const CLOCK_BAD_MS: u64 = 30_000;
/// A backup that is older is too old, in days.
const BACKUP_DAYS: i64 = 7;
const DAY_MS: i64 = 86_400_000;
/// The public address when nobody has said one.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8480";

/// The file with the key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Where.
    pub path: String,
    /// Its permission bits; `None`: it cannot be looked at.
    pub mode: Option<u32>,
    /// Whether the service manager made it, with modes of its own.
    pub is_credential: bool,
}

/// The file that says how far the audit has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorFile {
    /// Where.
    pub path: String,
    /// How long ago it was written, in milliseconds; `None`: there is none.
    pub age_ms: Option<i64>,
    /// Whether it lies in the directory of the database, and is lost and restored with it.
    pub is_beside_database: bool,
}

/// When the database was last backed up through authd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backup {
    /// Nobody can tell: the audit log does not answer.
    Unknown,
    /// Never.
    Never,
    /// Then, Unix milliseconds.
    At(i64),
}

/// Room on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Left to the daemon.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// The limiter that instances share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redis {
    /// None is configured.
    Off,
    /// It does not answer.
    Away,
    /// `maxmemory-policy`; `None`: it does not tell.
    Up(Option<String>),
}

/// Where the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// Whether a service manager waits for word from it.
    pub is_notifying: bool,
    /// Whether it is restarted when it hangs.
    pub has_watchdog: bool,
    /// Whether standard error is the journal.
    pub is_journal: bool,
}

/// Everything that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// This machine's time, Unix milliseconds.
    pub now_ms: i64,
    /// The database's; `None`: it does not answer.
    pub database_ms: Option<i64>,
    /// By how much a clock jumped, if it is not believed.
    pub clock_step_ms: Option<i64>,
    /// `/proc/self/uid_map`; `None`: it cannot be read.
    pub uid_map: Option<String>,
    /// Least limit of the control groups around the process, in bytes; `None`: there is none.
    pub memory_limit_bytes: Option<u64>,
    /// Threads that hash.
    pub hash_workers: u64,
    /// Memory of one hash in KiB.
    pub hash_memory_kib: u64,
    /// Bound on open files; `None`: there is none.
    pub open_files: Option<u64>,
    /// Files that the configured connections need.
    pub wanted_files: u64,
    /// `sqlite` or `postgres`.
    pub database_kind: &'static str,
    /// Settings of the database that decide what outlasts a crash; empty: it does not answer.
    pub database_settings: Vec<(String, String)>,
    /// The limiter that instances share.
    pub redis: Redis,
    /// Whose headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What clients reach it by.
    pub public_url: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether cheap hashing is permitted.
    pub is_test_mode: bool,
    /// Whether the page about the API is served.
    pub has_docs: bool,
    /// The key-encryption key.
    pub key_file: KeyFile,
    /// How far the audit has come.
    pub anchor: AnchorFile,
    /// The last backup.
    pub backup: Backup,
    /// Room in the data directory.
    pub room: Option<Room>,
    /// `log.format`.
    pub log_format: &'static str,
    /// Where the process runs.
    pub service: Service,
    /// Configured groups that do not exist.
    pub missing_groups: Vec<String>,
    /// What works less well than it should, as `authctl status` shows it.
    pub degraded: Vec<String>,
}

/// Judges the facts, in the order in which an operator wants to read them.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<Check> {
    vec![
        running(facts),
        service(facts),
        uid_map(facts),
        groups(facts),
        memory(facts),
        open_files(facts),
        disk(facts),
        durability(facts),
        backup(facts),
        clock(facts),
        redis(facts),
        address(facts),
        proxies(facts),
        mode(facts),
        key_file(facts),
        anchor(facts),
        log(facts),
    ]
}

fn running(facts: &Facts) -> Check {
    if facts.degraded.is_empty() {
        return Check::ok("daemon", "it answers, and nothing is degraded");
    }
    Check::warn("daemon", facts.degraded.join("; "), "authctl status; authd-failures(7) has each condition")
}

fn service(facts: &Facts) -> Check {
    match (facts.service.is_notifying, facts.service.has_watchdog) {
        (true, true) => Check::ok("service", "the service manager waits for it and has a watchdog on it"),
        (true, false) => Check::warn(
            "service",
            "no watchdog: a daemon that hangs is not restarted",
            "set WatchdogSec=30s in the unit, as the packaged one does",
        ),
        (false, _) => Check::warn(
            "service",
            "no service manager waits for it: nobody restarts it",
            "systemctl enable --now authd, unless it runs by hand on purpose",
        ),
    }
}

fn uid_map(facts: &Facts) -> Check {
    const ALL: u64 = 4_294_967_295;
    let Some(map) = &facts.uid_map else {
        return Check::warn("uid map", "/proc/self/uid_map cannot be read", "leave /proc to the unit");
    };
    let mut lines =
        map.lines().map(|line| line.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<u64>>());
    match (lines.next().as_deref(), lines.next()) {
        (Some([0, 0, count]), None) if *count >= ALL => {
            Check::ok("uid map", "the uid of every peer is the caller's own")
        }
        _ => Check::bad(
            "uid map",
            "it runs in a user namespace of its own: peers outside it all read as uid 65534 and are refused",
            "remove PrivateUsers= from the unit; in a container share the host's user namespace",
        ),
    }
}

fn groups(facts: &Facts) -> Check {
    let add = |group: &String| format!("groupadd --system {group}");
    match facts.missing_groups.as_slice() {
        [] => Check::ok("groups", "every configured group exists"),
        missing => Check::warn(
            "groups",
            format!("no such group: {}; nobody gets rights by it", missing.join(", ")),
            format!("{}, then restart authd", missing.iter().map(add).collect::<Vec<_>>().join("; ")),
        ),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn memory(facts: &Facts) -> Check {
    let hashes = facts.hash_workers.saturating_mul(facts.hash_memory_kib).saturating_mul(1_024);
    let needed = hashes.saturating_add(REST_BYTES);
    let need = format!("{} workers hashing with {} KiB each, and the rest", facts.hash_workers, facts.hash_memory_kib);
    match facts.memory_limit_bytes {
        None => Check::ok("memory", format!("no limit; {} are needed at most: {need}", mebibytes(needed))),
        Some(limit) if limit < needed => Check::bad(
            "memory",
            format!("the limit is {}, and {} are needed: {need}", mebibytes(limit), mebibytes(needed)),
            format!("raise MemoryMax= to {}, or lower password.workers", mebibytes(needed + needed / 4)),
        ),
        Some(limit) => Check::ok("memory", format!("{} of {} are needed at most", mebibytes(needed), mebibytes(limit))),
    }
}

fn open_files(facts: &Facts) -> Check {
    match facts.open_files {
        Some(bound) if bound < facts.wanted_files => Check::warn(
            "open files",
            format!(
                "{bound} may be open and {} are wanted: there are fewer connections than configured",
                facts.wanted_files
            ),
            "raise LimitNOFILE= of the unit, or lower server.max_connections",
        ),
        Some(bound) => Check::ok("open files", format!("{} of {bound} are needed at most", facts.wanted_files)),
        None => Check::ok("open files", "no limit"),
    }
}

fn disk(facts: &Facts) -> Check {
    let Some(Room { free, total }) = facts.room else {
        return Check::warn("disk", "the data directory cannot be asked for its room", "look at it with df");
    };
    let finding = format!("{} of {} free in the data directory", mebibytes(free), mebibytes(total));
    match free {
        0..DISK_BAD_BYTES => Check::bad("disk", finding, "make room: a full disk answers every change with 503"),
        DISK_BAD_BYTES..DISK_WARN_BYTES => Check::warn("disk", finding, "make room soon"),
        _ => Check::ok("disk", finding),
    }
}

/// What a setting has to be, and how to put it right.
fn wanted(kind: &str, name: &str) -> Option<(&'static [&'static str], &'static str)> {
    Some(match (kind, name) {
        ("sqlite", "journal_mode") => {
            (&["wal", "memory"][..], "move the database to a local disk: its file system has no shared memory")
        }
        ("sqlite", "synchronous") => (&["2", "3"], "report it: authd asks for FULL"),
        ("sqlite", "foreign_keys") => (&["1"], "report it: authd asks for foreign keys"),
        ("postgres", "fsync") => (&["on"], "ALTER SYSTEM SET fsync = on, and restart PostgreSQL"),
        ("postgres", "full_page_writes") => {
            (&["on"], "ALTER SYSTEM SET full_page_writes = on, then SELECT pg_reload_conf()")
        }
        ("postgres", "synchronous_commit") => (
            &["on", "local", "remote_write", "remote_apply"],
            "ALTER SYSTEM SET synchronous_commit = on, then SELECT pg_reload_conf()",
        ),
        ("postgres", "default_transaction_read_only") => (&["off"], "point database.url at the primary server"),
        _ => return None,
    })
}

fn durability(facts: &Facts) -> Check {
    if facts.database_settings.is_empty() {
        return Check::bad(
            "database",
            "it does not answer",
            "authctl status says since when; look at the database and the way to it",
        );
    }
    let wrong = facts.database_settings.iter().find_map(|(name, value)| {
        let (good, fix) = wanted(facts.database_kind, name)?;
        (!good.contains(&value.as_str())).then_some((name, value, fix))
    });
    match wrong {
        Some((name, value, fix)) => {
            Check::bad("database", format!("{name} is {value}: an acknowledged change can be lost in a crash"), fix)
        }
        None => {
            let all: Vec<String> =
                facts.database_settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Check::ok("database", format!("{}: {}", facts.database_kind, all.join(" ")))
        }
    }
}

fn backup(facts: &Facts) -> Check {
    let fix = "authctl db backup FILE, every night, and keep it on another machine";
    match facts.backup {
        Backup::Unknown => {
            Check::warn("backup", "the audit log does not tell of backups now", "see the check of the database")
        }
        Backup::Never => Check::warn("backup", "none was made through authd", fix),
        Backup::At(at_ms) => {
            let days = facts.now_ms.saturating_sub(at_ms).max(0) / DAY_MS;
            let finding = format!("the last one is {days} days old");
            if days > BACKUP_DAYS { Check::warn("backup", finding, fix) } else { Check::ok("backup", finding) }
        }
    }
}

fn clock(facts: &Facts) -> Check {
    if let Some(step_ms) = facts.clock_step_ms {
        return Check::bad(
            "clock",
            format!("a clock moved by {} s: nothing is deleted until it is believed again", step_ms / 1_000),
            "put the clock right; if the new time is right, confirm it with: systemctl restart authd",
        );
    }
    let Some(database_ms) = facts.database_ms else {
        return Check::warn("clock", "the database does not tell its time", "see the check of the database");
    };
    let apart_ms = facts.now_ms.abs_diff(database_ms);
    let finding = format!("{apart_ms} ms apart from the database's");
    match apart_ms {
        0..=CLOCK_WARN_MS => Check::ok("clock", finding),
        _ => {
            let fix = "synchronise both machines: timedatectl set-ntp true";
            if apart_ms > CLOCK_BAD_MS { Check::bad("clock", finding, fix) } else { Check::warn("clock", finding, fix) }
        }
    }
}

fn redis(facts: &Facts) -> Check {
    match &facts.redis {
        Redis::Off => Check::ok("redis", "none: each instance counts its share of every limit"),
        Redis::Away => Check::warn(
            "redis",
            "it does not answer: each instance counts its share of every limit",
            "look at Redis and redis.url; authctl breaker list",
        ),
        Redis::Up(None) => Check::warn("redis", "it does not tell its maxmemory-policy", "allow INFO to authd's user"),
        Redis::Up(Some(policy)) if policy.starts_with("allkeys") || policy.starts_with("volatile") => Check::warn(
            "redis",
            format!("maxmemory-policy is {policy}: counters are dropped when memory is short, and limits forget"),
            "CONFIG SET maxmemory-policy noeviction, in redis.conf too",
        ),
        Redis::Up(Some(policy)) => Check::ok("redis", format!("maxmemory-policy is {policy}")),
    }
}

fn address(facts: &Facts) -> Check {
    let url = &facts.public_url;
    let is_public = !facts.listen.ip().is_loopback();
    if url == DEFAULT_URL {
        return Check::warn(
            "public url",
            format!("server.public_url is the default {url}: it is the issuer of every token"),
            "set server.public_url to the address that clients use, and restart",
        );
    }
    if url.starts_with("http://") && is_public {
        return Check::warn(
            "public url",
            format!("{url} is not encrypted"),
            "serve it by https, with a proxy before authd",
        );
    }
    Check::ok("public url", url.clone())
}

fn proxies(facts: &Facts) -> Check {
    let wide = facts.trusted_proxies.iter().find(|network| {
        let narrowest = if network.addr().is_ipv4() { 8 } else { 16 };
        network.prefix_len() < narrowest
    });
    if let Some(network) = wide {
        return Check::bad(
            "proxies",
            format!("server.trusted_proxies has {network}: nearly anybody can choose the address that limits count"),
            "list the addresses of the proxies alone, and reload",
        );
    }
    let is_behind_proxy = facts.public_url.starts_with("https://");
    if facts.trusted_proxies.is_empty() && is_behind_proxy {
        return Check::warn(
            "proxies",
            "the public address is https and no proxy is trusted: all clients may count as one address",
            "list the proxy in server.trusted_proxies, and reload",
        );
    }
    Check::ok("proxies", format!("{} trusted", facts.trusted_proxies.len()))
}

fn mode(facts: &Facts) -> Check {
    match (facts.is_test_mode, facts.has_docs) {
        (true, _) => Check::warn(
            "mode",
            "server.mode is test: passwords may be hashed cheaply",
            "remove server.mode, and restart; passwords are hashed anew at the next login",
        ),
        (false, true) => Check::warn("mode", "server.docs shows the API to everybody", "set server.docs = false"),
        (false, false) => Check::ok("mode", "production"),
    }
}

fn key_file(facts: &Facts) -> Check {
    let KeyFile { path, mode, is_credential } = &facts.key_file;
    match mode {
        _ if *is_credential => Check::ok("key-encryption key", "a credential of the service manager"),
        None => Check::bad(
            "key-encryption key",
            format!("{path} cannot be looked at: the next start would fail"),
            "put it back from where it is kept; no backup of the database has it",
        ),
        Some(mode) if mode & 0o077 != 0 => Check::bad(
            "key-encryption key",
            format!("{path} has mode {mode:04o}: others can read it"),
            format!("chmod 0400 {path}; if somebody may have read it, replace the key"),
        ),
        Some(mode) => Check::ok("key-encryption key", format!("{path} has mode {mode:04o}")),
    }
}

fn anchor(facts: &Facts) -> Check {
    let AnchorFile { path, age_ms, is_beside_database } = &facts.anchor;
    match age_ms {
        None => Check::bad(
            "audit anchor",
            format!("there is no {path}: a restored database would go unnoticed"),
            "make its directory writable to authd; it is written within seconds",
        ),
        Some(_) if *is_beside_database => Check::ok(
            "audit anchor",
            format!("{path}; it lies beside the database, so keep copies elsewhere (audit.checkpoint_file)"),
        ),
        Some(_) => Check::ok("audit anchor", path.clone()),
    }
}

fn log(facts: &Facts) -> Check {
    let is_native = matches!(facts.log_format, "auto" | "journald");
    match (facts.service.is_journal, is_native) {
        (true, false) => Check::warn(
            "log",
            format!(
                "log.format is {}: the journal gets lines without fields and without message ids",
                facts.log_format
            ),
            "set log.format = \"auto\", and restart",
        ),
        (true, true) => Check::ok("log", "the journal, with native fields"),
        (false, _) => Check::ok("log", format!("standard error, {}", facts.log_format)),
    }
}

#[cfg(test)]
mod tests;
