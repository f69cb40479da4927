//! Completion in a shell: the script that asks this program, and the answers, with ids from the daemon.
//!
//! Which argument names what follows from its noun and its name, so that a new command completes without a line here.
//! An answer takes 100 ms at most; a daemon that is away or refuses has nothing to say, and nothing is said about it.

use crate::{
    cli::Cli,
    client::{Client, runtime_directory, socket::Search},
    error::Error,
};
use clap::{Command, CommandFactory};
use clap_complete::{
    ArgValueCompleter, CompletionCandidate, Shell,
    env::{EnvCompleter, Shells},
};
use shared::{
    admin::{CALLS, Empty, address, breaker, key, limit, session, user},
    time::Span,
};
use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

/// Set by the script to the name of the shell: the arguments then are the line to complete.
const VARIABLE: &str = "AUTHCTL_COMPLETE";
/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_millis(100);
/// Most ids that are fetched: nobody reads more.
const MOST: u32 = 100;

/// What an argument names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Session,
    User,
    Key,
    Limit,
    Breaker,
    Ban,
    Allowance,
    /// What `why` explains.
    Subject,
    Call,
    Kind,
}

/// What an argument of a command names, by the noun and its own name.
fn named(noun: &str, argument: &str) -> Option<Named> {
    match (noun, argument) {
        ("why", "subject") => Some(Named::Subject),
        ("session", "id" | "ids" | "session" | "sessions") => Some(Named::Session),
        ("key", "id" | "ids" | "key" | "keys") => Some(Named::Key),
        ("user", "id" | "ids") | (_, "user" | "users") => Some(Named::User),
        ("limit", "policy") => Some(Named::Limit),
        ("breaker", "name") => Some(Named::Breaker),
        ("ban", "network") => Some(Named::Ban),
        ("allow", "network") => Some(Named::Allowance),
        ("api", "name") => Some(Named::Call),
        ("schema", "kind") => Some(Named::Kind),
        _ => None,
    }
}

/// The script for a shell.
///
/// # Errors
/// [`Error::Io`] for a shell that this program cannot complete in.
pub fn script(shell: Shell) -> Result<String, Error> {
    let mut script = Vec::new();
    completer(&shell.to_string())?.write_registration(VARIABLE, "authctl", "authctl", "authctl", &mut script)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

fn completer(shell: &str) -> io::Result<&'static dyn EnvCompleter> {
    const SHELLS: Shells<'static> = Shells::builtins();
    let found = SHELLS.0.iter().copied().find(|completer| completer.is(shell));
    found.ok_or_else(|| io::Error::other(format!("no completion for the shell {shell}")))
}

/// Answers the script, if it is who asks; the exit code then.
#[must_use]
pub fn answer(args: &[OsString]) -> Option<u8> {
    let shell = std::env::var(VARIABLE).ok().filter(|shell| !shell.is_empty())?;
    let line: Vec<OsString> = args.iter().skip_while(|arg| *arg != "--").skip(1).cloned().collect();
    let directory = std::env::current_dir().ok();
    let mut command = completing(&line);
    let mut text = Vec::new();
    let written = completer(&shell)
        .and_then(|completer| completer.write_complete(&mut command, line, directory.as_deref(), &mut text))
        .and_then(|()| io::stdout().write_all(&text));
    // A shell has no use for a message in the middle of a line.
    Some(u8::from(written.is_err()))
}

/// The command with completers at every argument that names something.
fn completing(line: &[OsString]) -> Command {
    let socket = socket_of(line).or_else(|| std::env::var_os("AUTHCTL_SOCKET").map(PathBuf::from));
    let mut command = Cli::command().mut_subcommands(|noun| {
        let (name, socket) = (noun.get_name().to_owned(), socket.clone());
        let with_own = asking(noun, &name, socket.as_ref());
        with_own.mut_subcommands(|verb| asking(verb, &name, socket.as_ref()))
    });
    command.build();
    command
}

fn asking(command: Command, noun: &str, socket: Option<&PathBuf>) -> Command {
    command.mut_args(|argument| match named(noun, argument.get_id().as_str()) {
        None => argument,
        Some(named) => {
            let socket = socket.cloned();
            argument.add(ArgValueCompleter::new(move |typed: &OsStr| candidates(named, typed, socket.clone())))
        }
    })
}

/// The socket that the line names.
fn socket_of(line: &[OsString]) -> Option<PathBuf> {
    let texts: Vec<&str> = line.iter().filter_map(|word| word.to_str()).collect();
    let joined = texts.iter().find_map(|word| word.strip_prefix("--socket="));
    let apart =
        || texts.windows(2).find(|pair| pair.first() == Some(&"--socket")).and_then(|pair| pair.last().copied());
    joined.or_else(apart).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn candidates(named: Named, typed: &OsStr, socket: Option<PathBuf>) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else { return Vec::new() };
    let found = match named {
        Named::Call => CALLS.iter().map(|call| (call.path.trim_start_matches("/v1/").to_owned(), None)).collect(),
        Named::Kind => crate::schema::kinds().into_iter().map(|kind| (kind, None)).collect(),
        _ => ask(named, typed, socket),
    };
    let matching = found.into_iter().filter(|(value, _)| value.starts_with(typed));
    matching.map(|(value, help)| CompletionCandidate::new(value).help(help.map(Into::into))).collect()
}

/// Values with what they are, for shells that show it.
type Found = Vec<(String, Option<String>)>;

fn ask(named: Named, typed: &str, socket: Option<PathBuf>) -> Found {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let client = Client::new(Search::new(socket, runtime_directory()), Span(PATIENCE));
    let found = runtime.block_on(async { tokio::time::timeout(PATIENCE, fetch(&client, named, typed)).await });
    runtime.shutdown_background();
    found.ok().and_then(Result::ok).unwrap_or_default()
}

async fn fetch(client: &Client, named: Named, typed: &str) -> Result<Found, Error> {
    Ok(match named {
        Named::Session => sessions(client, typed).await?,
        Named::User => users(client, typed).await?,
        Named::Subject if typed.is_empty() || typed.starts_with("ses_") => sessions(client, typed).await?,
        Named::Subject => users(client, typed).await?,
        Named::Key => {
            let keys = client.call::<key::List>(&Empty {}).await?.items;
            keys.into_iter().map(|key| (key.id.to_string(), Some(crate::output::look::name(key.state)))).collect()
        }
        Named::Limit => {
            let limits = client.call::<limit::List>(&Empty {}).await?.items;
            limits.into_iter().map(|limit| (limit.policy, None)).collect()
        }
        Named::Breaker => {
            let breakers = client.call::<breaker::List>(&Empty {}).await?.items;
            breakers.into_iter().map(|breaker| (breaker.name, None)).collect()
        }
        Named::Ban => rules(client.call::<address::BanList>(&Empty {}).await?.items),
        Named::Allowance => rules(client.call::<address::AllowList>(&Empty {}).await?.items),
        Named::Call | Named::Kind => Vec::new(),
    })
}

fn rules(rules: Vec<address::Rule>) -> Found {
    rules.into_iter().map(|rule| (rule.network, rule.reason)).collect()
}

/// The newest sessions; those that an id that has begun can mean when none of them does.
async fn sessions(client: &Client, typed: &str) -> Result<Found, Error> {
    let request = session::ListRequest { limit: Some(MOST), ..session::ListRequest::default() };
    let newest = client.call::<session::List>(&request).await?.items;
    let found: Found = newest.into_iter().map(|session| (session.id.to_string(), session.email)).collect();
    if found.iter().any(|(id, _)| id.starts_with(typed)) || !typed.starts_with("ses_") {
        return Ok(found);
    }
    match client.call::<session::Show>(&session::ShowRequest { id: typed.to_owned() }).await {
        Ok(session) => Ok(vec![(session.id.to_string(), session.email)]),
        Err(Error::Refused(refusal)) => Ok(refusal.details.into_iter().map(|id| (id, None)).collect()),
        Err(error) => Err(error),
    }
}

/// Ids, or addresses once something else than an id has begun.
async fn users(client: &Client, typed: &str) -> Result<Found, Error> {
    let by_name = !typed.is_empty() && !"usr_".starts_with(typed) && !typed.starts_with("usr_");
    let search = by_name.then(|| typed.to_owned());
    let request = user::ListRequest { search, limit: Some(MOST), ..user::ListRequest::default() };
    let users = client.call::<user::List>(&request).await?.items;
    if by_name {
        return Ok(users.into_iter().filter_map(|user| user.email).map(|email| (email, None)).collect());
    }
    let found: Found = users.into_iter().map(|user| (user.id.to_string(), user.email)).collect();
    if found.iter().any(|(id, _)| id.starts_with(typed)) || !typed.starts_with("usr_") {
        return Ok(found);
    }
    match client.call::<user::Show>(&user::ShowRequest { user: typed.to_owned() }).await {
        Ok(user) => Ok(vec![(user.id.to_string(), user.email)]),
        Err(Error::Refused(refusal)) => Ok(refusal.details.into_iter().map(|id| (id, None)).collect()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(words: &[&str]) -> Vec<String> {
        let line: Vec<OsString> = words.iter().map(OsString::from).collect();
        let index = line.len() - 1;
        let found = clap_complete::engine::complete(&mut completing(&line), line, index, None).unwrap();
        found.into_iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn commands_and_flags_complete_without_a_daemon() {
        assert!(complete(&["authctl", "sess"]).contains(&"session".to_owned()));
        assert!(complete(&["authctl", "session", "re"]).contains(&"revoke".to_owned()));
        assert!(complete(&["authctl", "session", "list", "--no-h"]).contains(&"--no-headers".to_owned()));
        assert!(complete(&["authctl", "schema", "session.l"]).contains(&"session.list".to_owned()));
        assert!(complete(&["authctl", "api", "session/li"]).contains(&"session/list".to_owned()));
    }

    #[test]
    fn a_daemon_that_is_away_has_nothing_to_say() {
        let line = ["authctl", "--socket", "/nonexistent/admin.sock", "session", "show", "ses_"];
        assert_eq!(complete(&line), Vec::<String>::new());
    }

    #[test]
    fn the_socket_is_the_one_of_the_line() {
        let socket = |words: &[&str]| socket_of(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(socket(&["authctl", "--socket", "/x", "status"]), Some(PathBuf::from("/x")));
        assert_eq!(socket(&["authctl", "status", "--socket=/y"]), Some(PathBuf::from("/y")));
        assert_eq!(socket(&["authctl", "status"]), None);
    }

    #[test]
    fn every_argument_that_takes_an_id_is_completed() {
        for noun in Cli::command().get_subcommands().filter(|noun| noun.has_subcommands()) {
            for verb in noun.get_subcommands() {
                let arguments = verb.get_positionals().map(|argument| argument.get_id().as_str().to_owned());
                let ids = arguments.filter(|id| ["id", "ids", "user", "users", "policy", "key"].contains(&id.as_str()));
                for id in ids.filter(|_| noun.get_name() != "audit") {
                    assert!(named(noun.get_name(), &id).is_some(), "{} {} {id}", noun.get_name(), verb.get_name());
                }
            }
        }
    }

    #[test]
    fn there_is_a_script_for_every_shell() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let script = script(shell).unwrap();
            assert!(script.contains(VARIABLE) && script.contains("authctl"), "{script}");
        }
    }
}
