//! Every way a command can fail, and the one mapping to exit codes.

use crate::{
    client::Asked,
    output::text::{clean, counted},
};
use shared::{
    admin::{CallInfo, NO_SUCH_CALL},
    error::ErrorCode,
    time::Span,
};
use std::{io, path::PathBuf};

/// Exit codes of the program; their numbers are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All of it was done.
    Done = 0,
    /// Something nobody expected.
    Unexpected = 1,
    /// The command line or a value in it.
    Usage = 2,
    /// The daemon runs and is not ready.
    NotReady = 3,
    /// The thing does not exist.
    NotFound = 10,
    /// Conflict, ambiguous target, or a set that is not as expected.
    Conflict = 11,
    /// Some of it was done.
    Partly = 12,
    /// Declined, or no terminal to ask on.
    Declined = 13,
    /// A check found problems.
    CheckFailed = 14,
    /// The daemon cannot be reached.
    Unreachable = 69,
    /// A bug in the daemon.
    Internal = 70,
    /// Worth trying again.
    Temporary = 75,
    /// Not authorised.
    NotAuthorised = 77,
    /// The configuration is wrong.
    Configuration = 78,
    /// Interrupted from the keyboard.
    Interrupted = 130,
}

impl Exit {
    /// The number the process ends with.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// What the daemon said no with, read leniently: it may be newer than this program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Code as the daemon wrote it.
    pub code: String,
    /// What happened, for people.
    pub detail: String,
    /// What to quote when asking about it.
    pub request_id: Option<String>,
    /// Details of fields, or the candidates of an ambiguous target.
    pub details: Vec<String>,
}

impl Refusal {
    fn exit(&self) -> Exit {
        match ErrorCode::from_text(&self.code) {
            Some(code) => exit_of_code(code),
            None => match self.status {
                404 => Exit::NotFound,
                409 => Exit::Conflict,
                401 | 403 => Exit::NotAuthorised,
                408 | 429 | 503 => Exit::Temporary,
                400..=499 => Exit::Usage,
                500..=599 => Exit::Internal,
                _ => Exit::Unexpected,
            },
        }
    }

    fn hint(&self) -> &'static str {
        match self.exit() {
            Exit::Usage => "correct the value; `--help` after the command says what it takes",
            Exit::NotFound => "the `list` command of the noun shows what exists; an id may be cut short, not misspelt",
            Exit::Conflict if self.details.is_empty() => "look at the present state with `list` or `show`, then decide",
            Exit::Conflict => "name one of them by its full id",
            Exit::NotAuthorised => {
                "use root or an account in a group of `admin.admin_groups` (reads: `admin.read_groups`)"
            }
            Exit::Temporary => "try again; `authctl status` says how the daemon is",
            Exit::Internal => "a bug in authd: its log has the details under the request id",
            _ => "see the log of authd",
        }
    }
}

fn exit_of_code(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::Malformed
        | ErrorCode::InvalidEmail
        | ErrorCode::InvalidUsername
        | ErrorCode::WeakPassword
        | ErrorCode::MethodNotAllowed
        | ErrorCode::PayloadTooLarge
        | ErrorCode::UriTooLong
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::HeadersTooLarge => Exit::Usage,
        ErrorCode::NotFound => Exit::NotFound,
        ErrorCode::DuplicateEmail | ErrorCode::DuplicateUsername | ErrorCode::Conflict | ErrorCode::SessionLimit => {
            Exit::Conflict
        }
        ErrorCode::InvalidCredentials
        | ErrorCode::MissingToken
        | ErrorCode::TokenExpired
        | ErrorCode::TokenInvalid
        | ErrorCode::Forbidden
        | ErrorCode::RegistrationClosed
        | ErrorCode::StepUpRequired
        | ErrorCode::Csrf => Exit::NotAuthorised,
        ErrorCode::Timeout
        | ErrorCode::RateLimited
        | ErrorCode::StorageUnavailable
        | ErrorCode::Overloaded
        | ErrorCode::ReadOnly => Exit::Temporary,
        ErrorCode::Internal => Exit::Internal,
    }
}

/// Every way a command can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line, or a value in it, makes no sense.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// No socket answered.
    #[error("the daemon cannot be reached: {}", .tried.join("; "))]
    Unreachable {
        /// Each socket and why it did not answer.
        tried: Vec<String>,
    },
    /// The kernel does not let this user open the socket.
    #[error("not allowed to open {}", .path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// Somebody else than the daemon listens.
    #[error("{} is served by user id {uid}: neither root, nor you, nor the owner of its directory", .path.display())]
    Impostor {
        /// The socket.
        path: PathBuf,
        /// Who listens.
        uid: u32,
    },
    /// The daemon said no.
    #[error("{}", refusal_line(.0))]
    Refused(Box<Refusal>),
    /// The daemon did not answer in time.
    #[error("no answer within {0}")]
    Timeout(Span),
    /// The connection ended before the answer was complete.
    #[error("the daemon closed the connection: {0}")]
    Broken(String),
    /// The answer is not what this program understands.
    #[error("the answer cannot be understood: {0}")]
    Answer(String),
    /// A question could not be asked.
    #[error("there is no terminal to ask: {0}")]
    NoTerminal(String),
    /// The answer was no.
    #[error("declined: nothing was changed")]
    Declined,
    /// Some of several targets failed.
    #[error("{failed} of {total} failed: {first}")]
    Partly {
        /// How many failed.
        failed: usize,
        /// How many there were.
        total: usize,
        /// The first failure.
        first: String,
    },
    /// The daemon runs and is not ready.
    #[error("the daemon is not ready")]
    NotReady,
    /// A file that is to be written is there already.
    #[error("{} exists", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A check found problems.
    #[error("the check found {}", counted(*.0, "problem"))]
    CheckFailed(u64),
    /// The configuration is wrong.
    #[error("the configuration has {}", counted(*.0, "problem"))]
    Configuration(usize),
    /// Interrupted from the keyboard.
    #[error("interrupted")]
    Interrupted,
    /// Reading or writing here failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

fn refusal_line(refusal: &Refusal) -> String {
    const SHOWN: usize = 10;
    let text = if refusal.detail.is_empty() { &refusal.code } else { &refusal.detail };
    if refusal.details.is_empty() {
        return text.clone();
    }
    let shown: Vec<&str> = refusal.details.iter().take(SHOWN).map(String::as_str).collect();
    match refusal.details.len().saturating_sub(SHOWN) {
        0 => format!("{text}: {}", shown.join(", ")),
        more => format!("{text}: {} and {more} more", shown.join(", ")),
    }
}

impl Error {
    /// A mistake on the command line.
    #[must_use]
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }

    /// What the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::NotPermitted { .. } | Self::Impostor { .. } => Exit::NotAuthorised,
            Self::Refused(refusal) => refusal.exit(),
            Self::Timeout(_) | Self::Broken(_) => Exit::Temporary,
            Self::NoTerminal(_) | Self::Declined => Exit::Declined,
            Self::Partly { .. } => Exit::Partly,
            Self::NotReady => Exit::NotReady,
            Self::Exists { .. } => Exit::Conflict,
            Self::CheckFailed(_) => Exit::CheckFailed,
            Self::Configuration(_) => Exit::Configuration,
            Self::Interrupted => Exit::Interrupted,
            Self::Answer(_) | Self::Io(_) => Exit::Unexpected,
        }
    }

    /// The code for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Usage { .. } => "USAGE",
            Self::Unreachable { .. } => "UNREACHABLE",
            Self::NotPermitted { .. } => "NOT_PERMITTED",
            Self::Impostor { .. } => "IMPOSTOR",
            Self::Refused(refusal) => &refusal.code,
            Self::Timeout(_) => "TIMEOUT",
            Self::Broken(_) => "CONNECTION_LOST",
            Self::Answer(_) => "ANSWER",
            Self::NoTerminal(_) => "NO_TERMINAL",
            Self::Declined => "DECLINED",
            Self::Partly { .. } => "PARTLY",
            Self::NotReady => "NOT_READY",
            Self::Exists { .. } => "EXISTS",
            Self::CheckFailed(_) => "CHECK_FAILED",
            Self::Configuration(_) => "CONFIGURATION",
            Self::Interrupted => "INTERRUPTED",
            Self::Io(_) => "IO",
        }
    }

    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Usage { hint, .. } => return hint.clone(),
            Self::Unreachable { .. } => "see `systemctl status authd`, or name the socket with --socket",
            Self::NotPermitted { .. } => {
                "the socket is for root and the group authd-admin (reads: authd-read); use sudo"
            }
            Self::Impostor { .. } => "find out who runs that process; name the right socket with --socket",
            Self::Refused(refusal) => refusal.hint(),
            Self::Timeout(_) | Self::Broken(_) => {
                "nothing was changed; see `systemctl status authd` and try again; --timeout waits longer"
            }
            Self::Answer(_) => "authctl and authd may be of different versions: see `authctl status`",
            Self::NoTerminal(_) => "add --yes, or look first with --dry-run",
            Self::Declined => "--dry-run shows what it would do without asking",
            Self::Partly { .. } => "correct those that failed and repeat the command for them",
            Self::NotReady => "the lines `degraded` and `problems` say why; so does the log of authd",
            Self::CheckFailed(_) => {
                "each is named above; put it right as it says, or as the manual does, and run the check again"
            }
            Self::Exists { .. } => "nothing is overwritten: name another file, or move that one away",
            Self::Configuration(_) => "correct what is listed and run `authctl config check` again",
            Self::Interrupted => "nothing was changed",
            Self::Io(_) => "look at the file or the pipe it happened with",
        }
        .to_owned()
    }

    /// What to do next, for somebody who used this noun (`session`) and asked the daemon for this: a hint about lists
    /// then names the list, and one after an unknown outcome says what may have happened.
    #[must_use]
    pub fn hint_about(&self, noun: Option<&str>, asked: Asked) -> String {
        if let (Self::Timeout(_) | Self::Broken(_) | Self::Interrupted, Asked::ToChange) = (self, asked) {
            return "a change may have happened: see `authctl audit list`; --timeout waits longer".to_owned();
        }
        let (Self::Refused(refusal), Some(noun)) = (self, noun) else { return self.hint() };
        if refusal.detail == NO_SUCH_CALL && noun != "api" {
            return "authctl is newer than the daemon: `authctl status` has its version, a restart the installed one"
                .to_owned();
        }
        // `session list --user` looks for an account.
        let noun = if refusal.detail.starts_with("there is no account ") { "user" } else { noun };
        let has_list = CallInfo::find(&format!("/v1/{noun}/list")).is_some();
        match (refusal.exit(), noun) {
            (Exit::NotFound, "api") => "`authctl api --help` lists the calls".to_owned(),
            (Exit::NotFound, "schema") => "`authctl schema` lists the kinds".to_owned(),
            (Exit::NotFound, "why") => {
                "`authctl user list` and `authctl session list --all` show what exists; of what is no longer kept `authctl \
                 audit list --target ID` tells"
                    .to_owned()
            }
            (Exit::NotFound, "limit" | "breaker" | "ban" | "allow" | "audit") => {
                format!("`authctl {noun} list` shows what exists")
            }
            (Exit::NotFound, "session") => {
                "`authctl session list` shows what exists; an id may be cut short, not misspelt; of one that is no longer \
                 kept (session.keep) `authctl audit list --target ID` tells"
                    .to_owned()
            }
            (Exit::NotFound, noun) if has_list => {
                format!("`authctl {noun} list` shows what exists; an id may be cut short, not misspelt")
            }
            _ => self.hint(),
        }
    }

    /// What to quote when asking about it.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => refusal.request_id.as_deref(),
            _ => None,
        }
    }

    /// Whether it is about a reader that stopped reading, which is no failure.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The message as one printable line.
    #[must_use]
    pub fn line(&self) -> String {
        clean(&self.to_string())
    }
}

impl From<&clap::Error> for Error {
    fn from(error: &clap::Error) -> Self {
        if error.kind() == clap::error::ErrorKind::MissingSubcommand {
            return Self::usage("a command is missing", "add --help to see the commands");
        }
        let text = error.to_string();
        let (mut message, mut hint) = (Vec::new(), None);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(tip) = line.strip_prefix("tip: ") {
                hint.get_or_insert_with(|| tip.to_owned());
            } else if line.starts_with("Usage:") {
                break;
            } else if !line.starts_with("For more information") {
                message.push(line.strip_prefix("error: ").unwrap_or(line));
            }
        }
        Self::usage(
            message.join(" "),
            hint.unwrap_or_else(|| "`--help` after the command says what it takes".to_owned()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> Error {
        Error::Refused(Box::new(Refusal { status, code: code.to_owned(), ..Refusal::default() }))
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let cases = [
            (Error::usage("x", "y"), 2),
            (Error::NotReady, 3),
            (refused(404, "NOT_FOUND"), 10),
            (refused(409, "CONFLICT"), 11),
            (refused(409, "DUPLICATE_EMAIL"), 11),
            (Error::Partly { failed: 1, total: 2, first: String::new() }, 12),
            (Error::Declined, 13),
            (Error::NoTerminal(String::new()), 13),
            (Error::Unreachable { tried: vec![] }, 69),
            (refused(500, "INTERNAL"), 70),
            (refused(503, "STORAGE_UNAVAILABLE"), 75),
            (refused(429, "RATE_LIMITED"), 75),
            (Error::Timeout(Span::default()), 75),
            (refused(403, "FORBIDDEN"), 77),
            (Error::Impostor { path: PathBuf::new(), uid: 1 }, 77),
            (Error::NotPermitted { path: PathBuf::new() }, 77),
            (Error::Exists { path: PathBuf::new() }, 11),
            (Error::CheckFailed(1), 14),
            (Error::Configuration(1), 78),
            (Error::Interrupted, 130),
            (Error::Io(io::Error::other("x")), 1),
        ];
        for (error, code) in cases {
            assert_eq!(error.exit().code(), code, "{error:?}");
        }
    }

    #[test]
    fn a_code_of_a_newer_daemon_is_understood_by_its_status() {
        assert_eq!(refused(409, "BRAND_NEW").exit(), Exit::Conflict);
        assert_eq!(refused(418, "BRAND_NEW").exit(), Exit::Usage);
        assert_eq!(refused(503, "BRAND_NEW").exit(), Exit::Temporary);
    }

    #[test]
    fn every_refusal_of_the_api_has_an_exit_code_and_a_hint() {
        for code in ErrorCode::ALL {
            let error = refused(code.status(), code.as_str());
            assert_ne!(error.exit(), Exit::Unexpected, "{}", code.as_str());
            assert!(!error.hint().is_empty());
        }
    }

    #[test]
    fn what_is_not_found_is_looked_for_in_the_list_of_its_noun() {
        let missing = refused(404, "NOT_FOUND");
        let hint = |error: &Error, noun| error.hint_about(noun, Asked::ToTell);
        assert!(hint(&missing, Some("session")).contains("`authctl session list`"));
        assert!(!hint(&missing, Some("limit")).contains("cut short"));
        assert_eq!(hint(&missing, None), missing.hint());
        assert_eq!(hint(&refused(503, "OVERLOADED"), Some("session")), refused(503, "OVERLOADED").hint());
    }

    #[test]
    fn only_a_change_without_an_answer_may_have_happened() {
        for error in [Error::Timeout(Span::default()), Error::Broken(String::new()), Error::Interrupted] {
            assert!(error.hint_about(Some("user"), Asked::ToChange).contains("may have happened"), "{error:?}");
            assert!(!error.hint_about(Some("user"), Asked::ToTell).contains("may have happened"), "{error:?}");
        }
    }

    #[test]
    fn no_hint_promises_that_nothing_was_changed_for_the_daemon() {
        // After an unknown outcome only the daemon's own words can tell.
        assert!(!refused(503, "STORAGE_UNAVAILABLE").hint().contains("nothing was changed"));
    }

    #[test]
    fn an_error_is_one_line_whatever_the_daemon_sends() {
        let refusal =
            Refusal { status: 404, code: "X".to_owned(), detail: "a\n\u{1b}[31mb".to_owned(), ..Refusal::default() };
        let line = Error::Refused(Box::new(refusal)).line();
        assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{line:?}");
    }

    #[test]
    fn candidates_of_an_ambiguous_target_are_named() {
        let refusal = Refusal {
            status: 409,
            code: "CONFLICT".to_owned(),
            detail: "2 accounts match".to_owned(),
            details: vec!["usr_1".to_owned(), "usr_2".to_owned()],
            ..Refusal::default()
        };
        let error = Error::Refused(Box::new(refusal));
        assert_eq!(error.line(), "2 accounts match: usr_1, usr_2");
        assert_eq!(error.exit().code(), 11);
    }
}
