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
        Column {
            name: "PROBLEMS",
            room: Room::Cut,
            cell: |report, _| or_none(report.problems.iter().map(|problem| clean(problem))),
        },
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
    or_none(parts.iter().map(|part| clean(&one(part))))
}

/// A line for each.
fn or_none(lines: impl Iterator<Item = String>) -> String {
    let text = lines.collect::<Vec<_>>().join("\n");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::upright;

    #[test]
    fn what_is_degraded_and_every_problem_begins_a_line() {
        let report: StatusReport = serde_json::from_value(serde_json::json!({
            "version": "1", "ready": false, "since": "2026-11-20T08:00:00Z", "listen": null, "mode": "no-login",
            "database": {"kind": "sqlite", "state": "down"}, "redis": {"state": "off"},
            "keys": {"active": null, "staged": null}, "sessions": {"live": null},
            "hashing": {"workers": 1, "busy": 0, "queued": 0, "evaluated": 0},
            "degraded": [
                {"part": "database", "since": "2026-11-20T08:00:00Z", "effect": "login answers 503; verification goes on"},
                {"part": "mode", "since": "2026-11-20T08:00:01Z", "effect": "login\nanswers 503"},
            ],
            "problems": ["one", "two"],
        }))
        .unwrap();
        let text = upright(&report, &[], &Look::default(), 100).unwrap();
        for line in [
            "DEGRADED:   database since 2026-11-20T08:00:00Z: login answers 503; verification goes on",
            "            mode since 2026-11-20T08:00:01Z: login\\nanswers 503",
            "PROBLEMS:   one",
            "            two",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
