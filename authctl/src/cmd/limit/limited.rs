//! Who is at a limit: `authctl limit show` and `authctl limit top`.

use crate::{
    context::Context,
    error::Error,
    output::{
        Format,
        table::{Column, Room, Row},
        text::clean,
    },
};
use serde_json::Value;
use shared::{
    admin::{
        Page,
        limit::{Limited, Shown, Top, TopRequest},
    },
    time::Span,
};
use std::time::Duration;

/// What the numbers are of.
const WHOSE: &str = "counted by the instance that answers, in the last ten minutes; others count for themselves";

impl Row for Limited {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "POLICY", room: Room::Keep, cell: |limited, _| clean(&limited.policy) },
        Column { name: "KEY", room: Room::Keep, cell: |limited, _| clean(&limited.key) },
        Column {
            name: "REFUSED",
            room: Room::Keep,
            cell: |limited, _| super::refused(limited.refused, limited.would_refuse),
        },
        Column { name: "WAIT", room: Room::Keep, cell: |limited, _| wait(limited) },
        Column { name: "SINCE", room: Room::Optional, cell: |limited, look| look.time(limited.since) },
        Column { name: "LAST", room: Room::Optional, cell: |limited, look| look.time(limited.last) },
    ];

    fn id(&self) -> String {
        self.key.clone()
    }
}

/// The wait in whole seconds.
fn wait(limited: &Limited) -> String {
    let seconds = u64::try_from(limited.wait.0.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX);
    Span(Duration::from_secs(seconds)).to_string()
}

/// Shows a policy and below it who is at its limit.
pub(super) fn show(context: &mut Context<'_>, shown: &Shown) -> Result<(), Error> {
    match context.output.format() {
        Format::Json => context.output.document("limit.show", shown, Value::Null),
        Format::Jsonl => context.output.raw(&crate::output::json::lines(std::slice::from_ref(shown))?),
        Format::Ids => context.output.item("limit.show", &shown.limit),
        Format::Table | Format::Wide => {
            context.output.item("limit.show", &shown.limit)?;
            if shown.limited.is_empty() {
                context.output.note("nobody is at the limit now on the instance that answers");
                return Ok(());
            }
            context.output.raw("\n")?;
            context.output.choose_columns(&["KEY", "WAIT", "REFUSED", "SINCE"]);
            context.output.list("limit.show", &Page::whole(shown.limited.clone()))?;
            context.output.note(&format!("note: {WHOSE}"));
            Ok(())
        }
    }
}

/// Shows whom the daemon refused most.
pub(super) async fn top(context: &mut Context<'_>) -> Result<(), Error> {
    let limit = context.flags.limit;
    let Some(page) = context.call::<Top>(&TopRequest { limit }).await? else { return Ok(()) };
    context.output.warn(WHOSE);
    context.output.list("limit.top", &page)
}
