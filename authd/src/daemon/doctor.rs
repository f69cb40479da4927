//! Gathers what a checkup judges: the process, its surroundings, its files and what it depends on.

use crate::{
    config::{Config, DatabasePlace, Group, KekPlace, LogFormat, Mode},
    daemon::{control::Running, run::OWN_FILES},
    domain::{
        audit::EventFilter,
        doctor::{AnchorFile, Backup, Facts, KeyFile, Redis, Room, Service, examine},
        limit::Sharing,
        page::PageRequest,
    },
};
use shared::admin::doctor::Examined;
use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The event of a backup.
const BACKED_UP: &str = "database.backed_up";
/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What the file system and the kernel say; reading them can block.
struct Surroundings {
    uid_map: Option<String>,
    memory_limit_bytes: Option<u64>,
    open_files: Option<u64>,
    room: Option<Room>,
    key_file: KeyFile,
    anchor: AnchorFile,
    missing_groups: Vec<String>,
}

impl Running {
    /// Examines the daemon.
    pub(super) async fn examine(&self, degraded: Vec<String>) -> Examined {
        let config = self.loaded().config.clone();
        let environment = self.args.environment.clone();
        let looked = config.clone();
        let surroundings = tokio::task::spawn_blocking(move || look_around(&looked)).await;
        let surroundings = surroundings.unwrap_or_else(|_| nothing_seen());
        let facts = self.facts(&config, surroundings, service(&environment), degraded).await;
        let names = |groups: &[Group]| groups.iter().map(group_name).collect();
        let places = &config.places;
        Examined {
            checks: examine(&facts),
            pid: std::process::id(),
            admin_socket: places.admin_socket.display().to_string(),
            read_socket: places.read_socket.display().to_string(),
            groups: (names(&config.admin.admin_groups), names(&config.admin.read_groups)),
            public_url: config.server.public_url.as_str().to_owned(),
            data_dir: places.data_dir.display().to_string(),
        }
    }

    async fn facts(&self, config: &Config, seen: Surroundings, service: Service, degraded: Vec<String>) -> Facts {
        let parts = &self.daemon.auth.parts;
        // The settings first: a database that is away is then known to be.
        let database_settings = parts.readiness.settings().await.unwrap_or_default();
        let database_ms = parts.readiness.probe().await.ok();
        let server = &config.server;
        Facts {
            now_ms: parts.clock.now_ms(),
            database_ms,
            clock_step_ms: self.daemon.auth.clock_step_ms(),
            uid_map: seen.uid_map,
            memory_limit_bytes: seen.memory_limit_bytes,
            hash_workers: u64::try_from(parts.hasher.load().workers).unwrap_or(u64::MAX),
            hash_memory_kib: u64::from(config.password.memory_kib),
            open_files: seen.open_files,
            wanted_files: [server.max_connections, config.database.max_connections, OWN_FILES]
                .map(u64::from)
                .iter()
                .sum(),
            database_kind: parts.readiness.kind(),
            database_settings,
            redis: self.redis().await,
            trusted_proxies: server.trusted_proxies.clone(),
            public_url: server.public_url.as_str().to_owned(),
            listen: self.listen,
            is_test_mode: server.mode == Mode::Test,
            has_docs: server.docs,
            key_file: seen.key_file,
            anchor: seen.anchor,
            backup: self.backup().await,
            room: seen.room,
            log_format: log_format(config.log.format),
            service,
            missing_groups: seen.missing_groups,
            degraded,
        }
    }

    async fn backup(&self) -> Backup {
        let made = EventFilter { action: Some(BACKED_UP.to_owned()), ..EventFilter::default() };
        match self.daemon.auth.parts.audit.list(made, PageRequest::first(1)).await {
            Ok(page) => page.items.first().map_or(Backup::Never, |event| Backup::At(event.at_ms)),
            Err(_) => Backup::Unknown,
        }
    }

    async fn redis(&self) -> Redis {
        match (self.daemon.auth.parts.limiter.sharing(), &self.daemon.shared_limits) {
            (Sharing::On, Some(shared)) => Redis::Up(shared.eviction().await),
            (Sharing::Down { .. }, _) => Redis::Away,
            (Sharing::Off, _) | (Sharing::On, None) => Redis::Off,
        }
    }
}

fn group_name(group: &Group) -> String {
    match group {
        Group::Id(gid) => gid.to_string(),
        Group::Name(name) => name.clone(),
    }
}

fn log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Auto => "auto",
        LogFormat::Json => "json",
        LogFormat::Pretty => "pretty",
        LogFormat::Journald => "journald",
    }
}

fn service(environment: &BTreeMap<String, String>) -> Service {
    let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
    Service {
        is_notifying: is_set("NOTIFY_SOCKET"),
        has_watchdog: is_set("WATCHDOG_USEC"),
        is_journal: is_set("JOURNAL_STREAM"),
    }
}

fn nothing_seen() -> Surroundings {
    Surroundings {
        uid_map: None,
        memory_limit_bytes: None,
        open_files: None,
        room: None,
        key_file: KeyFile { path: String::new(), mode: None, is_credential: false },
        anchor: AnchorFile { path: String::new(), age_ms: None, is_beside_database: false },
        missing_groups: Vec::new(),
    }
}

fn look_around(config: &Config) -> Surroundings {
    let groups = config.admin.admin_groups.iter().chain(&config.admin.read_groups).chain(&config.admin.metrics_groups);
    let is_missing = |name: &&String| !matches!(nix::unistd::Group::from_name(name), Ok(Some(_)));
    let named = groups.filter_map(|group| match group {
        Group::Name(name) => Some(name),
        Group::Id(_) => None,
    });
    Surroundings {
        uid_map: std::fs::read_to_string("/proc/self/uid_map").ok(),
        memory_limit_bytes: memory_limit(Path::new(CGROUPS)),
        open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        room: room(&config.places.data_dir),
        key_file: key_file(config),
        anchor: anchor(config),
        missing_groups: named.filter(is_missing).cloned().collect(),
    }
}

/// The least limit of the control group of this process and of those around it.
fn memory_limit(root: &Path) -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = root.join(own);
    let around = group.ancestors().take_while(|group| group.starts_with(root));
    around.filter_map(|group| std::fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()).min()
}

fn room(directory: &Path) -> Option<Room> {
    let found = nix::sys::statvfs::statvfs(directory).ok()?;
    let block = found.fragment_size();
    let bytes = |blocks: u64| blocks.saturating_mul(block);
    Some(Room { free: bytes(found.blocks_available()), total: bytes(found.blocks()) })
}

fn key_file(config: &Config) -> KeyFile {
    let places = &config.places;
    let path = match &places.kek {
        KekPlace::Given(path) | KekPlace::Generated(path) => path,
    };
    let mode = std::fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o7777);
    let is_credential = places.credentials_dir.as_ref().is_some_and(|directory| path.starts_with(directory));
    KeyFile { path: path.display().to_string(), mode, is_credential: is_credential && mode.is_some() }
}

fn anchor(config: &Config) -> AnchorFile {
    let path = &config.places.audit_anchor;
    let age = std::fs::metadata(path).and_then(|found| found.modified()).ok();
    let age = age.map(|at| SystemTime::elapsed(&at).unwrap_or_default());
    let database: Option<PathBuf> = match &config.places.database {
        DatabasePlace::Sqlite(file) => file.parent().map(Path::to_owned),
        DatabasePlace::SqliteMemory | DatabasePlace::Postgres(_) => None,
    };
    AnchorFile {
        path: path.display().to_string(),
        age_ms: age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        is_beside_database: database.is_some() && path.parent() == database.as_deref(),
    }
}
