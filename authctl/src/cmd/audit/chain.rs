//! `authctl audit show | stats | checkpoint | purge`

use crate::{
    context::{Context, Intent},
    error::Error,
    output::{
        Done, Format,
        look::{NOTHING, shown, text},
        table::{Column, Room, Row},
        text::clean,
    },
};
use serde_json::Value;
use shared::{
    admin::{
        Page,
        audit::Event,
        chain::{
            CheckpointRequest, Count, Made, MakeCheckpoint, Numbers, Purge, PurgeRequest, Purged, Show, ShowRequest,
            Shown, Stats, StatsRequest,
        },
    },
    time::{Span, Timestamp},
};
use std::time::Duration;

impl Row for Shown {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "ID", room: Room::Keep, cell: |shown, _| clean(shown.event.id.as_str()) },
        Column { name: "SEQ", room: Room::Keep, cell: |found, _| shown(found.event.seq) },
        Column { name: "AT", room: Room::Keep, cell: |shown, look| look.time(shown.event.at) },
        Column { name: "ACTION", room: Room::Keep, cell: |shown, _| clean(&shown.event.action) },
        Column { name: "OUTCOME", room: Room::Keep, cell: |shown, _| crate::output::look::name(shown.event.outcome) },
        Column { name: "REASON", room: Room::Keep, cell: |shown, _| text(shown.event.reason.as_deref()) },
        Column { name: "ACTOR", room: Room::Keep, cell: |shown, _| super::actor(&shown.event.actor) },
        Column { name: "LOGIN UID", room: Room::Keep, cell: |found, _| shown(found.event.actor.login_uid) },
        Column { name: "PID", room: Room::Keep, cell: |found, _| shown(found.event.actor.pid) },
        Column { name: "TARGET", room: Room::Keep, cell: |shown, _| target(&shown.event) },
        Column { name: "NETWORK", room: Room::Keep, cell: |shown, _| text(shown.event.network.as_deref()) },
        Column { name: "DEVICE", room: Room::Keep, cell: |shown, _| text(shown.event.device.as_deref()) },
        Column { name: "REQUEST ID", room: Room::Keep, cell: |shown, _| text(shown.event.request_id.as_deref()) },
        Column { name: "DETAIL", room: Room::Keep, cell: |shown, _| crate::output::look::name(&shown.event.detail) },
        Column { name: "MAC", room: Room::Keep, cell: |shown, _| clean(&shown.mac) },
        Column { name: "HASH", room: Room::Keep, cell: |shown, _| text(shown.hash.as_deref()) },
    ];

    fn id(&self) -> String {
        self.event.id.to_string()
    }
}

fn target(event: &Event) -> String {
    event.target.as_ref().map_or_else(|| NOTHING.to_owned(), |target| clean(&format!("{} {}", target.kind, target.id)))
}

impl Row for Numbers {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "EVENTS", room: Room::Keep, cell: |numbers, _| numbers.events.to_string() },
        Column { name: "NOT SEALED", room: Room::Keep, cell: |numbers, _| numbers.unsealed.to_string() },
        Column { name: "FIRST", room: Room::Keep, cell: |numbers, _| shown(numbers.first_seq) },
        Column { name: "FIRST AT", room: Room::Keep, cell: |numbers, look| look.time_or_nothing(numbers.first_at) },
        Column { name: "LAST", room: Room::Keep, cell: |numbers, _| numbers.last_seq.to_string() },
        Column { name: "CHECKPOINT", room: Room::Keep, cell: |numbers, _| shown(numbers.checkpoint) },
        Column { name: "SIGNED UP TO", room: Room::Keep, cell: |numbers, _| shown(numbers.checkpoint_seq) },
        Column {
            name: "SIGNED AT",
            room: Room::Keep,
            cell: |numbers, look| look.time_or_nothing(numbers.checkpoint_at),
        },
        Column { name: "ANCHORED UP TO", room: Room::Keep, cell: |numbers, _| shown(numbers.anchored_seq) },
        Column { name: "PURGED", room: Room::Keep, cell: |numbers, _| numbers.purged.to_string() },
        Column { name: "PURGED AT", room: Room::Keep, cell: |numbers, look| look.time_or_nothing(numbers.purged_at) },
        Column {
            name: "KEPT FOR",
            room: Room::Keep,
            cell: |numbers, _| Span(Duration::from_millis(numbers.retention_ms)).to_string(),
        },
    ];

    fn id(&self) -> String {
        self.last_seq.to_string()
    }
}

impl Row for Count {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "ACTION", room: Room::Keep, cell: |count, _| clean(&count.action) },
        Column { name: "OUTCOME", room: Room::Keep, cell: |count, _| clean(&count.outcome) },
        Column { name: "EVENTS", room: Room::Keep, cell: |count, _| count.events.to_string() },
    ];

    fn id(&self) -> String {
        self.action.clone()
    }
}

pub(super) async fn show(context: &mut Context<'_>, id: &str) -> Result<(), Error> {
    let request = ShowRequest { id: id.to_owned() };
    let Some(found) = context.call::<Show>(&request).await? else { return Ok(()) };
    context.output.item("audit.show", &found)
}

pub(super) async fn stats(context: &mut Context<'_>) -> Result<(), Error> {
    let Some(numbers) = context.call::<Stats>(&StatsRequest::default()).await? else { return Ok(()) };
    match context.output.format() {
        Format::Json => context.output.document("audit.stats", &numbers, Value::Null),
        Format::Jsonl | Format::Ids => context.output.item("audit.stats", &numbers),
        Format::Table | Format::Wide => {
            context.output.item("audit.stats", &numbers)?;
            context.output.raw("\n")?;
            context.output.list("audit.stats", &Page::whole(numbers.recent))
        }
    }
}

pub(super) async fn checkpoint(context: &mut Context<'_>) -> Result<(), Error> {
    let build =
        |intent: Intent| CheckpointRequest { reason: intent.reason, ticket: intent.ticket, dry_run: intent.dry_run };
    let Some(made) = context.change::<MakeCheckpoint>(build).await? else { return Ok(()) };
    let Made { checkpoint, anchor } = &made;
    let line = match checkpoint {
        Some(checkpoint) => {
            let at = context.output.look().time(Timestamp(checkpoint.at_ms));
            format!("checkpoint {} of {at} signs the log up to event {}", checkpoint.number, checkpoint.seq)
        }
        None => "there is no checkpoint yet".to_owned(),
    };
    let anchor: Vec<String> = anchor.iter().cloned().collect();
    let lines = std::iter::once(line).chain(anchor.iter().cloned()).collect();
    let ids = checkpoint.iter().map(|checkpoint| checkpoint.number.to_string()).collect();
    context.output.done(&Done { schema: "audit.checkpoint", data: &made, ids, lines, needed: anchor })
}

pub(super) async fn purge(context: &mut Context<'_>, confirm_clock: bool) -> Result<(), Error> {
    let build = |intent: Intent| PurgeRequest {
        confirm_clock,
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let question = |purged: &Purged| {
        let up_to = purged.up_to_seq?;
        Some(format!("Delete {} events, up to event {up_to}, for good?", purged.purged))
    };
    let Some(purged) = context.change_after_asking::<Purge>(build, question).await? else { return Ok(()) };
    let verb = if context.flags.dry_run { "would go" } else { "are gone" };
    let mut lines =
        vec![format!("{} events older than {} {verb}", purged.purged, context.output.look().time(purged.cut_off))];
    lines.extend(purged.refused.iter().map(|why| format!("the rest is kept: {why}")));
    let refused = purged.refused.is_some();
    context.output.done(&Done { schema: "audit.purge", data: &purged, ids: vec![], lines, needed: vec![] })?;
    if refused { Err(Error::CheckFailed(1)) } else { Ok(()) }
}
