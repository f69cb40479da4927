//! `authctl session stats` and `lineage`: the whole of all sessions, and the whole of one.

use crate::{
    context::Context,
    error::Error,
    output::{
        Format,
        look::{name, shown, text},
        table::{Column, Room, Row},
        text::{clean, fit, width},
    },
};
use serde_json::Value;
use shared::admin::{
    Empty,
    session::{
        ShowRequest,
        lineage::{History, Lineage, Step},
        stats::{Overview, Stats},
    },
};

/// Columns of a label; longer ones are cut.
const LABEL: usize = 60;

impl Row for Step {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "AT", room: Room::Keep, cell: |step, look| look.time(step.at) },
        Column { name: "ACTION", room: Room::Keep, cell: |step, _| clean(&step.action) },
        Column { name: "GENERATION", room: Room::Optional, cell: |step, _| shown(step.generation) },
        Column { name: "OUTCOME", room: Room::Optional, cell: |step, _| name(step.outcome) },
        Column { name: "REASON", room: Room::Cut, cell: |step, _| text(step.reason.as_deref()) },
        Column { name: "NETWORK", room: Room::Optional, cell: |step, _| text(step.network.as_deref()) },
        Column { name: "DEVICE", room: Room::Optional, cell: |step, _| text(step.device.as_deref()) },
        Column { name: "ACTOR", room: Room::Wide, cell: |step, _| actor(step) },
        Column { name: "REQUEST", room: Room::Wide, cell: |step, _| text(step.request_id.as_deref()) },
        Column { name: "EVENT", room: Room::Wide, cell: |step, _| text(step.event.as_ref().map(|id| id.as_str())) },
    ];

    fn id(&self) -> String {
        self.event.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

fn actor(step: &Step) -> String {
    let Some(actor) = &step.actor else { return String::new() };
    match (&actor.id, actor.uid) {
        (Some(id), _) => clean(id),
        (None, Some(uid)) => format!("uid:{uid}"),
        (None, None) => name(actor.kind),
    }
}

/// `authctl session lineage`
pub(super) async fn lineage(context: &mut Context<'_>, id: String) -> Result<(), Error> {
    let Some(history) = context.call::<Lineage>(&ShowRequest { id }).await? else { return Ok(()) };
    if history.truncated {
        context.output.warn("older events were left out: see `authctl audit list --target` with the id");
    }
    match context.output.format() {
        Format::Json => context.output.document("session.lineage", &history, Value::Null),
        Format::Jsonl | Format::Ids => context.output.rows(&history.steps),
        Format::Table | Format::Wide => {
            context.output.note(&headline(&history));
            context.output.rows(&history.steps)
        }
    }
}

/// What the steps are about.
fn headline(history: &History) -> String {
    let session = &history.session;
    let owner = session.email.as_deref().unwrap_or(session.user_id.as_str());
    let end = session.end_reason.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{} of {owner}: {}{end}, generation {}", session.id, name(session.state), session.generation)
}

/// `authctl session stats`
pub(super) async fn stats(context: &mut Context<'_>) -> Result<(), Error> {
    let Some(overview) = context.call::<Stats>(&Empty {}).await? else { return Ok(()) };
    match context.output.format() {
        Format::Json => context.output.document("session.stats", &overview, Value::Null),
        Format::Jsonl => {
            let line = crate::output::json::lines(std::slice::from_ref(&overview))?;
            context.output.raw(&line)
        }
        Format::Ids => Ok(()),
        Format::Table | Format::Wide => {
            let lines = lines(&overview);
            context.output.raw(&lines)
        }
    }
}

fn lines(overview: &Overview) -> String {
    let states = overview.state;
    let total = states.live + states.ended + states.expired;
    let mut table: Vec<(String, u64)> = vec![
        ("sessions".to_owned(), total),
        ("  live".to_owned(), states.live),
        ("  ended".to_owned(), states.ended),
        ("  expired".to_owned(), states.expired),
        ("live by transport".to_owned(), states.live),
        ("  body".to_owned(), overview.transport.body),
        ("  cookie".to_owned(), overview.transport.cookie),
        ("live by age".to_owned(), states.live),
    ];
    let mut older = None;
    for age in &overview.age {
        let label = match (&age.under, &older) {
            (Some(under), _) => format!("  under {}", clean(under)),
            (None, Some(last)) => format!("  over {last}"),
            (None, None) => "  any".to_owned(),
        };
        older = age.under.as_deref().map(clean).or(older);
        table.push((label, age.live));
    }
    let heading = |text: &str, shares: usize| (shares > 0).then(|| (text.to_owned(), states.live));
    table.extend(heading("live by account, most first", overview.accounts.len()));
    let account = |share: &shared::admin::session::stats::AccountShare| {
        let owner = share.email.as_deref().unwrap_or(share.user_id.as_str());
        (format!("  {}", clean(owner)), share.live)
    };
    table.extend(overview.accounts.iter().map(account));
    table.extend(heading("live by network, most first", overview.networks.len()));
    table.extend(overview.networks.iter().map(|share| (format!("  {}", clean(&share.network)), share.live)));
    let room = table.iter().map(|(label, _)| width(label)).max().unwrap_or(0).min(LABEL);
    let line = |(label, count): &(String, u64)| {
        let label = fit(label, room);
        let pad = " ".repeat(room.saturating_sub(width(&label)));
        format!("{label}{pad}  {count:>9}\n")
    };
    table.iter().map(line).collect()
}
