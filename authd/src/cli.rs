//! Command line of `authd`: what to do, and the exit code that says how it went.

mod man;

pub use man::{events_page, failures_page, http_page, man_page, security_page};

use crate::{
    config::{self, Account, Args, Config, Loaded, Problems},
    daemon::{self, StartError},
    domain::clock::{OsRandom, Random, random_bytes},
    lifecycle::{Start, inherited},
    log, store,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Parser, Subcommand};
use shared::admin::db::Verified;
use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Exit code for a configuration that cannot be run (`EX_CONFIG` of sysexits(3head)).
const EX_CONFIG: u8 = 78;
/// Exit code for a check that found problems, as authctl's.
const CHECK_FAILED: u8 = 14;
/// Exit code for a failure that no operator can cure (`EX_SOFTWARE`).
const EX_SOFTWARE: u8 = 70;

/// Authentication daemon: logins, rotating refresh tokens and sessions.
///
/// Without a command it serves. Without any configuration it runs on SQLite in its data directory.
#[derive(Debug, Parser)]
#[command(name = "authd", version, max_term_width = 100)]
struct Cli {
    /// Read this file instead of /etc/authd/authd.toml; conf.d/*.toml beside it is read as well
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep everything in this directory, the admin sockets included
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of the public API; port 0 takes any free one
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Command {
    /// List everything that is wrong with the configuration
    Check,
    /// Bring the database to this version's schema
    Migrate,
    /// Look whether a backup is whole: exit with 14 when it is not
    VerifyBackup {
        /// The file that `authctl db backup` wrote
        file: PathBuf,
        /// Print what was found as JSON
        #[arg(long)]
        json: bool,
    },
    /// Use the SQLite database again that `authctl db move` has moved away
    UndoMove,
    /// Print the OpenAPI document of the public API
    Openapi,
    /// Print the JSON schema of authd.toml
    ConfigSchema,
    /// Print a new key-encryption key: 32 random bytes in base64
    GenerateKey,
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.clone();
    match run(command, &cli.args(std::env::vars_os())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "authd: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

impl Cli {
    fn args(self, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Args {
        let account = if nix::unistd::geteuid().is_root() { Account::Root } else { Account::Other };
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Args {
            file: self.config,
            data_dir: self.data_dir.map(absolute),
            listen: self.listen,
            ..Args::new(account, environment)
        }
    }
}

/// Why it did not go well, and the exit code for it.
#[derive(Debug)]
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn internal(cause: impl std::fmt::Display) -> Self {
        Self { code: EX_SOFTWARE, text: cause.to_string() }
    }

    fn configuration(cause: impl std::fmt::Display) -> Self {
        Self { code: EX_CONFIG, text: cause.to_string() }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::configuration(format_args!("the configuration cannot be used\n{problems}"))
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self { code: error.exit_code(), text: error.to_string() }
    }
}

fn run(command: Option<Command>, args: &Args) -> Result<(), Failure> {
    match command {
        None => serve(args),
        Some(Command::Check) => check(&Config::load(args)?),
        Some(Command::Migrate) => {
            let loaded = Config::load(args)?;
            start_log(&loaded, args)?;
            Ok(runtime()?.block_on(daemon::migrate(&loaded.config))?)
        }
        Some(Command::VerifyBackup { file, json }) => verify_backup(&file, json),
        Some(Command::UndoMove) => {
            let loaded = Config::load(args)?;
            start_log(&loaded, args)?;
            print(runtime()?.block_on(daemon::undo_move(&loaded.config))?)
        }
        Some(Command::Openapi) => print(&json(&daemon::openapi())?),
        Some(Command::ConfigSchema) => print(&json(&config::schema())?),
        Some(Command::GenerateKey) => print(&generate_key(&OsRandom)),
    }
}

fn serve(args: &Args) -> Result<(), Failure> {
    let sockets = inherited().map_err(Failure::configuration)?;
    let loaded = Config::load(args)?;
    let log = start_log(&loaded, args)?;
    for warning in &loaded.warnings {
        tracing::warn!(origin = %warning.origin, hint = warning.hint, "{}: {}", warning.key, warning.message);
    }
    let start = Start { loaded, args: args.clone(), log, sockets };
    Ok(runtime()?.block_on(daemon::run(start))?)
}

fn check(loaded: &Loaded) -> Result<(), Failure> {
    for warning in &loaded.warnings {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    daemon::check_files(&loaded.config)?;
    print("the configuration can be used")
}

/// Needs neither a configuration nor a daemon: backups are looked at wherever they are kept.
fn verify_backup(file: &Path, as_json: bool) -> Result<(), Failure> {
    let broken = |text: String| Failure { code: CHECK_FAILED, text };
    let found = runtime()?.block_on(store::verify_backup(file));
    let found = found.map_err(|error| broken(format!("{}: {error}", file.display())))?;
    if as_json {
        print(&json(&serde_json::to_value(&found).map_err(Failure::internal)?)?)?;
    } else {
        print(&summary(&found))?;
    }
    if found.problems.is_empty() { Ok(()) } else { Err(broken(found.problems.join("; "))) }
}

fn summary(found: &Verified) -> String {
    let rows: u64 = found.tables.iter().map(|table| table.rows).sum();
    let Verified { bytes, schema, audit_seq, unsealed, .. } = found;
    let kek = found.kek_ids.join(" and ");
    format!(
        "{bytes} bytes, {rows} rows, schema {schema}; audit up to event {audit_seq}, {unsealed} not sealed yet\n\
         needs the key-encryption key {kek}, which is not in it"
    )
}

fn start_log(loaded: &Loaded, args: &Args) -> Result<log::LogHandle, Failure> {
    let config = &loaded.config.log;
    log::init(config.format, config.level, &args.environment).map_err(Failure::configuration)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)
}

fn generate_key(random: &dyn Random) -> String {
    STANDARD.encode(zeroize::Zeroizing::new(random_bytes::<32>(random)))
}

fn json(value: &serde_json::Value) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(Failure::internal)
}

fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(Failure::internal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    struct Counting;

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            (0..).zip(bytes).for_each(|(number, byte)| *byte = number);
        }
    }

    fn parse(line: &[&str]) -> Cli {
        Cli::try_parse_from([&["authd"], line].concat()).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_behind_the_command() {
        for line in [["--data-dir", "/d", "check"], ["check", "--data-dir", "/d"]] {
            let cli = parse(&line);
            assert_eq!((cli.command, cli.data_dir), (Some(Command::Check), Some(PathBuf::from("/d"))));
        }
        assert_eq!(parse(&[]).command, None);
    }

    #[test]
    fn a_relative_data_directory_is_made_absolute() {
        let args = parse(&["--data-dir", "d", "--listen", "127.0.0.1:0"]).args([]);
        assert!(args.data_dir.is_some_and(|path| path.is_absolute() && path.ends_with("d")));
        assert_eq!(args.listen.as_deref(), Some("127.0.0.1:0"));
    }

    #[test]
    fn a_generated_key_is_32_bytes_in_base64() {
        assert_eq!(STANDARD.decode(generate_key(&Counting)).unwrap(), (0..32).collect::<Vec<u8>>());
    }

    #[test]
    fn a_wrong_configuration_is_exit_code_78_with_every_problem() {
        let mut args = parse(&["--listen", "nowhere"]).args([("AUTHD_LOG__LEVEL".into(), "loud".into())]);
        args.standard_file = PathBuf::from("/nonexistent/authd.toml");
        let failure = run(Some(Command::Check), &args).unwrap_err();
        assert_eq!(failure.code, EX_CONFIG);
        assert!(
            failure.text.contains("--listen: server.listen") && failure.text.contains("AUTHD_LOG__LEVEL"),
            "{}",
            failure.text
        );
    }
}
