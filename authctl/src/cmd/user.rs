//! `authctl user`

mod export;
mod import;
mod lines;

pub use export::Summary as Exported;
pub use import::Summary as ImportedFile;

use crate::{
    cli::Uses,
    context::{Context, Intent, Part},
    error::Error,
    output::{
        Done,
        look::{name, text},
        table::{Column, Room, Row},
        text::{clean, counted},
    },
    prompt,
};
use clap::{Args, Subcommand, ValueEnum};
use shared::admin::{
    Call, WireSecret,
    user::{
        ChangeRequest, Changed, Create, CreateRequest, Delete, Disable, Enable, List, ListRequest, Logout,
        ResetPassword, Show, ShowRequest, State, Unlock, User,
    },
};

/// Commands about accounts. A USER is an id, the beginning of an id, or an e-mail address.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List accounts, newest first
    #[command(alias = "ls")]
    List {
        /// Only those with this in their e-mail address or user name
        #[arg(value_name = "TEXT")]
        search: Option<String>,
        /// Only those in this state
        #[arg(long, value_enum)]
        state: Option<StateName>,
    },
    /// Show one account
    Show {
        /// Id, beginning of an id, or e-mail address
        user: String,
    },
    /// Make an account; without a password it gets a one-time reset token
    Create(New),
    /// Take accounts out of use and end their sessions
    Disable(Targets),
    /// Take disabled accounts into use again
    Enable(Targets),
    /// Clear the failure counters of accounts
    Unlock(Targets),
    /// End every session of accounts
    Logout(Targets),
    /// Issue a one-time token with which a new password can be set
    ResetPassword {
        /// Id, beginning of an id, or e-mail address
        user: String,
    },
    /// Delete accounts and what belongs to them
    Delete(Targets),
    /// Take accounts over from a file of JSON lines
    ///
    /// Each line is an object: email, and where known username, password_hash, email_verified, disabled,
    /// created_at, last_login_at (RFC 3339), id. The hash is a PHC string of argon2 (at most m=262144, t=16, p=16),
    /// of scrypt (N * r * p at most 2097152), of pbkdf2-sha256 or -sha512 (1000 to 2000000 rounds, also as passlib
    /// writes it), or bcrypt (cost at most 14); it is replaced by one of authd at the first login. Without a hash
    /// the account has no password and needs `user reset-password`.
    ///
    /// A line that is wrong is named with its number and the others are taken (exit 12). An account that is there
    /// already, as its line says, is left alone: an interrupted run can simply be repeated. --dry-run checks every
    /// line, also against the accounts that are there, and takes none.
    Import(import::Source),
    /// Write all accounts as JSON lines that `import` takes
    ///
    /// Newest first, without sessions and devices. Every part that is read is recorded in the audit log.
    Export(export::Destination),
}

/// A state by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateName {
    /// May log in
    Enabled,
    /// Was taken out of use
    Disabled,
}

impl From<StateName> for State {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Enabled => Self::Enabled,
            StateName::Disabled => Self::Disabled,
        }
    }
}

/// Accounts to change.
#[derive(Debug, Clone, Args)]
pub struct Targets {
    /// Ids, beginnings of ids, or e-mail addresses
    #[arg(required = true, value_name = "USER")]
    users: Vec<String>,
}

/// An account to make.
#[derive(Debug, Clone, Args)]
pub struct New {
    /// E-mail address of the account
    email: String,
    /// User name of the account
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "ask_password")]
    password_stdin: bool,
    /// Ask for the password on the terminal
    #[arg(long)]
    ask_password: bool,
}

impl Row for User {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "ID", room: Room::Keep, cell: |user, _| clean(user.id.as_str()) },
        Column { name: "EMAIL", room: Room::Cut, cell: |user, _| text(user.email.as_deref()) },
        Column { name: "STATE", room: Room::Keep, cell: |user, _| name(user.state) },
        Column { name: "LOCKED", room: Room::Optional, cell: |user, _| name(user.locked) },
        Column { name: "SESSIONS", room: Room::Optional, cell: |user, _| user.sessions.to_string() },
        Column { name: "USERNAME", room: Room::Optional, cell: |user, _| text(user.username.as_deref()) },
        Column {
            name: "LAST LOGIN",
            room: Room::Optional,
            cell: |user, look| look.time_or_nothing(user.last_login_at),
        },
        Column { name: "CREATED", room: Room::Wide, cell: |user, look| look.time(user.created_at) },
    ];

    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Command {
    /// Which of the common flags mean something here.
    #[must_use]
    pub fn uses(&self) -> Uses {
        match self {
            Self::List { .. } => Uses::Pages,
            Self::Show { .. }
            | Self::Create(_)
            | Self::Disable(_)
            | Self::Enable(_)
            | Self::Unlock(_)
            | Self::Logout(_)
            | Self::ResetPassword { .. }
            | Self::Delete(_)
            | Self::Import(_)
            | Self::Export(_) => Uses::Nothing,
        }
    }
}

/// How a change of accounts is spoken of.
struct Verb {
    schema: &'static str,
    question: Option<&'static str>,
    done: &'static str,
    would: &'static str,
}

const DISABLE: Verb =
    Verb { schema: "user.disable", question: Some("Disable"), done: "disabled", would: "would be disabled" };
const ENABLE: Verb = Verb { schema: "user.enable", question: None, done: "enabled", would: "would be enabled" };
const UNLOCK: Verb = Verb { schema: "user.unlock", question: None, done: "unlocked", would: "would be unlocked" };
const LOGOUT: Verb =
    Verb { schema: "user.logout", question: Some("Log out"), done: "logged out", would: "would be logged out" };
const DELETE: Verb =
    Verb { schema: "user.delete", question: Some("Delete for good"), done: "deleted", would: "would be deleted" };

/// Runs one of the commands.
///
/// # Errors
/// What the call fails with; [`Error::Partly`] when some of several targets failed.
pub async fn run(context: &mut Context<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::List { search, state } => list(context, search, state.map(State::from)).await,
        Command::Show { user } => {
            let Some(user) = context.call::<Show>(&ShowRequest { user }).await? else { return Ok(()) };
            context.output.item("user.show", &user)
        }
        Command::Create(new) => create(context, &new).await,
        Command::Disable(targets) => change::<Disable>(context, &DISABLE, &targets.users).await,
        Command::Enable(targets) => change::<Enable>(context, &ENABLE, &targets.users).await,
        Command::Unlock(targets) => change::<Unlock>(context, &UNLOCK, &targets.users).await,
        Command::Logout(targets) => change::<Logout>(context, &LOGOUT, &targets.users).await,
        Command::ResetPassword { user } => reset_password(context, &user).await,
        Command::Delete(targets) => change::<Delete>(context, &DELETE, &targets.users).await,
        Command::Import(source) => import::run(context, &source).await,
        Command::Export(destination) => export::run(context, &destination).await,
    }
}

async fn list(context: &mut Context<'_>, search: Option<String>, state: Option<State>) -> Result<(), Error> {
    let build = |part: Part| ListRequest { search: search.clone(), state, limit: part.limit, after: part.after };
    context.list::<List, _>("user.list", build).await
}

async fn create(context: &mut Context<'_>, new: &New) -> Result<(), Error> {
    let password = match (new.password_stdin || new.ask_password, context.flags.print_request) {
        (false, _) => None,
        (true, true) => Some(WireSecret::new(String::new())),
        (true, false) if new.password_stdin => Some(prompt::secret_from_stdin("the password").await?),
        (true, false) => Some(prompt::new_password().await?),
    };
    let build = |intent: Intent| CreateRequest {
        email: new.email.clone(),
        username: new.username.clone(),
        password: password.clone(),
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let Some(created) = context.change::<Create>(build).await? else { return Ok(()) };
    let mut lines = match &created.user {
        Some(user) => vec![format!("{} created", label(user))],
        None => vec![format!("{} would be created", new.email)],
    };
    lines.extend(token_lines(context, created.reset_token.as_ref(), created.expires_at));
    let ids = created.user.iter().map(|user| user.id.to_string()).collect();
    context.output.done(&Done {
        schema: "user.create",
        data: &created,
        ids,
        lines,
        needed: bare(created.reset_token.as_ref()),
    })
}

async fn reset_password(context: &mut Context<'_>, user: &str) -> Result<(), Error> {
    let build = |intent: Intent| request(user, intent);
    let Some(reset) = context.change::<ResetPassword>(build).await? else { return Ok(()) };
    let mut lines = token_lines(context, reset.reset_token.as_ref(), reset.expires_at);
    if lines.is_empty() {
        lines.push(format!("{} would get a reset token", label(&reset.user)));
    }
    let ids = vec![reset.user.id.to_string()];
    context.output.done(&Done {
        schema: "user.reset-password",
        data: &reset,
        ids,
        lines,
        needed: bare(reset.reset_token.as_ref()),
    })
}

fn token_lines(context: &Context<'_>, token: Option<&WireSecret>, end: Option<shared::time::Timestamp>) -> Vec<String> {
    let Some(token) = token else { return Vec::new() };
    let until = end.map(|end| format!(" (ends {})", context.output.look().time(end))).unwrap_or_default();
    vec![
        format!("reset token: {}", token.expose()),
        format!("it works once{until} and is not shown again; its owner redeems it with"),
        "POST /api/auth/password/reset {\"reset_token\":\"…\",\"new_password\":\"…\"}".to_owned(),
    ]
}

fn bare(token: Option<&WireSecret>) -> Vec<String> {
    token.iter().map(|token| token.expose().to_owned()).collect()
}

fn request(user: &str, intent: Intent) -> ChangeRequest {
    ChangeRequest { user: user.to_owned(), reason: intent.reason, ticket: intent.ticket, dry_run: intent.dry_run }
}

/// The account's id with the name people know it by.
fn label(user: &User) -> String {
    match user.email.as_deref().or(user.username.as_deref()) {
        Some(known_as) => format!("{} {known_as}", user.id),
        None => user.id.to_string(),
    }
}

async fn change<C>(context: &mut Context<'_>, verb: &Verb, users: &[String]) -> Result<(), Error>
where
    C: Call<Request = ChangeRequest, Response = Changed>,
{
    if let Some(question) = verb.question.filter(|_| context.asks_first()) {
        ask::<C>(context, question, users).await?;
    }
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for user in users {
        let request = request(user, context.intent());
        match context.call::<C>(&request).await {
            Ok(changed) => done.extend(changed),
            Err(error) if users.len() == 1 => return Err(error),
            Err(error) => failures.push((user.clone(), error)),
        }
    }
    if context.flags.print_request {
        return Ok(());
    }
    context.warn_of_dry_run();
    finish(context, failures, users.len(), |context| show(context, verb, &done))
}

/// Tries every target dry, so that a mistake in one stops the command before it changes any, and asks once.
async fn ask<C>(context: &Context<'_>, question: &str, users: &[String]) -> Result<(), Error>
where
    C: Call<Request = ChangeRequest, Response = Changed>,
{
    let (mut labels, mut sessions) = (Vec::new(), 0);
    for user in users {
        let trial = Intent { dry_run: true, ..context.intent() };
        let preview = context.client.call::<C>(&request(user, trial)).await?;
        sessions += preview.revoked;
        if preview.changed {
            labels.push(label(&preview.user));
        }
    }
    if labels.is_empty() {
        return Ok(());
    }
    let ending = if sessions > 0 { format!(", ending {}", counted(sessions, "session")) } else { String::new() };
    prompt::confirm(clean(&format!("{question} {}{ending}?", labels.join(", ")))).await
}

fn show(context: &mut Context<'_>, verb: &Verb, done: &[Changed]) -> Result<(), Error> {
    let dry = context.flags.dry_run;
    let line = |changed: &Changed| {
        let what = match (changed.changed, dry) {
            (false, _) => "nothing to change",
            (true, true) => verb.would,
            (true, false) => verb.done,
        };
        let ended = if changed.revoked > 0 {
            format!(", {} ended", counted(changed.revoked, "session"))
        } else {
            String::new()
        };
        format!("{} {what}{ended}", label(&changed.user))
    };
    let ids = done.iter().map(|changed| changed.user.id.to_string()).collect();
    let lines = done.iter().map(line).collect();
    context.output.done(&Done { schema: verb.schema, data: &done, ids, lines, needed: vec![] })
}

/// Shows what was done of several targets, then says which of them failed.
///
/// # Errors
/// The failure itself when all failed, [`Error::Partly`] when some did.
pub(super) fn finish<'a>(
    context: &mut Context<'a>,
    failures: Vec<(String, Error)>,
    total: usize,
    show: impl FnOnce(&mut Context<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    for (target, error) in &failures {
        context.output.warn(format!("{target}: {}", error.line()));
    }
    let failed = failures.len();
    match failures.into_iter().next() {
        None => show(context),
        Some((_, error)) if failed == total => Err(error),
        Some((target, error)) => {
            show(context)?;
            Err(Error::Partly { failed, total, first: format!("{target}: {}", error.line()) })
        }
    }
}
