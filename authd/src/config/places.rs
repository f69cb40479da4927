//! Paths that no single key decides: data directory, sockets, database, key-encryption key, anchor.

use super::{Args, Config, DatabaseUrl, SecretUrl, source::Account};
use std::path::{Path, PathBuf};

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// Data directory.
    pub data_dir: PathBuf,
    /// Whether the data directory was named by `--data-dir`; the daemon then prints the `authctl` line to use.
    pub data_dir_is_given: bool,
    /// Socket for administrators.
    pub admin_socket: PathBuf,
    /// Socket for readers.
    pub read_socket: PathBuf,
    /// The database.
    pub database: DatabasePlace,
    /// The key-encryption key.
    pub kek: KekPlace,
    /// The key-encryption key before that, while it is being replaced.
    pub previous_kek: Option<PathBuf>,
    /// File for audit checkpoints.
    pub audit_anchor: PathBuf,
    /// Where the service manager puts credentials, with modes of its own.
    pub credentials_dir: Option<PathBuf>,
}

/// The database to open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DatabasePlace {
    /// An SQLite database without a file.
    #[default]
    SqliteMemory,
    /// An SQLite database in a file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(SecretUrl),
}

/// Where the key-encryption key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KekPlace {
    /// A file that the operator named, or the credential `kek`: it must exist.
    Given(PathBuf),
    /// A file in the data directory that is made if nothing needs an older one (SQLite only).
    Generated(PathBuf),
}

impl Default for KekPlace {
    fn default() -> Self {
        Self::Generated(PathBuf::new())
    }
}

impl Places {
    /// What follows from the configuration, the flags and the environment.
    #[must_use]
    pub fn of(args: &Args, config: &Config) -> Self {
        let data_dir = data_dir(args);
        let runtime_dir = runtime_dir(args, &data_dir);
        let database = match &config.database.url {
            DatabaseUrl::DataDir => DatabasePlace::Sqlite(data_dir.join("authd.db")),
            DatabaseUrl::Sqlite(path) => DatabasePlace::Sqlite(path.clone()),
            DatabaseUrl::Memory => DatabasePlace::SqliteMemory,
            DatabaseUrl::Postgres(url) => DatabasePlace::Postgres(url.clone()),
        };
        Self {
            admin_socket: config.admin.socket.clone().unwrap_or_else(|| runtime_dir.join("admin.sock")),
            read_socket: config.admin.read_socket.clone().unwrap_or_else(|| runtime_dir.join("read.sock")),
            audit_anchor: config.audit.checkpoint_file.clone().unwrap_or_else(|| data_dir.join("audit.anchor")),
            kek: kek(args, config, &data_dir),
            previous_kek: config.key.previous_encryption_key.clone().or_else(|| credential(args, "kek.old")),
            data_dir_is_given: args.data_dir.is_some(),
            credentials_dir: args.path("CREDENTIALS_DIRECTORY"),
            database,
            data_dir,
        }
    }
}

fn data_dir(args: &Args) -> PathBuf {
    if let Some(given) = &args.data_dir {
        return given.clone();
    }
    // systemd lists several directories with colons; the first one is ours.
    if let Some(state) = args.path("STATE_DIRECTORY") {
        return state;
    }
    if args.account == Account::Root {
        return PathBuf::from("/var/lib/authd");
    }
    let state_home = args.path("XDG_STATE_HOME").or_else(|| Some(args.path("HOME")?.join(".local/state")));
    state_home.unwrap_or_else(|| PathBuf::from("/var/lib")).join("authd")
}

fn runtime_dir(args: &Args, data_dir: &Path) -> PathBuf {
    if args.data_dir.is_some() {
        return data_dir.to_owned();
    }
    if args.account == Account::Root {
        return PathBuf::from("/run/authd");
    }
    if let Some(runtime) = args.path("XDG_RUNTIME_DIR") {
        return runtime.join("authd");
    }
    // A system service that is not root has a state directory and no session.
    if args.path("STATE_DIRECTORY").is_some() { PathBuf::from("/run/authd") } else { data_dir.to_owned() }
}

fn kek(args: &Args, config: &Config, data_dir: &Path) -> KekPlace {
    if let Some(file) = &config.key.encryption_key {
        return KekPlace::Given(file.clone());
    }
    match credential(args, "kek") {
        Some(file) => KekPlace::Given(file),
        None => KekPlace::Generated(data_dir.join("kek")),
    }
}

/// What the service manager gave under this name.
fn credential(args: &Args, name: &str) -> Option<PathBuf> {
    args.path("CREDENTIALS_DIRECTORY").map(|directory| directory.join(name)).filter(|file| file.exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::testing::args;

    fn places(args: &Args) -> Places {
        Config::load(args).map(|loaded| loaded.config.places).unwrap_or_default()
    }

    #[test]
    fn a_given_data_directory_holds_everything() {
        let mut args = args(&[("STATE_DIRECTORY", "/var/lib/other"), ("XDG_RUNTIME_DIR", "/run/user/1")]);
        args.data_dir = Some(PathBuf::from("/tmp/x"));
        let places = places(&args);
        assert_eq!(places.admin_socket, Path::new("/tmp/x/admin.sock"));
        assert_eq!(places.database, DatabasePlace::Sqlite(PathBuf::from("/tmp/x/authd.db")));
        assert_eq!(places.kek, KekPlace::Generated(PathBuf::from("/tmp/x/kek")));
        assert_eq!(places.audit_anchor, Path::new("/tmp/x/audit.anchor"));
    }

    #[test]
    fn a_service_uses_the_directory_of_its_manager() {
        let places = places(&args(&[("STATE_DIRECTORY", "/var/lib/authd:/var/lib/more")]));
        assert_eq!(places.data_dir, Path::new("/var/lib/authd"));
        assert_eq!(places.read_socket, Path::new("/run/authd/read.sock"));
    }

    #[test]
    fn a_user_gets_the_xdg_directories_and_root_the_system_ones() {
        let mut args = args(&[("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/1")]);
        let of_user = places(&args);
        assert_eq!(of_user.data_dir, Path::new("/home/ada/.local/state/authd"));
        assert_eq!(of_user.admin_socket, Path::new("/run/user/1/authd/admin.sock"));
        args.account = Account::Root;
        assert_eq!(places(&args).data_dir, Path::new("/var/lib/authd"));
        assert_eq!(places(&args).admin_socket, Path::new("/run/authd/admin.sock"));
    }

    #[test]
    fn a_credential_is_the_key_encryption_key_when_it_exists() {
        let directory = tempfile::tempdir().unwrap();
        let args = args(&[("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap())]);
        assert!(matches!(places(&args).kek, KekPlace::Generated(_)));
        std::fs::write(directory.path().join("kek"), "x").unwrap();
        assert_eq!(places(&args).kek, KekPlace::Given(directory.path().join("kek")));
        assert_eq!(places(&args).previous_kek, None);
        std::fs::write(directory.path().join("kek.old"), "x").unwrap();
        assert_eq!(places(&args).previous_kek, Some(directory.path().join("kek.old")));
    }
}
