//! `authctl top`: how the daemon does right now, drawn anew every two seconds until `q`.
//!
//! Drawn by hand: a frame is a list of lines, and a terminal that can be cleared is all it takes.

mod frame;
mod sample;
mod screen;

use crate::{
    context::Context,
    error::Error,
    output::{Format, look::Look},
};
pub use sample::Rate;
use sample::Sample;
use screen::{Keys, Screen};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::admin::{
    Empty,
    audit::{self, Event},
    daemon::{Status, StatusReport},
    limit::{Limited, Top as Limits, TopRequest},
};
use std::{
    io::{self, IsTerminal},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(2);
/// Between the two looks of a single frame, which tell the rates.
const GLANCE: Duration = Duration::from_secs(1);
/// Most lines of whom limits refuse, and of events.
const MOST: u32 = 20;

/// What one frame shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct View {
    /// How the daemon is; `null`: it did not answer.
    pub status: Option<StatusReport>,
    /// What happens, per second.
    pub rates: Vec<Rate>,
    /// Whom limits refuse most.
    pub limited: Vec<Limited>,
    /// The latest notable events, newest first.
    pub events: Vec<Event>,
    /// Why the last look failed, if it did: everything else then is from before.
    pub trouble: Option<String>,
}

/// Looks at the daemon again and again.
struct Watch {
    view: View,
    before: Option<(Instant, Sample)>,
    told: Option<f64>,
}

/// Shows frames until `q`; a single one with `--once`, or where there is no terminal.
///
/// # Errors
/// What the first look fails with; later ones are waited out.
pub(super) async fn run(context: &mut Context<'_>, once: bool) -> Result<(), Error> {
    if context.flags.print_request {
        return context.print_call::<Status>(&Empty {});
    }
    let mut watch = Watch { view: View::default(), before: None, told: None };
    watch.look(context).await?;
    let is_live = io::stdout().is_terminal() && io::stdin().is_terminal();
    if once || !is_live || context.output.format() != Format::Table {
        sleep(GLANCE).await;
        watch.look(context).await?;
        return show(context, &watch.view);
    }
    let (mut screen, mut keys) = (Screen::enter()?, Keys::read());
    loop {
        let (columns, lines) = screen.size();
        // Times are told from now, not from when the program began.
        screen.draw(&frame::lines(&watch.view, &Look::of(context.flags), columns, lines))?;
        tokio::select! {
            key = keys.next() => match key {
                Some(b'q' | b'Q') | None => return Ok(()),
                Some(_) => {}
            },
            () = sleep(PERIOD) => watch.look_again(context).await,
        }
    }
}

fn show(context: &mut Context<'_>, view: &View) -> Result<(), Error> {
    match context.output.format() {
        Format::Json => context.output.document("top", view, Value::Null),
        Format::Jsonl => context.output.raw(&crate::output::json::lines(&[view])?),
        Format::Ids => Ok(()),
        Format::Table | Format::Wide => {
            let columns = context.output.columns_of_table();
            let lines = frame::lines(view, context.output.look(), columns, usize::MAX);
            context.output.raw(&(lines.join("\n") + "\n"))
        }
    }
}

impl Watch {
    /// A look that may fail: the frame then says so and keeps what was seen before.
    async fn look_again(&mut self, context: &Context<'_>) {
        if let Err(error) = self.look(context).await {
            self.view.trouble = Some(error.line());
        }
    }

    async fn look(&mut self, context: &Context<'_>) -> Result<(), Error> {
        let client = &context.client;
        let status = client.call::<Status>(&Empty {}).await?;
        let now = (Instant::now(), Sample::read(&client.metrics().await?));
        let rates = self.before.as_ref().map(|before| now.1.since(&before.1, now.0.duration_since(before.0)));
        let limited = client.call::<Limits>(&TopRequest { limit: Some(MOST) }).await?.items;
        // Reading the audit is audited: it is read only when there is news.
        let told = now.1.sum("authd_events_total");
        if self.told != Some(told) {
            let request =
                audit::ListRequest { notable: Some(true), limit: Some(MOST), ..audit::ListRequest::default() };
            self.view.events = client.call::<audit::List>(&request).await?.items;
            self.told = Some(told);
        }
        self.before = Some(now);
        self.view = View {
            status: Some(status),
            rates: rates.unwrap_or_default(),
            limited,
            events: std::mem::take(&mut self.view.events),
            trouble: None,
        };
        Ok(())
    }
}
