//! `authctl status`

use crate::{
    context::Context,
    error::Error,
    output::{
        look::{Look, name, shown, text},
        table::{Column, Room, Row},
        text::clean,
    },
};
use shared::admin::{
    Empty,
    daemon::{Degraded, Status, StatusReport},
};

impl Row for StatusReport {
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            name: "READY",
            room: Room::Keep,
            cell: |report, _| if report.ready { "yes" } else { "no" }.to_owned(),
        },
        Column { name: "VERSION", room: Room::Keep, cell: |report, _| clean(&report.version) },
        Column { name: "SINCE", room: Room::Keep, cell: |report, look| look.time(report.since) },
        Column { name: "LISTEN", room: Room::Cut, cell: |report, _| text(report.listen.as_deref()) },
        Column { name: "MODE", room: Room::Keep, cell: |report, _| name(report.mode) },
        Column {
            name: "DATABASE",
            room: Room::Cut,
            cell: |report, _| clean(&format!("{} {}", report.database.kind, report.database.state)),
        },
        Column { name: "REDIS", room: Room::Cut, cell: |report, _| clean(&report.redis.state) },
        Column { name: "ACTIVE KEY", room: Room::Cut, cell: |report, _| text(report.keys.active.as_deref()) },
        Column { name: "STAGED KEY", room: Room::Cut, cell: |report, _| text(report.keys.staged.as_deref()) },
        Column { name: "HASHING", room: Room::Cut, cell: |report, _| hashing(report) },
        Column { name: "SESSIONS", room: Room::Cut, cell: |report, _| shown(report.sessions.live) },
        Column { name: "DEGRADED", room: Room::Cut, cell: |report, look| degraded(&report.degraded, look) },
        Column { name: "PROBLEMS", room: Room::Cut, cell: |report, _| clean(&or_none(report.problems.join("; "))) },
    ];

    fn id(&self) -> String {
        self.version.clone()
    }
}

fn hashing(report: &StatusReport) -> String {
    let pool = &report.hashing;
    format!("{} of {} busy, {} waiting, {} checked", pool.busy, pool.workers, pool.queued, pool.evaluated)
}

fn degraded(parts: &[Degraded], look: &Look) -> String {
    let one = |part: &Degraded| format!("{} since {}: {}", part.part, look.time(part.since), part.effect);
    clean(&or_none(parts.iter().map(one).collect::<Vec<_>>().join("; ")))
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

/// Shows how the daemon is.
///
/// # Errors
/// [`Error::NotReady`] when it is not ready, after showing why.
pub async fn run(context: &mut Context<'_>) -> Result<(), Error> {
    let Some(report) = context.call::<Status>(&Empty {}).await? else { return Ok(()) };
    context.output.item("status", &report)?;
    if report.ready { Ok(()) } else { Err(Error::NotReady) }
}
