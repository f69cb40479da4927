//! `authctl limit test`: a limit tried on the attempts of the past.

use crate::{
    context::Context,
    error::Error,
    output::{
        Format,
        table::{Column, Room, Row},
        text::clean,
    },
    when::parse_span,
};
use clap::Args;
use serde_json::Value;
use shared::{
    admin::{
        Page,
        limit::{Test, TestRequest, Trial, Worst},
    },
    rate::Rate,
    time::Span,
};

/// The limit to try.
#[derive(Debug, Args)]
pub struct Candidate {
    /// Name of the policy: login.ip, login.net or login.account
    policy: String,
    /// How many in how long: 30/min, 10/15min, or off
    #[arg(value_parser = |text: &str| text.parse::<Rate>().map_err(|error| error.to_string()))]
    rate: Option<Rate>,
    /// How many at once
    #[arg(long, value_name = "N")]
    burst: Option<u32>,
    /// Of a ladder: the delay after the burst; each further one doubles
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    first_delay: Option<Span>,
    /// Of a ladder: the longest delay
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    max_delay: Option<Span>,
    /// How much of the past
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_span)]
    replay: Span,
}

impl Row for Worst {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "HIT MOST", room: Room::Keep, cell: |worst, _| clean(&worst.key) },
        Column { name: "ATTEMPTS", room: Room::Keep, cell: |worst, _| worst.attempts.to_string() },
        Column { name: "REFUSED", room: Room::Keep, cell: |worst, _| worst.refused.to_string() },
        Column { name: "REAL LOGINS", room: Room::Keep, cell: |worst, _| worst.refused_logins.to_string() },
    ];

    fn id(&self) -> String {
        self.key.clone()
    }
}

/// Asks the daemon and shows what it found.
pub(super) async fn run(context: &mut Context<'_>, candidate: &Candidate) -> Result<(), Error> {
    let request = TestRequest {
        policy: candidate.policy.clone(),
        rate: candidate.rate,
        burst: candidate.burst,
        first_delay: candidate.first_delay,
        max_delay: candidate.max_delay,
        replay: Some(candidate.replay),
    };
    let Some(trial) = context.call::<Test>(&request).await? else { return Ok(()) };
    match context.output.format() {
        Format::Json => context.output.document("limit.test", &trial, Value::Null),
        Format::Jsonl => context.output.raw(&crate::output::json::lines(std::slice::from_ref(&trial))?),
        Format::Ids => context.output.rows(&trial.worst),
        Format::Table | Format::Wide => show(context, candidate, trial),
    }
}

fn show(context: &mut Context<'_>, candidate: &Candidate, trial: Trial) -> Result<(), Error> {
    let period = match trial.cut {
        true => format!("from {} on", context.output.look().time(trial.since)),
        false => format!("in the last {}", candidate.replay),
    };
    let tried = format!("{} {}", trial.policy, super::setting(&trial.tried));
    let line = clean(&format!("{tried}, {period}: {}", sentence(&trial)));
    context.output.raw(&(line + "\n"))?;
    if !trial.worst.is_empty() {
        context.output.raw("\n")?;
        context.output.list("limit.test", &Page::whole(trial.worst))?;
    }
    if trial.cut {
        context.output.warn("there are more events than are read: older ones were left out");
    }
    for note in trial.notes {
        context.output.warn(note);
    }
    Ok(())
}

fn sentence(trial: &Trial) -> String {
    let Trial { attempts, refused, refused_logins, .. } = trial;
    let noun = if *attempts == 1 { "attempt" } else { "attempts" };
    format!("of {attempts} {noun} it would have refused {refused}, {refused_logins} of them real logins")
}
