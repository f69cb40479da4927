//! `authctl session`

mod overview;

use crate::{
    cli::Uses,
    context::{Context, Intent, Part},
    error::Error,
    output::{
        Done,
        look::{joined, name, text},
        table::{Column, Room, Row},
        text::{clean, counted},
    },
    prompt,
};
use clap::{Args, Subcommand, ValueEnum};
use shared::admin::session::{
    EpochBump, EpochBumpRequest, EpochBumped, List, ListRequest, Revoke, RevokeRequest, Revoked, Session, Show,
    ShowRequest, State,
};

/// By how many per cent a set may drift between the question and the answer when nobody says.
const DRIFT: u32 = 10;
/// Sessions named in a question.
const EXAMPLES: u32 = 3;

/// Commands about sessions.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List sessions, newest first
    ///
    /// Sessions that are over are listed too, until session.keep has passed since their absolute end; of one account
    /// the newest 1000 of them. `audit list --target ID` tells of those that are no longer kept.
    #[command(alias = "ls")]
    List(Filter),
    /// Show one session
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// End the named sessions, or every live one that a filter matches
    ///
    /// What a filter matches ends in one transaction, all of it or nothing: with --expect, another number than that (by
    /// more than --tolerance) changes nothing and exits with 11. Asked on a terminal, about as many as were shown may
    /// end. Each session has its event in the audit log. --all instead of a filter is every live session.
    ///
    /// Until it is done, SQLite, which has one writer, lets other changes wait; `session epoch-bump` ends all sessions
    /// at once, however many there are.
    Revoke {
        /// Ids, or beginnings of ids
        #[arg(conflicts_with_all = ["user", "ip", "state", "device"])]
        ids: Vec<String>,
        /// Which ones, when none is named.
        #[command(flatten)]
        filter: Filter,
    },
    /// Show how many sessions there are, of which kinds, and where most of the live ones are
    Stats,
    /// Show what became of a session, oldest first
    ///
    /// Its opening, rotations from elsewhere, retries, replays and its end come from the audit log. Routine rotations
    /// leave no event: the session itself knows the last one.
    Lineage {
        /// Its id, or the beginning of it
        id: String,
    },
    /// End every session opened before now, and lift the lockdown after a restored database
    EpochBump {
        /// Go on with the restored database
        #[arg(long)]
        accept_restore: bool,
    },
}

/// A state by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateName {
    /// Usable
    Live,
    /// Ended by somebody or something
    Ended,
    /// Reached its end
    Expired,
}

impl From<StateName> for State {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Live => Self::Live,
            StateName::Ended => Self::Ended,
            StateName::Expired => Self::Expired,
        }
    }
}

/// Which sessions.
#[derive(Debug, Clone, Default, Args)]
pub struct Filter {
    /// Only those of this account: id, beginning of an id, or e-mail address
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only those last seen in this network, such as 10.0.0.0/8; sessions know a /24 (IPv6: /48) and nothing finer, so
    /// an address or a smaller network means the one around it
    #[arg(long, value_name = "CIDR")]
    ip: Option<String>,
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<StateName>,
    /// Only those whose device has this in its name
    #[arg(long, value_name = "TEXT")]
    device: Option<String>,
}

impl Row for Session {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "ID", room: Room::Keep, cell: |session, _| clean(session.id.as_str()) },
        Column { name: "EMAIL", room: Room::Cut, cell: |session, _| text(session.email.as_deref()) },
        Column { name: "STATE", room: Room::Keep, cell: |session, _| name(session.state) },
        Column {
            name: "LAST SEEN",
            room: Room::Optional,
            cell: |session, look| look.time_or_nothing(session.last_seen_at),
        },
        Column { name: "DEVICE", room: Room::Optional, cell: |session, _| text(session.device.as_deref()) },
        Column { name: "NETWORK", room: Room::Optional, cell: |session, _| text(session.network.as_deref()) },
        Column { name: "USER ID", room: Room::Wide, cell: |session, _| clean(session.user_id.as_str()) },
        Column { name: "CREATED", room: Room::Wide, cell: |session, look| look.time(session.created_at) },
        Column { name: "IDLE EXPIRES", room: Room::Wide, cell: |session, look| look.time(session.idle_expires_at) },
        Column { name: "EXPIRES", room: Room::Wide, cell: |session, look| look.time(session.expires_at) },
        Column { name: "ENDED", room: Room::Wide, cell: |session, look| look.time_or_nothing(session.ended_at) },
        Column { name: "END REASON", room: Room::Wide, cell: |session, _| text(session.end_reason.as_deref()) },
        Column { name: "GENERATION", room: Room::Wide, cell: |session, _| session.generation.to_string() },
        Column { name: "TRANSPORT", room: Room::Wide, cell: |session, _| clean(&session.transport) },
        Column { name: "AMR", room: Room::Wide, cell: |session, _| joined(&session.amr) },
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
            Self::List(_) => Uses::PagesAndTimes,
            Self::Show { .. } | Self::Stats | Self::Lineage { .. } | Self::EpochBump { .. } => Uses::Nothing,
            Self::Revoke { ids, .. } if ids.is_empty() => Uses::Bulk,
            Self::Revoke { .. } => Uses::Nothing,
        }
    }
}

/// Runs one of the commands.
///
/// # Errors
/// What the call fails with.
pub async fn run(context: &mut Context<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::List(filter) => list(context, filter).await,
        Command::Show { id } => {
            let Some(session) = context.call::<Show>(&ShowRequest { id }).await? else { return Ok(()) };
            context.output.item("session.show", &session)
        }
        Command::Revoke { ids, filter } if ids.is_empty() => revoke_matching(context, filter).await,
        Command::Revoke { .. } if context.flags.all => {
            Err(Error::usage("--all is every live session", "leave out either --all or the ids"))
        }
        Command::Revoke { ids, .. } => revoke_named(context, &ids).await,
        Command::Stats => overview::stats(context).await,
        Command::Lineage { id } => overview::lineage(context, id).await,
        Command::EpochBump { accept_restore } => bump_epoch(context, accept_restore).await,
    }
}

async fn bump_epoch(context: &mut Context<'_>, accept_restore: bool) -> Result<(), Error> {
    let build = |intent: Intent| EpochBumpRequest {
        accept_restore,
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let question = |preview: &EpochBumped| Some(format!("End {}, all there are?", sessions(preview.sessions)));
    let Some(bumped) = context.change_after_asking::<EpochBump>(build, question).await? else { return Ok(()) };
    let verb = if context.flags.dry_run { "would end" } else { "ended" };
    context.output.done(&Done {
        schema: "session.epoch-bump",
        data: &bumped,
        ids: vec![],
        lines: vec![format!("{verb} {}; the epoch is {}", sessions(bumped.sessions), bumped.epoch)],
        needed: vec![],
    })
}

async fn list(context: &mut Context<'_>, filter: Filter) -> Result<(), Error> {
    let (since, until) = (context.since(), context.until());
    let build = |part: Part| ListRequest {
        user: filter.user.clone(),
        ip: filter.ip.clone(),
        state: filter.state.map(State::from),
        since,
        until,
        device: filter.device.clone(),
        limit: part.limit,
        after: part.after,
    };
    context.list::<List, _>("session.list", build).await
}

async fn revoke_matching(context: &mut Context<'_>, filter: Filter) -> Result<(), Error> {
    let (since, until) = (context.since(), context.until());
    let is_open = filter.user.is_none() && filter.ip.is_none() && filter.device.is_none();
    let is_open = is_open && since.is_none() && until.is_none();
    match (is_open, context.flags.all) {
        (false, true) => {
            return Err(Error::usage("--all is every live session", "leave out either --all or the filter"));
        }
        (true, false) if filter.state.is_none() => {
            return Err(Error::usage("no session is named", "give an id or a filter; `--all` ends every session"));
        }
        _ => {}
    }
    // The call wants a condition: every live session is those that are live.
    let state = filter.state.map(State::from).or(context.flags.all.then_some(State::Live));
    let (given, tolerance) = (context.flags.expect, context.flags.tolerance);
    let build = |intent: Intent, expect: Option<u64>, tolerance: Option<u32>| RevokeRequest {
        id: None,
        user: filter.user.clone(),
        ip: filter.ip.clone(),
        state,
        since,
        until,
        device: filter.device.clone(),
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
        expect,
        tolerance,
    };
    let mut bounds = (given, tolerance);
    if context.asks_first() {
        let trial = Intent { dry_run: true, ..context.intent() };
        let preview = context.client.call::<Revoke>(&build(trial, given, tolerance)).await?;
        if preview.matched > 0 {
            let some = examples(context, &filter, preview.matched).await?;
            prompt::confirm(clean(&format!("End {}{some}?", sessions(preview.matched)))).await?;
        }
        // What was agreed to is about this many sessions, not about whatever matches by now.
        bounds = (given.or(Some(preview.matched)), tolerance.or(given.is_none().then_some(DRIFT)));
    }
    let change = |intent: Intent| build(intent, bounds.0, bounds.1);
    let Some(revoked) = context.change::<Revoke>(change).await? else { return Ok(()) };
    show_revoked(context, revoked)
}

/// Some of the sessions that would end, for the question.
async fn examples(context: &Context<'_>, filter: &Filter, matched: u64) -> Result<String, Error> {
    let request = ListRequest {
        user: filter.user.clone(),
        ip: filter.ip.clone(),
        state: Some(State::Live),
        since: context.since(),
        until: context.until(),
        device: filter.device.clone(),
        limit: Some(EXAMPLES),
        after: None,
    };
    let page = context.client.call::<List>(&request).await?;
    let one = |session: &Session| {
        let network = session.network.as_deref().unwrap_or("nowhere");
        format!("{} of {} from {network}", session.id, session.email.as_deref().unwrap_or("nobody"))
    };
    let some: Vec<String> = page.items.iter().map(one).collect();
    let more = if matched > u64::from(EXAMPLES) { ", …" } else { "" };
    Ok(if some.is_empty() { String::new() } else { format!(" ({}{more})", some.join(", ")) })
}

fn show_revoked(context: &mut Context<'_>, revoked: Revoked) -> Result<(), Error> {
    let line = if context.flags.dry_run {
        format!("would end {}", sessions(revoked.matched))
    } else {
        format!("ended {} ({} matched)", sessions(revoked.revoked), revoked.matched)
    };
    context.output.done(&Done {
        schema: "session.revoke",
        data: &revoked,
        ids: vec![],
        lines: vec![line],
        needed: vec![],
    })
}

fn sessions(count: u64) -> String {
    counted(count, "session")
}

async fn revoke_named(context: &mut Context<'_>, ids: &[String]) -> Result<(), Error> {
    if context.asks_first() {
        let mut described = Vec::new();
        for id in ids {
            let session = context.client.call::<Show>(&ShowRequest { id: id.clone() }).await?;
            described.push(format!("{} of {}", session.id, session.email.as_deref().unwrap_or("nobody")));
        }
        prompt::confirm(clean(&format!("End {}?", described.join(", ")))).await?;
    }
    let (mut sum, mut failures) = (Revoked { matched: 0, revoked: 0 }, Vec::new());
    for id in ids {
        let intent = context.intent();
        let request = RevokeRequest {
            id: Some(id.clone()),
            reason: intent.reason,
            ticket: intent.ticket,
            dry_run: intent.dry_run,
            ..RevokeRequest::default()
        };
        match context.call::<Revoke>(&request).await {
            Ok(Some(revoked)) => {
                sum.matched += revoked.matched;
                sum.revoked += revoked.revoked;
            }
            Ok(None) => {}
            Err(error) if ids.len() == 1 => return Err(error),
            Err(error) => failures.push((id.clone(), error)),
        }
    }
    if context.flags.print_request {
        return Ok(());
    }
    context.warn_of_dry_run();
    super::user::finish(context, failures, ids.len(), |context| show_revoked(context, sum))
}
