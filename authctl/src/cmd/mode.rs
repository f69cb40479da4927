//! `authctl mode`

use crate::{
    context::{Context, Intent},
    error::Error,
    output::{
        Done,
        look::{NOTHING, name, text},
        table::{Column, Room, Row},
    },
    when::parse_span,
};
use clap::{Subcommand, ValueEnum};
use shared::{
    admin::{
        Empty,
        mode::{Mode, Set, SetRequest, Show, Standing},
    },
    time::Span,
};

/// Commands about the operating mode.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the mode in force
    Show,
    /// Change the mode of all instances, for good or for a time
    Set {
        /// Which mode
        #[arg(value_name = "MODE")]
        mode: ModeName,
        /// Return to normal after this time, at most 30d
        #[arg(long = "for", value_name = "TIME", value_parser = parse_span)]
        lasting: Option<Span>,
    },
}

/// A mode by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeName {
    /// Everything is served
    Normal,
    /// Nothing changes: no login, no refresh, no logout; verification and reads go on
    ReadOnly,
    /// No new sessions; the existing ones go on
    NoLogin,
    /// The public API answers 503; only the admin sockets go on
    Lockdown,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Normal => Self::Normal,
            ModeName::ReadOnly => Self::ReadOnly,
            ModeName::NoLogin => Self::NoLogin,
            ModeName::Lockdown => Self::Lockdown,
        }
    }
}

impl Row for Standing {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "MODE", room: Room::Keep, cell: |standing, _| name(standing.mode) },
        Column { name: "SINCE", room: Room::Keep, cell: |standing, look| look.time_or_nothing(standing.changed_at) },
        Column { name: "BY", room: Room::Keep, cell: |standing, _| text(standing.changed_by.as_deref()) },
        Column { name: "ENDS", room: Room::Keep, cell: |standing, look| look.time_or_nothing(standing.expires_at) },
        Column {
            name: "RESTORE",
            room: Room::Cut,
            cell: |standing, _| if standing.restore_pending { RESTORED } else { NOTHING }.to_owned(),
        },
    ];

    fn id(&self) -> String {
        self.mode.to_string()
    }
}

const RESTORED: &str = "locked down until `authctl session epoch-bump --accept-restore`";

/// Runs one of the commands.
///
/// # Errors
/// What the call fails with.
pub async fn run(context: &mut Context<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Show => {
            let Some(standing) = context.call::<Show>(&Empty {}).await? else { return Ok(()) };
            context.output.item("mode.show", &standing)
        }
        Command::Set { mode, lasting } => set(context, mode.into(), lasting).await,
    }
}

async fn set(context: &mut Context<'_>, mode: Mode, lasting: Option<Span>) -> Result<(), Error> {
    let build = |intent: Intent| SetRequest {
        mode,
        lasting,
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let Some(changed) = context.change::<Set>(build).await? else { return Ok(()) };
    let (standing, verb) = (&changed.mode, if context.flags.dry_run { "would be" } else { "is" });
    let until = standing.expires_at.map(|end| format!(", ends {}", context.output.look().time(end)));
    let line = format!("mode {verb} {}{} (was {})", standing.mode, until.unwrap_or_default(), changed.previous.mode);
    if standing.restore_pending {
        context.output.warn(format!("whatever the mode is, the public API stays {RESTORED}"));
    }
    context.output.done(&Done {
        schema: "mode.set",
        data: &changed,
        ids: vec![standing.mode.to_string()],
        lines: vec![line],
        needed: vec![],
    })
}
