//! `authctl limit`

mod limited;
mod trial;

pub use trial::Candidate;

use crate::{
    context::{Context, Intent},
    error::Error,
    output::{
        Done,
        look::{NOTHING, name, text},
        table::{Column, Room, Row},
        text::clean,
    },
    when::parse_span,
};
use clap::{Args, Subcommand};
use shared::{
    admin::{
        Empty,
        limit::{Changed, Limit, List, Reset, ResetRequest, Set, SetRequest, Setting, Show, ShowRequest},
    },
    rate::Rate,
    time::Span,
};

/// Commands about limits.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every policy with its live value
    #[command(alias = "ls")]
    List,
    /// Show one policy, and who is at its limit now on the instance that answers
    Show {
        /// Name of the policy, like login.ip
        policy: String,
    },
    /// Change a policy, for good or for a time; what is not named stays as it is
    Set(Values),
    /// Show whom the instance that answers refused most in the last ten minutes
    Top,
    /// Try a limit on the attempts of the past: how many it would have refused, and how many of those were real logins
    Test(Candidate),
    /// Return a policy to its default, or forget one address or account
    Reset {
        /// Name of the policy, like login.ip
        policy: String,
        /// Forget what was counted for this address, network or account, named as `limit top` shows it, and leave
        /// the policy as it is
        #[arg(long, value_name = "VALUE")]
        key: Option<String>,
    },
}

/// What to change of a policy.
#[derive(Debug, Args)]
pub struct Values {
    /// Name of the policy, like login.ip
    policy: String,
    /// How many in how long: 30/min, 10/15min, or off
    #[arg(value_parser = |text: &str| text.parse::<Rate>().map_err(|error| error.to_string()))]
    rate: Option<Rate>,
    /// How many at once; of a count or a spread: how many; of a share: of how many attempts at least
    #[arg(long, value_name = "N")]
    burst: Option<u32>,
    /// Of login.hard, whose --burst is for unknown devices: how many for known ones
    #[arg(long, value_name = "N")]
    known: Option<u32>,
    /// Of a ladder: the delay after the burst; each further one doubles
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    first_delay: Option<Span>,
    /// Of a ladder: the longest delay
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    max_delay: Option<Span>,
    /// Of a share: more than so many in a hundred
    #[arg(long, value_name = "P%", value_parser = crate::cli::parse_percent)]
    percent: Option<u32>,
    /// Return to the value before it after this time
    #[arg(long = "for", value_name = "TIME", value_parser = parse_span)]
    lasting: Option<Span>,
    /// Only count, and refuse nothing; a change without --shadow makes it refuse again
    #[arg(long)]
    shadow: bool,
}

impl Row for Limit {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "POLICY", room: Room::Keep, cell: |limit, _| clean(&limit.policy) },
        Column { name: "LIMIT", room: Room::Cut, cell: |limit, _| in_force(limit) },
        Column {
            name: "SHADOW",
            room: Room::Keep,
            cell: |limit, _| if limit.shadow { "yes" } else { NOTHING }.to_owned(),
        },
        Column { name: "REFUSED", room: Room::Keep, cell: |limit, _| refused(limit.refused, limit.would_refuse) },
        Column { name: "EXPIRES", room: Room::Optional, cell: |limit, look| look.time_or_nothing(limit.expires_at) },
        Column { name: "DEFAULT", room: Room::Optional, cell: |limit, _| setting(&limit.default) },
        Column { name: "KIND", room: Room::Wide, cell: |limit, _| name(limit.kind) },
        Column { name: "CHANGED", room: Room::Wide, cell: |limit, look| look.time_or_nothing(limit.changed_at) },
        Column { name: "CHANGED BY", room: Room::Wide, cell: |limit, _| text(limit.changed_by.as_deref()) },
    ];

    fn id(&self) -> String {
        self.policy.clone()
    }
}

/// `30/min burst 20`, and while an alarm goes on what is left of it: `30/min burst 20 (alarm: 30/4min burst 5)`.
fn in_force(limit: &Limit) -> String {
    match &limit.tightened {
        None => value(limit),
        Some(left) => format!("{} (alarm: {})", value(limit), setting(left)),
    }
}

fn value(limit: &Limit) -> String {
    setting(&Setting {
        rate: limit.rate,
        burst: limit.burst,
        known: limit.known,
        first_delay: limit.first_delay,
        max_delay: limit.max_delay,
        percent: limit.percent,
        window: limit.window,
        lock: limit.lock,
    })
}

/// `12`, and with those that a policy in shadow let through: `12 (+340 let through)`.
fn refused(refused: u64, let_through: u64) -> String {
    if let_through == 0 { refused.to_string() } else { format!("{refused} (+{let_through} let through)") }
}

/// A setting as a person would say it.
fn setting(setting: &Setting) -> String {
    let (Some(percent), Some(attempts)) = (setting.percent, setting.burst) else { return setting_of_others(setting) };
    if setting.rate == Some(Rate::Off) { "off".to_owned() } else { format!("{percent}% of {attempts}") }
}

fn setting_of_others(setting: &Setting) -> String {
    if setting.rate == Some(Rate::Off) {
        return "off".to_owned();
    }
    if let (Some(count), Some(window), Some(lock)) = (setting.burst, setting.window, setting.lock) {
        return format!("{count} in {window} then {lock}");
    }
    let mut parts = Vec::new();
    parts.extend(setting.rate.map(|rate| rate.to_string()));
    if let (Some(unknown), Some(known)) = (setting.burst, setting.known) {
        return format!("{unknown} unknown, {known} known");
    }
    match (setting.burst, parts.is_empty() && setting.first_delay.is_none()) {
        (Some(count), true) => parts.push(count.to_string()),
        (Some(burst), false) => parts.push(format!("burst {burst}")),
        (None, _) => {}
    }
    match (setting.first_delay, setting.max_delay) {
        (Some(first), Some(max)) => parts.push(format!("then {first} to {max}")),
        (Some(first), None) => parts.push(format!("then {first}")),
        (None, Some(max)) => parts.push(format!("at most {max}")),
        (None, None) => {}
    }
    if parts.is_empty() { NOTHING.to_owned() } else { parts.join(" ") }
}

/// Runs one of the commands.
///
/// # Errors
/// What the call fails with.
pub async fn run(context: &mut Context<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::List => context.list::<List, _>("limit.list", |_| Empty {}).await,
        Command::Show { policy } => {
            let Some(shown) = context.call::<Show>(&ShowRequest { policy }).await? else { return Ok(()) };
            limited::show(context, &shown)
        }
        Command::Top => limited::top(context).await,
        Command::Test(candidate) => trial::run(context, &candidate).await,
        Command::Set(values) => set(context, &values).await,
        Command::Reset { policy, key } => reset(context, &policy, key).await,
    }
}

async fn set(context: &mut Context<'_>, values: &Values) -> Result<(), Error> {
    let says_nothing = values.rate.is_none()
        && values.burst.is_none()
        && values.known.is_none()
        && values.first_delay.is_none()
        && values.max_delay.is_none()
        && values.percent.is_none()
        && !values.shadow;
    if says_nothing {
        let hint = "add a rate like 30/min, --burst N, or --shadow; what was set is undone by `limit reset`";
        return Err(Error::usage("there is nothing to set", hint));
    }
    let build = |intent: Intent| SetRequest {
        policy: values.policy.clone(),
        rate: values.rate,
        burst: values.burst,
        known: values.known,
        first_delay: values.first_delay,
        max_delay: values.max_delay,
        percent: values.percent,
        lasting: values.lasting,
        shadow: values.shadow,
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let Some(changed) = context.change::<Set>(build).await? else { return Ok(()) };
    show_change(context, "limit.set", &changed)
}

async fn reset(context: &mut Context<'_>, policy: &str, key: Option<String>) -> Result<(), Error> {
    let build = |intent: Intent| ResetRequest {
        policy: policy.to_owned(),
        key: key.clone(),
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let Some(changed) = context.change::<Reset>(build).await? else { return Ok(()) };
    let Some(key) = &key else { return show_change(context, "limit.reset", &changed) };
    let line = match (changed.forgotten, context.flags.dry_run) {
        (Some(false), false) => format!("{policy}: nothing was counted for {key}"),
        (Some(false), true) => format!("{policy}: {key} need not wait now"),
        (_, false) => format!("{policy}: forgot {key}"),
        (_, true) => format!("{policy}: would forget {key}"),
    };
    let lines = vec![line];
    context.output.done(&Done {
        schema: "limit.reset",
        data: &changed,
        ids: vec![policy.to_owned()],
        lines,
        needed: vec![],
    })
}

fn show_change(context: &mut Context<'_>, schema: &str, changed: &Changed) -> Result<(), Error> {
    let (limit, verb) = (&changed.limit, if context.flags.dry_run { "would be" } else { "is" });
    let shadow = if limit.shadow { ", only counting" } else { "" };
    let until = limit.expires_at.map(|end| format!(", ends {}", context.output.look().time(end))).unwrap_or_default();
    let was = value(&changed.previous);
    let line = format!("{} {verb} {}{shadow}{until} (was {was})", limit.policy, value(limit));
    if limit.rate == Some(Rate::Off) && !context.flags.dry_run {
        context.output.warn(format!("{} refuses nothing until it is set again", limit.policy));
    }
    context.output.done(&Done {
        schema,
        data: changed,
        ids: vec![limit.policy.clone()],
        lines: vec![line],
        needed: vec![],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_reads_like_the_configuration() {
        let rate = Setting { rate: "30/min".parse().ok(), burst: Some(20), ..Setting::default() };
        let ladder = Setting {
            burst: Some(5),
            first_delay: "1s".parse().ok(),
            max_delay: "15m".parse().ok(),
            ..Setting::default()
        };
        let count = Setting { burst: Some(5), ..Setting::default() };
        let hard = Setting { burst: Some(85), known: Some(15), ..Setting::default() };
        assert_eq!(setting(&rate), "30/min burst 20");
        assert_eq!(setting(&Setting { rate: Some(Rate::Off), ..rate.clone() }), "off");
        assert_eq!(setting(&ladder), "burst 5 then 1s to 15m");
        assert_eq!(setting(&count), "5");
        assert_eq!(setting(&hard), "85 unknown, 15 known");
        assert_eq!(setting(&Setting::default()), "-");
        let window = "10m".parse().ok();
        let spread = Setting { burst: Some(10), window, lock: "15m".parse().ok(), ..Setting::default() };
        assert_eq!(setting(&spread), "10 in 10m then 15m");
        assert_eq!(setting(&Setting { burst: Some(0), rate: Some(Rate::Off), ..spread }), "off");
        let share = Setting { burst: Some(200), percent: Some(60), ..Setting::default() };
        assert_eq!(setting(&share), "60% of 200");
        assert_eq!((refused(3, 0).as_str(), refused(0, 4).as_str()), ("3", "0 (+4 let through)"));
    }
}
