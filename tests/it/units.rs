//! The units of `systemd/`: what systemd says of them, and what they must agree on with the programs.

use authd::config::{Account, Args, Config, Group};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tests::process::program;

const UNITS: [&str; 4] = ["authd.service", "authd-admin.socket", "authd-read.socket", "authd-public.socket"];
/// `systemd-analyze security` counts in tenths: of the service as it is, and with the drop-in for a single host.
const WORST_EXPOSURE: [(&str, u32); 2] = [("authd.service", 15), ("single-host.service", 5)];

fn source(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(source(name)).unwrap_or_else(|error| panic!("systemd/{name}: {error}"))
}

/// Values of a setting in a unit.
fn values<'a>(unit: &'a str, setting: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(setting)?.strip_prefix('=')).collect()
}

/// The units in a directory of their own, starting the programs that were built.
fn installed(dir: &Path) -> Vec<PathBuf> {
    let in_place = |name: &&str| {
        let built = |text: &str, name: &str| {
            text.replace(&format!("/usr/bin/{name} "), &format!("{} ", program(name).display()))
        };
        let text = built(&built(&read(name).replace("/usr/bin/authd\n", "/usr/bin/authd \n"), "authd"), "authctl");
        let path = dir.join(name);
        std::fs::write(&path, text).expect("a temporary directory");
        path
    };
    let units: Vec<PathBuf> = UNITS.iter().map(in_place).collect();
    let service = std::fs::read_to_string(dir.join("authd.service")).expect("it was just written");
    let service = format!("{service}\n{}", read("authd-single-host.conf"));
    std::fs::write(dir.join("single-host.service"), service).expect("a temporary directory");
    units.into_iter().chain([dir.join("single-host.service")]).collect()
}

/// Runs `systemd-analyze`, which `tests/run` installs where it is missing.
fn analyze(args: &[&str], units: &[PathBuf]) -> Output {
    let output = Command::new("systemd-analyze").args(args).args(units).env("SYSTEMD_COLORS", "0").output();
    output.unwrap_or_else(|error| panic!("systemd-analyze: {error}; install the package systemd"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn defaults_of_root() -> Config {
    let mut args = Args::new(Account::Root, []);
    args.standard_file = PathBuf::from("/nonexistent/authd.toml");
    Config::load(&args).expect("defaults").config
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = analyze(&["verify", "--man=no"], &installed(dir.path()));
    let said: Vec<String> = text(&output).lines().filter(|line| line.contains("authd")).map(str::to_owned).collect();
    assert!(output.status.success() && said.is_empty(), "{}", text(&output));
}

#[test]
fn the_service_is_exposed_as_little_as_promised() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    installed(dir.path());
    for (service, worst) in WORST_EXPOSURE {
        let threshold = format!("--threshold={worst}");
        let service = [dir.path().join(service)];
        let output = analyze(&["security", "--offline=true", &threshold], &service);
        assert!(output.status.success(), "{}", text(&output));
    }
}

#[test]
fn the_packaged_configuration_is_what_the_table_of_keys_says() {
    let path = source("package/authd.toml");
    let text = authd::config::example();
    if std::env::var_os("AUTHD_BLESS").is_some() {
        std::fs::write(&path, &text).expect("the source tree can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "systemd/package/authd.toml is stale: run `AUTHD_BLESS=1 tests/run packaged`");
}

#[test]
fn the_units_refer_to_manual_pages_that_exist() {
    for name in UNITS {
        let unit = read(name);
        let pages: Vec<&str> = values(&unit, "Documentation").into_iter().flat_map(str::split_whitespace).collect();
        assert!(!pages.is_empty(), "{name}");
        for page in pages {
            let file = page.trim_start_matches("man:").replace('(', ".").replace(')', "");
            assert!(source("../man").join(&file).is_file(), "{name}: {page}");
        }
    }
}

#[test]
fn the_sockets_are_where_the_daemon_and_its_client_look_for_them() {
    let config = defaults_of_root();
    for (unit, expected) in [
        ("authd-admin.socket", config.places.admin_socket.display().to_string()),
        ("authd-read.socket", config.places.read_socket.display().to_string()),
        ("authd-public.socket", config.server.listen.to_string()),
    ] {
        assert_eq!(values(&read(unit), "ListenStream"), [expected], "{unit}");
    }
    let service = read("authd.service");
    let reload = values(&service, "ExecReload").concat();
    assert!(reload.contains(&config.places.admin_socket.display().to_string()), "{reload}");
}

#[test]
fn the_groups_of_the_sockets_are_made_and_are_those_of_the_configuration() {
    let config = defaults_of_root();
    let users = read("authd.sysusers");
    for (unit, groups) in
        [("authd-admin.socket", &config.admin.admin_groups), ("authd-read.socket", &config.admin.read_groups)]
    {
        let unit = read(unit);
        let group = values(&unit, "SocketGroup").concat();
        assert_eq!(groups, &[Group::Name(group.clone())]);
        assert!(users.lines().any(|line| line.split_whitespace().take(2).eq(["g", &group])), "{users}");
    }
}

#[test]
fn a_start_is_given_more_time_than_the_database_and_a_stop_more_than_the_drain() {
    let config = defaults_of_root();
    let service = read("authd.service");
    let seconds =
        |setting: &str| values(&service, setting).concat().trim_end_matches('s').parse::<u64>().expect("seconds");
    assert!(seconds("TimeoutStartSec") > config.database.start_timeout.0.as_secs());
    assert!(seconds("TimeoutStopSec") > 12, "the deadline of a stop");
    assert_eq!(values(&service, "RestartPreventExitStatus"), ["78"]);
    let attempts: u64 = values(&service, "StartLimitBurst").concat().parse().expect("a number");
    assert!(
        seconds("RestartSec") * attempts >= seconds("StartLimitIntervalSec"),
        "a daemon that fails is not given up"
    );
}
