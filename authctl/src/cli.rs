//! The command line: what `authctl` accepts, and which flags mean something for which command.

use crate::{cmd, error::Error, output::Format, when::parse_span};
use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::time::Span;
use std::path::PathBuf;

/// Operate the authentication daemon authd through its Unix socket.
///
/// The socket says who may do what, and every change is recorded with the uid that made it.
#[derive(Debug, Parser)]
#[command(name = "authctl", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Socket of the daemon [default: /run/authd/admin.sock, then $XDG_RUNTIME_DIR/authd/admin.sock]
    #[arg(long, global = true, env = "AUTHCTL_SOCKET", value_name = "PATH", help_heading = "Connection")]
    pub socket: Option<PathBuf>,
    /// How long one call to the daemon may take
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = parse_span,
          help_heading = "Connection")]
    pub timeout: Option<Span>,
    /// Print the call as a curl line, secrets left out, and do nothing
    #[arg(long, global = true, help_heading = "Connection")]
    pub print_request: bool,

    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORM", help_heading = "Output")]
    pub output: Format,
    /// No notes, and nothing about a change that succeeded
    #[arg(short, long, global = true, help_heading = "Output")]
    pub quiet: bool,
    /// Columns of a table, in this order
    #[arg(long, global = true, value_delimiter = ',', value_name = "NAMES", help_heading = "Output")]
    pub columns: Vec<String>,
    /// No header line above a table
    #[arg(long, global = true, help_heading = "Output")]
    pub no_headers: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    pub color: Color,
    /// Read and show times in UTC
    #[arg(long, global = true, help_heading = "Output")]
    pub utc: bool,

    /// At most so many items of a list
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
          help_heading = "Lists")]
    pub limit: Option<u32>,
    /// The whole list, not only its first page
    #[arg(long, global = true, conflicts_with = "limit", help_heading = "Lists")]
    pub all: bool,
    /// Continue a list after this cursor
    #[arg(long, global = true, value_name = "CURSOR", help_heading = "Lists")]
    pub after: Option<String>,
    /// Not before this time: 15m, "2h ago", yesterday, 2026-11-20, RFC 3339
    #[arg(long, global = true, value_name = "TIME", help_heading = "Lists")]
    pub since: Option<String>,
    /// Before this time; the same forms
    #[arg(long, global = true, value_name = "TIME", help_heading = "Lists")]
    pub until: Option<String>,
    /// Wait for more, also over a restart of the daemon
    #[arg(short, long, global = true, help_heading = "Lists")]
    pub follow: bool,

    /// Say what would happen and change nothing
    #[arg(short = 'n', long, global = true, help_heading = "Changes")]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long, global = true, help_heading = "Changes")]
    pub yes: bool,
    /// Refuse to change another number of things than this
    #[arg(long, global = true, value_name = "N", help_heading = "Changes")]
    pub expect: Option<u64>,
    /// By how much the number may differ from --expect
    #[arg(long, global = true, value_name = "P%", value_parser = parse_percent, requires = "expect",
          help_heading = "Changes")]
    pub tolerance: Option<u32>,
    /// Why, for the audit log
    #[arg(long, global = true, value_name = "TEXT", help_heading = "Changes")]
    pub reason: Option<String>,
    /// Number of the ticket, for the audit log
    #[arg(long, global = true, value_name = "ID", help_heading = "Changes")]
    pub ticket: Option<String>,
}

pub(crate) fn parse_percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    number.parse().ok().filter(|percent| *percent <= 100).ok_or_else(|| "not a percentage like 5%".to_owned())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how the daemon is; exit with 3 when it is not ready
    Status,
    /// Watch the daemon: logins, refusals, hashing, who is limited, notable events; q quits
    Top {
        /// Show one frame as text; what is done where there is no terminal
        #[arg(long)]
        once: bool,
    },
    /// Look for what is wrong with the daemon, this machine and the way clients come; exit with 14 for what is bad
    Doctor,
    /// Explain what happened to a session, an account, a request or an address, and which rule decided
    Why {
        /// Session, account (id, e-mail or user name), request id, IP address or network
        subject: String,
    },
    /// List and end sessions
    #[command(subcommand, alias = "sessions")]
    Session(cmd::session::Command),
    /// Make, list and change accounts
    #[command(subcommand, alias = "users")]
    User(cmd::user::Command),
    /// List and replace signing keys
    #[command(subcommand, alias = "keys")]
    Key(cmd::key::Command),
    /// See and change limits while the daemon runs
    #[command(subcommand, alias = "limits")]
    Limit(cmd::limit::Command),
    /// Show and change the operating mode
    #[command(subcommand)]
    Mode(cmd::mode::Command),
    /// Shut addresses out of everything that takes a credential
    #[command(subcommand, alias = "bans")]
    Ban(cmd::address::Command),
    /// Lift the limits that count by address for some of them
    #[command(subcommand, alias = "allows")]
    Allow(cmd::address::Command),
    /// Read the audit log
    #[command(subcommand, alias = "audits")]
    Audit(cmd::audit::Command),
    /// See circuit breakers, and open and close them
    #[command(subcommand, alias = "breakers")]
    Breaker(cmd::breaker::Command),
    /// Show what is worth a notification, such as replays, locked accounts or a lost database; with -f what is to come
    Events,
    /// See, back up and move the database
    #[command(subcommand)]
    Db(cmd::db::Command),
    /// Show and check the configuration
    #[command(subcommand, alias = "configs")]
    Config(cmd::config::Command),
    /// Make the daemon read its configuration again
    Reload {
        /// Return when the new configuration is in force
        #[arg(long)]
        wait: bool,
    },
    /// Make a call of the admin API by its name
    Api(cmd::api::Call),
    /// Print a completion script; it completes ids too, by asking the daemon
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// List the kinds of JSON output, or print the JSON schema of one
    Schema {
        /// Which kind, like session.list
        kind: Option<String>,
    },
    /// Print authctl(1), or write every manual page of this program into a directory
    Man {
        /// Where to
        directory: Option<PathBuf>,
    },
    /// Print the version
    Version,
}

/// Flags that change the meaning of a command and therefore are refused where they would be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uses {
    /// None of them.
    Nothing,
    /// Paging.
    Pages,
    /// Paging and times.
    PagesAndTimes,
    /// Paging and times, and it can follow.
    Stream,
    /// Times and an expected number.
    Bulk,
}

impl Command {
    fn uses(&self) -> Uses {
        match self {
            Self::Session(command) => command.uses(),
            Self::User(command) => command.uses(),
            Self::Audit(command) => command.uses(),
            Self::Events => Uses::Stream,
            Self::Key(_)
            | Self::Limit(_)
            | Self::Breaker(_)
            | Self::Mode(_)
            | Self::Ban(_)
            | Self::Allow(_)
            | Self::Config(_)
            | Self::Db(_)
            | Self::Status
            | Self::Reload { .. }
            | Self::Api(_)
            | Self::Completion { .. }
            | Self::Schema { .. }
            | Self::Man { .. }
            | Self::Why { .. }
            | Self::Doctor
            | Self::Top { .. }
            | Self::Version => Uses::Nothing,
        }
    }

    /// Refuses flags whose silent loss would change what the command does.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag.
    pub fn check_flags(&self, flags: &Global) -> Result<(), Error> {
        let uses = self.uses();
        let paged = matches!(uses, Uses::Pages | Uses::PagesAndTimes | Uses::Stream);
        let timed = matches!(uses, Uses::PagesAndTimes | Uses::Stream | Uses::Bulk);
        let stray = [
            (flags.after.is_some() && !paged, "--after"),
            (flags.since.is_some() && !timed, "--since"),
            (flags.until.is_some() && !timed, "--until"),
            (flags.follow && uses != Uses::Stream, "--follow"),
            (flags.expect.is_some() && uses != Uses::Bulk, "--expect"),
        ];
        match stray.into_iter().find(|(is_stray, _)| *is_stray) {
            None => Ok(()),
            Some((_, flag)) => Err(Error::usage(
                format!("{flag} means nothing for this command"),
                "leave it out, or see `authctl help` for the commands that take it",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"authctl").chain(args))
    }

    fn flags_of(args: &[&str]) -> Result<(), Error> {
        let cli = parse(args).unwrap();
        cli.command.check_flags(&cli.global)
    }

    #[test]
    fn plural_nouns_and_ls_are_understood() {
        assert!(matches!(parse(&["sessions", "ls"]).unwrap().command, Command::Session(_)));
        assert!(matches!(parse(&["users", "ls"]).unwrap().command, Command::User(_)));
        assert!(matches!(parse(&["keys", "ls"]).unwrap().command, Command::Key(_)));
        assert!(matches!(parse(&["limits", "ls"]).unwrap().command, Command::Limit(_)));
        assert!(matches!(parse(&["bans", "ls"]).unwrap().command, Command::Ban(_)));
    }

    #[test]
    fn flags_may_stand_anywhere() {
        let before = parse(&["-o", "json", "--limit", "5", "session", "list"]).unwrap().global;
        let after = parse(&["session", "list", "-o", "json", "--limit", "5"]).unwrap().global;
        assert_eq!((before.output, before.limit), (Format::Json, Some(5)));
        assert_eq!((after.output, after.limit), (Format::Json, Some(5)));
    }

    #[test]
    fn a_tolerance_is_a_percentage_of_an_expected_number() {
        let flags = parse(&["session", "revoke", "--ip", "::1", "--expect", "10", "--tolerance", "5%"]).unwrap().global;
        assert_eq!((flags.expect, flags.tolerance), (Some(10), Some(5)));
        assert!(parse(&["session", "revoke", "--ip", "::1", "--expect", "10", "--tolerance", "500"]).is_err());
        assert!(parse(&["session", "revoke", "--ip", "::1", "--tolerance", "5%"]).is_err());
    }

    #[test]
    fn flags_that_would_be_lost_are_refused() {
        assert!(flags_of(&["session", "list", "--since", "1h"]).is_ok());
        assert!(flags_of(&["user", "delete", "ada", "--since", "1h"]).is_err());
        assert!(flags_of(&["user", "delete", "ada", "--expect", "1"]).is_err());
        assert!(flags_of(&["session", "list", "-f"]).is_err());
        assert!(flags_of(&["audit", "tail", "-f"]).is_ok());
    }

    #[test]
    fn limits_are_set_as_documented() {
        for args in [
            &["limit", "set", "login.ip", "30/min", "--burst", "20", "--for", "1h", "--shadow"][..],
            &["limit", "set", "login.account", "--burst", "5", "--first-delay", "1s", "--max-delay", "15m"],
            &["limit", "set", "login.ip", "off"],
            &["limit", "reset", "login.ip", "--key", "192.0.2.1"],
        ] {
            assert!(parse(args).is_ok(), "{args:?}");
        }
        assert!(parse(&["limit", "test", "login.net", "60/min", "--burst", "30", "--replay", "24h"]).is_ok());
        assert!(parse(&["limit", "set", "login.ip", "30 per minute"]).is_err());
    }

    #[test]
    fn a_password_is_never_an_argument() {
        assert!(parse(&["user", "create", "ada@example.org", "--password", "x"]).is_err());
        assert!(parse(&["user", "create", "ada@example.org", "--password-stdin"]).is_ok());
    }
}
