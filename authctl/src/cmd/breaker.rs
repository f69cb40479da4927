//! `authctl breaker`

use crate::{
    context::{Context, Intent},
    error::Error,
    output::{
        Done,
        look::{name, shown},
        table::{Column, Room, Row},
        text::clean,
    },
};
use clap::Subcommand;
use shared::{
    admin::{
        Empty,
        breaker::{Breaker, Close, CloseRequest, HoldRequest, List, Open},
    },
    time::Span,
};
use std::time::Duration;

/// Commands about circuit breakers.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the breakers of this instance
    #[command(alias = "ls")]
    List,
    /// Hold a breaker open: what it protects is not called until it is closed again
    Open {
        /// Which dependency: database or redis
        name: String,
    },
    /// Close a breaker; failures may open it again
    Close {
        /// Which dependency: database or redis
        name: String,
        /// Keep it closed whatever fails
        #[arg(long)]
        hold: bool,
    },
}

impl Row for Breaker {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "BREAKER", room: Room::Keep, cell: |breaker, _| clean(&breaker.name) },
        Column { name: "STATE", room: Room::Keep, cell: |breaker, _| name(breaker.state) },
        Column {
            name: "HELD",
            room: Room::Keep,
            cell: |breaker, _| if breaker.held { "yes" } else { "no" }.to_owned(),
        },
        Column { name: "SINCE", room: Room::Cut, cell: |breaker, look| look.time_or_nothing(breaker.since) },
        Column { name: "FAILURES", room: Room::Optional, cell: |breaker, _| breaker.failures.to_string() },
        Column { name: "RETRY IN", room: Room::Optional, cell: |breaker, _| retry_in(breaker) },
    ];

    fn id(&self) -> String {
        self.name.clone()
    }
}

/// The wait in whole seconds.
fn retry_in(breaker: &Breaker) -> String {
    shown(
        breaker
            .retry_in
            .map(|wait| Span(Duration::from_secs(wait.0.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX)))),
    )
}

/// Runs one of the commands.
///
/// # Errors
/// What the call fails with.
pub async fn run(context: &mut Context<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::List => context.list::<List, _>("breaker.list", |_| Empty {}).await,
        Command::Open { name } => {
            let build = |intent: Intent| HoldRequest {
                name: name.clone(),
                reason: intent.reason,
                ticket: intent.ticket,
                dry_run: intent.dry_run,
            };
            let question = |breaker: &Breaker| {
                Some(format!("Call {} no more on this instance, until it is closed again?", breaker.name))
            };
            let Some(breaker) = context.change_after_asking::<Open>(build, question).await? else { return Ok(()) };
            show_change(context, "breaker.open", &breaker, "held open")
        }
        Command::Close { name, hold } => {
            let build = |intent: Intent| CloseRequest {
                name: name.clone(),
                hold,
                reason: intent.reason,
                ticket: intent.ticket,
                dry_run: intent.dry_run,
            };
            let Some(breaker) = context.change::<Close>(build).await? else { return Ok(()) };
            show_change(context, "breaker.close", &breaker, if hold { "held closed" } else { "closed" })
        }
    }
}

fn show_change(context: &mut Context<'_>, schema: &str, breaker: &Breaker, how: &str) -> Result<(), Error> {
    let verb = if context.flags.dry_run { "would be" } else { "is" };
    context.output.done(&Done {
        schema,
        data: breaker,
        ids: vec![breaker.name.clone()],
        lines: vec![format!("the breaker of {} {verb} {how}", breaker.name)],
        needed: vec![],
    })
}
