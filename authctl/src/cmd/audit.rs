//! `authctl audit`

mod chain;
mod export;
mod verify;

use super::tail;
use crate::{
    cli::Uses,
    context::{Context, Part},
    error::Error,
    output::{
        look::{NOTHING, name, shown, text},
        table::{Column, Room, Row},
        text::clean,
    },
};
use clap::{Args, Subcommand, ValueEnum};
use shared::admin::{
    audit::{Actor, Event, List, ListRequest, Outcome},
    user::{Show, ShowRequest},
};

/// Commands about the audit log.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List events, newest first
    #[command(alias = "ls")]
    List(Filter),
    /// Show the last events, oldest first; with -f also those to come
    Tail(Filter),
    /// Show one event with its MAC and its hash
    Show {
        /// Its id, or its place in the log
        id: String,
    },
    /// Show how large the log is, how far it is signed, and what happened in the last 24 hours
    Stats,
    /// Check the whole log for changes, deletions, insertions and forks; exit with 14 when there are any
    Verify(verify::What),
    /// Write all events to standard output; --after SEQ: those that follow an earlier export
    Export(export::How),
    /// Sign how far the log has come, and print the anchor to keep elsewhere
    Checkpoint,
    /// Delete events that have outlived audit.retention; a job does so every hour
    Purge {
        /// The clock is right, although the last run is more than two days away from it
        #[arg(long)]
        confirm_clock: bool,
    },
}

/// An outcome by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutcomeName {
    /// Done
    Ok,
    /// Refused
    Denied,
    /// Failed
    Error,
}

impl From<OutcomeName> for Outcome {
    fn from(name: OutcomeName) -> Self {
        match name {
            OutcomeName::Ok => Self::Ok,
            OutcomeName::Denied => Self::Denied,
            OutcomeName::Error => Self::Error,
        }
    }
}

/// Which events.
#[derive(Debug, Clone, Default, Args)]
pub struct Filter {
    /// Only this action, or all of a noun: 'session.*'
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only by this account (id or e-mail address), this job, or this operator: uid:1000
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// Only about this account (id or e-mail address), session, key, policy, address or breaker
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// Only from this address or network
    #[arg(long, value_name = "IP")]
    pub(super) ip: Option<String>,
    /// Only with this outcome
    #[arg(long, value_enum)]
    outcome: Option<OutcomeName>,
    /// Only in this request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    #[arg(skip)]
    notable: Option<bool>,
}

impl Filter {
    /// Everything that is worth a notification.
    pub(super) fn notable() -> Self {
        Self { notable: Some(true), ..Self::default() }
    }

    /// The same with accounts by their ids, which is how events name them.
    pub(super) async fn with_ids(mut self, context: &Context<'_>) -> Result<Self, Error> {
        if context.flags.print_request {
            return Ok(self);
        }
        for name in [&mut self.actor, &mut self.target].into_iter().flatten().filter(|name| name.contains('@')) {
            *name = context.client.call::<Show>(&ShowRequest { user: name.clone() }).await?.id.to_string();
        }
        Ok(self)
    }

    /// The request for a part of the list.
    pub(super) fn request(&self, context: &Context<'_>, part: Part) -> ListRequest {
        ListRequest {
            action: self.action.clone(),
            actor: self.actor.clone(),
            target: self.target.clone(),
            ip: self.ip.clone(),
            outcome: self.outcome.map(Outcome::from),
            since: context.since(),
            until: context.until(),
            request_id: self.request_id.clone(),
            notable: self.notable,
            limit: part.limit,
            after: part.after,
        }
    }
}

impl Row for Event {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "AT", room: Room::Keep, cell: |event, look| look.time(event.at) },
        Column { name: "ACTION", room: Room::Keep, cell: |event, _| clean(&event.action) },
        Column { name: "OUTCOME", room: Room::Keep, cell: |event, _| name(event.outcome) },
        Column { name: "ACTOR", room: Room::Cut, cell: |event, _| actor(&event.actor) },
        Column { name: "TARGET", room: Room::Cut, cell: |event, _| target(event) },
        Column { name: "REASON", room: Room::Optional, cell: |event, _| text(event.reason.as_deref()) },
        Column { name: "NETWORK", room: Room::Optional, cell: |event, _| text(event.network.as_deref()) },
        Column { name: "SEQ", room: Room::Wide, cell: |event, _| shown(event.seq) },
        Column { name: "ID", room: Room::Wide, cell: |event, _| clean(event.id.as_str()) },
        Column { name: "DEVICE", room: Room::Wide, cell: |event, _| text(event.device.as_deref()) },
        Column { name: "REQUEST ID", room: Room::Wide, cell: |event, _| text(event.request_id.as_deref()) },
        Column { name: "LOGIN UID", room: Room::Wide, cell: |event, _| shown(event.actor.login_uid) },
        Column { name: "PID", room: Room::Wide, cell: |event, _| shown(event.actor.pid) },
        Column { name: "TENANT", room: Room::Wide, cell: |event, _| text(event.tenant.as_deref()) },
        Column { name: "DETAIL", room: Room::Wide, cell: |event, _| name(&event.detail) },
    ];

    const USUAL: &'static [usize] = &[20, 15, 7, 30, 30, 16, 18];

    fn id(&self) -> String {
        self.id.to_string()
    }
}

fn actor(actor: &Actor) -> String {
    let who = actor.id.clone().or_else(|| actor.uid.map(|uid| format!("uid:{uid}")));
    who.map_or_else(|| name(actor.kind), |who| clean(&who))
}

fn target(event: &Event) -> String {
    event.target.as_ref().map_or_else(|| NOTHING.to_owned(), |target| clean(&target.id))
}

impl Command {
    /// Which of the common flags mean something here.
    #[must_use]
    pub fn uses(&self) -> Uses {
        match self {
            Self::List(_) => Uses::PagesAndTimes,
            Self::Tail(_) => Uses::Stream,
            Self::Export(_) => Uses::Pages,
            Self::Show { .. } | Self::Stats | Self::Verify(_) | Self::Checkpoint | Self::Purge { .. } => Uses::Nothing,
        }
    }
}

/// Runs one of the commands.
///
/// # Errors
/// What the call fails with.
pub async fn run(context: &mut Context<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::List(filter) => {
            let template = filter.with_ids(context).await?.request(context, Part { limit: None, after: None });
            let build = |part: Part| ListRequest { limit: part.limit, after: part.after, ..template.clone() };
            context.list::<List, _>("audit.list", build).await
        }
        Command::Tail(filter) => tail::run(context, &filter.with_ids(context).await?, "audit.tail").await,
        Command::Show { id } => chain::show(context, &id).await,
        Command::Stats => chain::stats(context).await,
        Command::Verify(what) => verify::run(context, &what).await,
        Command::Export(how) => export::run(context, &how).await,
        Command::Checkpoint => chain::checkpoint(context).await,
        Command::Purge { confirm_clock } => chain::purge(context, confirm_clock).await,
    }
}
