//! `authctl audit tail` and `authctl events`: the last events and, with `-f`, those to come, over restarts of the
//! daemon.

use super::audit::Filter;
use crate::{
    context::{Context, Part},
    error::{Error, Exit},
};
use shared::admin::{
    Page,
    audit::{Event, List, ListRequest, Tail, TailRequest},
};
use std::time::Duration;

/// Events shown before those to come, when nobody says.
const BACKLOG: u32 = 20;
/// Waits between attempts to come back, doubling from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Shows the end of the log.
///
/// # Errors
/// What the calls fail with; while following, only what will not pass by itself.
pub(super) async fn run(context: &mut Context<'_>, filter: &Filter, schema: &str) -> Result<(), Error> {
    if filter.ip.is_some() && context.flags.follow {
        return Err(Error::usage("--ip cannot be followed", "leave out -f, or filter by --actor or --target"));
    }
    let after = read_position(context)?;
    if context.flags.print_request {
        return context.print_call::<Tail>(&TailRequest { after });
    }
    if context.flags.follow { follow(context, filter, after).await } else { last(context, filter, after, schema).await }
}

fn read_position(context: &Context<'_>) -> Result<Option<u64>, Error> {
    let Some(text) = &context.flags.after else { return Ok(None) };
    let wrong = |_| Error::usage(format!("`{text}` is not a position"), "use the `seq` of an event");
    text.parse().map(Some).map_err(wrong)
}

/// The last events that match, oldest first.
async fn backlog(context: &mut Context<'_>, filter: &Filter) -> Result<Page<Event>, Error> {
    let limit = context.flags.limit.unwrap_or(BACKLOG);
    let request = filter.request(context, Part { limit: Some(limit), after: None });
    let mut page = context.client.call::<List>(&request).await?;
    page.items.reverse();
    Ok(page)
}

async fn last(context: &mut Context<'_>, filter: &Filter, after: Option<u64>, schema: &str) -> Result<(), Error> {
    let mut page = backlog(context, filter).await?;
    if let Some(after) = after {
        page.items.retain(|event| event.seq.is_none_or(|seq| seq > after));
    }
    page.next = None;
    context.output.list(schema, &page)
}

/// Opens the stream first and reads the backlog up to where it begins: what happens in between is in the stream.
async fn follow(context: &mut Context<'_>, filter: &Filter, after: Option<u64>) -> Result<(), Error> {
    context.output.use_absolute_times();
    let matching = filter.request(context, Part { limit: None, after: None });
    let mut follower = Follower { seen: after, matching, pause: PAUSES.0 };
    let mut stream = open(context, &follower).await?;
    follower.seen = follower.seen.or(stream.position());
    if let (None, Some(begin)) = (after, follower.seen) {
        let mut events = backlog(context, filter).await?.items;
        events.retain(|event| event.seq.is_some_and(|seq| seq <= begin));
        context.output.stream(&events)?;
    }
    loop {
        let ended = follower.drain(context, &mut stream).await?;
        if let Some(error) = ended {
            context.output.note(&format!("{}; trying again", error.line()));
        }
        stream = follower.reopen(context).await?;
    }
}

async fn open(context: &Context<'_>, follower: &Follower) -> Result<crate::client::stream::Lines, Error> {
    context.client.open::<Tail>(&TailRequest { after: follower.seen }).await
}

/// Where a follower is, so that it neither loses nor repeats an event.
struct Follower {
    seen: Option<u64>,
    matching: ListRequest,
    pause: Duration,
}

impl Follower {
    /// Shows events until the stream ends; `Some` when it broke.
    async fn drain(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut crate::client::stream::Lines,
    ) -> Result<Option<Error>, Error> {
        loop {
            let event: Event = match stream.next_value().await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(None),
                Err(error) if is_passing(&error) => return Ok(Some(error)),
                Err(error) => return Err(error),
            };
            self.pause = PAUSES.0;
            if self.is_new(&event) && self.matching.matches(&event) {
                context.output.stream(std::slice::from_ref(&event))?;
            }
        }
    }

    /// Takes note of an event's place; what was seen is not shown twice.
    fn is_new(&mut self, event: &Event) -> bool {
        let Some(seq) = event.seq else { return true };
        let is_new = self.seen.is_none_or(|seen| seq > seen);
        self.seen = Some(self.seen.map_or(seq, |seen| seen.max(seq)));
        is_new
    }

    async fn reopen(&mut self, context: &Context<'_>) -> Result<crate::client::stream::Lines, Error> {
        loop {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSES.1);
            match open(context, self).await {
                Ok(stream) => {
                    self.seen = self.seen.or(stream.position());
                    return Ok(stream);
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a restart of the daemon can explain it.
fn is_passing(error: &Error) -> bool {
    matches!(error.exit(), Exit::Unreachable | Exit::Temporary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(seq: u64) -> Event {
        serde_json::from_value(json!({
            "id": shared::id::EventId::new(1, [0; 10]), "seq": seq, "at": "2026-11-20T08:00:00Z",
            "action": "login.denied", "outcome": "denied", "reason": null,
            "actor": {"kind": "anonymous", "id": null, "uid": null, "login_uid": null, "pid": null},
            "target": null, "network": null, "device": null, "request_id": null, "tenant": null, "detail": null,
        }))
        .unwrap()
    }

    #[test]
    fn an_event_that_was_seen_before_a_restart_is_not_shown_again() {
        let mut follower = Follower { seen: Some(4), matching: ListRequest::default(), pause: PAUSES.0 };
        let shown: Vec<bool> = [4, 5, 5, 6].into_iter().map(|seq| follower.is_new(&event(seq))).collect();
        assert_eq!(shown, [false, true, false, true]);
        assert_eq!(follower.seen, Some(6));
    }

    #[test]
    fn only_what_a_restart_explains_is_waited_out() {
        assert!(is_passing(&Error::Unreachable { tried: vec![] }));
        assert!(is_passing(&Error::Broken(String::new())));
        assert!(!is_passing(&Error::NotPermitted { path: std::path::PathBuf::new() }));
    }
}
