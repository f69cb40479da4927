//! `authctl key`

mod next;
mod withdraw;

use crate::{
    context::Context,
    error::Error,
    output::{
        Done, Format,
        look::{name, text},
        table::{Column, Room, Row},
        text::clean,
    },
};
use clap::Subcommand;
use serde_json::Value;
use shared::admin::{
    Empty,
    key::{Jwks, Key, List, Show, ShowRequest},
};

/// Commands about signing keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List signing keys, newest first
    #[command(alias = "ls")]
    List,
    /// Show one key and what happens with it next
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Replace the signing key as soon as every verifier can know the next one
    Rotate {
        /// Wait until the next key signs
        #[arg(long)]
        wait: bool,
        /// Sign with the next key at once: verifiers that have not seen it refuse its tokens for a while
        #[arg(long)]
        force: bool,
    },
    /// Make and publish the next key now, in place of the staged one
    ///
    /// There is always a staged key, so this asks whether a new one may take its place (`--yes`: it may): after a
    /// change of `token.algorithm`, or when the staged key must not be used. The time verifiers need to know it begins
    /// anew.
    Stage,
    /// Let the staged key sign now, if every verifier can know it
    ///
    /// Refused, with the time that is left, until every live instance has published the key for the cache age of the
    /// key set and the clock skew. `authctl key rotate` does it by itself when that time has come.
    Promote {
        /// Even if verifiers may not know it: they refuse its tokens until they fetch the key set
        #[arg(long)]
        force: bool,
    },
    /// Take a retiring key out of the key set before its time
    ///
    /// A retiring key leaves the key set by itself when the last token it signed has expired everywhere. Earlier it is
    /// refused while such tokens live.
    Retire {
        /// Its id, or the beginning of it
        id: String,
        /// Even while tokens live that it signed: they are refused from then on
        #[arg(long)]
        force: bool,
    },
    /// Withdraw a key that must not be trusted any more
    ///
    /// Shows first how many sessions that may concern and asks. Then its tokens are refused, within a second on every
    /// instance, and it is not in the key set any more; if it was signing, the staged key signs at once. Sessions go
    /// on: clients refresh. Verifiers that keep the old key set accept its tokens until they fetch the key set again.
    Revoke {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Print the published key set
    Jwks,
}

impl Row for Key {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "ID", room: Room::Keep, cell: |key, _| clean(key.id.as_str()) },
        Column { name: "STATE", room: Room::Keep, cell: |key, _| name(key.state) },
        Column { name: "ALGORITHM", room: Room::Cut, cell: |key, _| clean(&key.algorithm) },
        Column { name: "ACTIVATED", room: Room::Optional, cell: |key, look| look.time_or_nothing(key.activated_at) },
        Column { name: "RETIRES", room: Room::Optional, cell: |key, look| look.time_or_nothing(key.retires_at) },
        Column { name: "PUBLISHED", room: Room::Wide, cell: |key, look| look.time_or_nothing(key.published_at) },
        Column { name: "CREATED", room: Room::Wide, cell: |key, look| look.time(key.created_at) },
        Column { name: "READY", room: Room::Wide, cell: |key, look| look.time_or_nothing(key.ready_at) },
        Column { name: "TOKENS UNTIL", room: Room::Wide, cell: |key, look| look.time_or_nothing(key.tokens_until) },
        Column { name: "ENCRYPTED UNDER", room: Room::Wide, cell: |key, _| text(key.kek_id.as_deref()) },
        Column { name: "NEXT", room: Room::Wide, cell: |key, _| clean(&key.next) },
    ];

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// Runs one of the commands.
///
/// # Errors
/// What the call fails with.
pub async fn run(context: &mut Context<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::List => context.list::<List, _>("key.list", |_| Empty {}).await,
        Command::Show { id } => show(context, id).await,
        Command::Rotate { wait, force } => next::rotate(context, wait, force).await,
        Command::Stage => next::stage(context).await,
        Command::Promote { force } => next::promote(context, force).await,
        Command::Retire { id, force } => withdraw::retire(context, id, force).await,
        Command::Revoke { id } => withdraw::revoke(context, id).await,
        Command::Jwks => jwks(context).await,
    }
}

async fn show(context: &mut Context<'_>, id: String) -> Result<(), Error> {
    let Some(key) = context.call::<Show>(&ShowRequest { id }).await? else { return Ok(()) };
    context.output.item("key.show", &key)
}

async fn jwks(context: &mut Context<'_>) -> Result<(), Error> {
    let Some(set) = context.call::<Jwks>(&Empty {}).await? else { return Ok(()) };
    if context.output.format() == Format::Json {
        return context.output.document("key.jwks", &set, Value::Null);
    }
    let kids = set.get("keys").and_then(Value::as_array).into_iter().flatten();
    let ids = kids.filter_map(|key| key.get("kid")?.as_str().map(str::to_owned)).collect();
    // The key set itself is what `> jwks.json` wants, whatever the flags for people say.
    match context.output.format() {
        Format::Ids | Format::Jsonl => {
            context.output.done(&Done { schema: "key.jwks", data: &set, ids, lines: vec![], needed: vec![] })
        }
        Format::Table | Format::Wide | Format::Json => {
            context.output.raw(&crate::output::text::clean_json(&format!("{set:#}\n")))
        }
    }
}
