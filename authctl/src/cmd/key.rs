//! `authctl key`

use crate::{
    context::{Context, Intent},
    error::{Error, Refusal},
    output::{
        Done, Format,
        look::name,
        table::{Column, Room, Row},
        text::clean,
    },
};
use clap::Subcommand;
use serde_json::Value;
use shared::admin::{
    Empty,
    key::{Jwks, Key, List, Rotate, RotateRequest, Rotation, State},
};
use std::time::Duration;

/// How often a waiting `rotate` looks.
const POLL: Duration = Duration::from_secs(1);

/// Commands about signing keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List signing keys, newest first
    #[command(alias = "ls")]
    List,
    /// Show one key
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
        Command::Show { id } => show(context, &id).await,
        Command::Rotate { wait, force } => rotate(context, wait, force).await,
        Command::Jwks => jwks(context).await,
    }
}

async fn show(context: &mut Context<'_>, id: &str) -> Result<(), Error> {
    let Some(page) = context.call::<List>(&Empty {}).await? else { return Ok(()) };
    let key = only_match(page.items, id)?;
    context.output.item("key.show", &key)
}

fn only_match(keys: Vec<Key>, id: &str) -> Result<Key, Error> {
    let refused = |status, code: &str, detail: String, details| {
        Error::Refused(Box::new(Refusal { status, code: code.to_owned(), detail, request_id: None, details }))
    };
    let mut matching: Vec<Key> = keys.into_iter().filter(|key| key.id.as_str().starts_with(id)).collect();
    let candidates: Vec<String> = matching.iter().map(|key| key.id.to_string()).collect();
    match (matching.pop(), matching.is_empty()) {
        (None, _) => Err(refused(404, "NOT_FOUND", format!("no key has an id that begins with `{id}`"), vec![])),
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(refused(409, "CONFLICT", format!("{} keys match", candidates.len()), candidates)),
    }
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

async fn rotate(context: &mut Context<'_>, wait: bool, force: bool) -> Result<(), Error> {
    let build =
        |intent: Intent| RotateRequest { force, reason: intent.reason, ticket: intent.ticket, dry_run: intent.dry_run };
    let rotation = if force {
        let question = |_: &Rotation| {
            Some(
                "Promote now? Verifiers that have not seen the next key refuse new tokens until they fetch it"
                    .to_owned(),
            )
        };
        context.change_after_asking::<Rotate>(build, question).await?
    } else {
        context.change::<Rotate>(build).await?
    };
    let Some(rotation) = rotation else { return Ok(()) };
    if wait && !context.flags.dry_run {
        wait_for(context, &rotation).await?;
    }
    for warning in &rotation.warnings {
        context.output.warn(warning.clone());
    }
    let next = rotation.next.as_ref().map_or_else(|| "a new key".to_owned(), ToString::to_string);
    let line = match (context.flags.dry_run, wait) {
        (true, _) => format!("{next} would sign: {}", context.output.look().time(rotation.promotes_at)),
        (false, true) => format!("{next} signs"),
        (false, false) => format!("{next} signs: {}", context.output.look().time(rotation.promotes_at)),
    };
    let ids = rotation.next.iter().map(ToString::to_string).collect();
    context.output.done(&Done { schema: "key.rotate", data: &rotation, ids, lines: vec![line], needed: vec![] })
}

/// Looks until the next key signs. The daemon promotes it by itself: leaving early changes nothing.
async fn wait_for(context: &mut Context<'_>, rotation: &Rotation) -> Result<(), Error> {
    let Some(next) = &rotation.next else { return Ok(()) };
    let mut announced = false;
    loop {
        let page = context.client.call::<List>(&Empty {}).await?;
        match page.items.iter().find(|key| key.id == *next).map(|key| key.state) {
            Some(State::Staged) => {}
            Some(State::Active | State::Retiring | State::Retired) => return Ok(()),
            Some(State::Revoked) | None => {
                let detail = format!("{next} was withdrawn while waiting for it");
                let refusal = Refusal { status: 409, code: "CONFLICT".to_owned(), detail, ..Refusal::default() };
                return Err(Error::Refused(Box::new(refusal)));
            }
        }
        if !announced {
            let when = context.output.look().time(rotation.promotes_at);
            context.output.note(&format!("waiting until {next} signs: {when}"));
            announced = true;
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{id::KeyId, time::Timestamp};

    fn key(unix_ms: i64) -> Key {
        Key {
            id: KeyId::new(unix_ms, [0; 10]),
            algorithm: "EdDSA".to_owned(),
            state: State::Active,
            created_at: Timestamp(unix_ms),
            published_at: None,
            activated_at: None,
            retires_at: None,
        }
    }

    #[test]
    fn a_key_is_found_by_the_beginning_of_its_id() {
        let keys = vec![key(1), key(1_700_000_000_000)];
        let wanted = keys[1].id.clone();
        assert_eq!(only_match(keys.clone(), &wanted.as_str()[..14]).unwrap().id, wanted);
        assert_eq!(only_match(keys.clone(), "key_").unwrap_err().exit().code(), 11);
        assert_eq!(only_match(keys, "key_7").unwrap_err().exit().code(), 10);
    }
}
