//! `authctl ban` and `authctl allow`

use crate::{
    context::{Context, Intent},
    error::Error,
    output::{
        Done,
        look::text,
        table::{Column, Room, Row},
        text::clean,
    },
    when::parse_span,
};
use clap::{Args, Subcommand};
use shared::{
    admin::{
        Call, Empty,
        address::{AddRequest, AllowAdd, AllowList, AllowRemove, BanAdd, BanList, BanRemove, RemoveRequest, Rule},
    },
    time::Span,
};

/// Commands about bans, or about allowances.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List those that hold
    #[command(alias = "ls")]
    List,
    /// Add an address or a network; of several that match, the smallest network counts, of equal ones the ban
    Add(Wish),
    /// Remove the one for exactly this address or network
    Remove {
        /// Address or network, like 192.0.2.1, 192.0.2.0/24 or 2001:db8::/48
        network: String,
    },
}

/// What to add.
#[derive(Debug, Args)]
pub struct Wish {
    /// Address or network, like 192.0.2.1, 192.0.2.0/24 or 2001:db8::/48
    network: String,
    /// End by itself after this time
    #[arg(long = "for", value_name = "TIME", value_parser = parse_span)]
    lasting: Option<Span>,
    /// Of a ban: also one that reaches into loopback or a trusted proxy, through which everybody may come
    #[arg(long)]
    force: bool,
}

/// Which of the two nouns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ban`
    Ban,
    /// `allow`
    Allow,
}

impl Row for Rule {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "NETWORK", room: Room::Keep, cell: |rule, _| clean(&rule.network) },
        Column { name: "EXPIRES", room: Room::Keep, cell: |rule, look| look.time_or_nothing(rule.expires_at) },
        Column { name: "REASON", room: Room::Cut, cell: |rule, _| text(rule.reason.as_deref()) },
        Column { name: "SINCE", room: Room::Optional, cell: |rule, look| look.time(rule.created_at) },
        Column { name: "BY", room: Room::Optional, cell: |rule, _| clean(&rule.created_by) },
    ];

    fn id(&self) -> String {
        self.network.clone()
    }
}

/// Runs one of the commands.
///
/// # Errors
/// What the call fails with.
pub async fn run(context: &mut Context<'_>, kind: Kind, command: Command) -> Result<(), Error> {
    match (kind, command) {
        (Kind::Ban, Command::List) => context.list::<BanList, _>("ban.list", |_| Empty {}).await,
        (Kind::Allow, Command::List) => context.list::<AllowList, _>("allow.list", |_| Empty {}).await,
        (Kind::Ban, Command::Add(wish)) => add::<BanAdd>(context, kind, &wish).await,
        (Kind::Allow, Command::Add(wish)) => add::<AllowAdd>(context, kind, &wish).await,
        (Kind::Ban, Command::Remove { network }) => remove::<BanRemove>(context, kind, &network).await,
        (Kind::Allow, Command::Remove { network }) => remove::<AllowRemove>(context, kind, &network).await,
    }
}

async fn add<C>(context: &mut Context<'_>, kind: Kind, wish: &Wish) -> Result<(), Error>
where
    C: Call<Request = AddRequest, Response = Rule>,
{
    if kind == Kind::Allow && wish.force {
        return Err(Error::usage("--force means nothing for an allowance", "leave it out"));
    }
    let build = |intent: Intent| AddRequest {
        network: wish.network.clone(),
        lasting: wish.lasting,
        force: wish.force,
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let Some(rule) = context.change::<C>(build).await? else { return Ok(()) };
    let until = rule.expires_at.map(|end| format!(", ends {}", context.output.look().time(end))).unwrap_or_default();
    let (schema, line) = match (kind, context.flags.dry_run) {
        (Kind::Ban, false) => ("ban.add", format!("{} is banned{until}", rule.network)),
        (Kind::Ban, true) => ("ban.add", format!("{} would be banned{until}", rule.network)),
        (Kind::Allow, false) => ("allow.add", format!("{} is allowed{until}", rule.network)),
        (Kind::Allow, true) => ("allow.add", format!("{} would be allowed{until}", rule.network)),
    };
    done(context, schema, &rule, line)
}

async fn remove<C>(context: &mut Context<'_>, kind: Kind, network: &str) -> Result<(), Error>
where
    C: Call<Request = RemoveRequest, Response = Rule>,
{
    let build = |intent: Intent| RemoveRequest {
        network: network.to_owned(),
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let Some(rule) = context.change::<C>(build).await? else { return Ok(()) };
    let verb = if context.flags.dry_run { "would be" } else { "is" };
    let (schema, line) = match kind {
        Kind::Ban => ("ban.remove", format!("{} {verb} banned no more", rule.network)),
        Kind::Allow => ("allow.remove", format!("{} {verb} allowed no more", rule.network)),
    };
    done(context, schema, &rule, line)
}

fn done(context: &mut Context<'_>, schema: &str, rule: &Rule, line: String) -> Result<(), Error> {
    let ids = vec![rule.network.clone()];
    context.output.done(&Done { schema, data: rule, ids, lines: vec![line], needed: vec![] })
}
