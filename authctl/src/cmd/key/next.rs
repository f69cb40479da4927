//! The next signing key: made, waited for, put into force.

use crate::{
    context::{Context, Intent},
    error::{Error, Refusal},
    output::Done,
};
use shared::{
    admin::{
        Empty,
        key::{List, Promote, Rotate, RotateRequest, Rotation, Stage, StageRequest, Staged, State},
    },
    time::{Span, Timestamp},
};
use std::time::Duration;

/// How often a waiting `rotate` looks.
const POLL: Duration = Duration::from_secs(1);
/// What `--force` risks.
const FORCED: &str = "Promote now? Verifiers that have not seen the next key refuse new tokens until they fetch it";

fn request(intent: Intent, force: bool) -> RotateRequest {
    RotateRequest { force, reason: intent.reason, ticket: intent.ticket, dry_run: intent.dry_run }
}

pub(super) async fn rotate(context: &mut Context<'_>, wait: bool, force: bool) -> Result<(), Error> {
    let build = |intent| request(intent, force);
    let question = |_: &Rotation| Some(FORCED.to_owned());
    let rotation = if force {
        context.change_after_asking::<Rotate>(build, question).await?
    } else {
        context.change::<Rotate>(build).await?
    };
    let Some(rotation) = rotation else { return Ok(()) };
    let waited = wait && !context.flags.dry_run;
    if waited {
        wait_for(context, &rotation).await?;
    }
    let is_due = waited || rotation.promotes_at <= crate::when::now();
    let when = context.output.look().time(rotation.promotes_at);
    let line = match (context.flags.dry_run, is_due) {
        (true, true) => "would sign now".to_owned(),
        (true, false) => format!("would sign: {when}"),
        (false, true) => "signs".to_owned(),
        (false, false) => format!("signs: {when}; that happens by itself"),
    };
    tell(context, "key.rotate", &rotation, &line)
}

pub(super) async fn promote(context: &mut Context<'_>, force: bool) -> Result<(), Error> {
    let build = |intent| request(intent, force);
    let question = |_: &Rotation| Some(FORCED.to_owned());
    let rotation = if force {
        context.change_after_asking::<Promote>(build, question).await?
    } else {
        context.change::<Promote>(build).await?
    };
    let Some(rotation) = rotation else { return Ok(()) };
    let line = if context.flags.dry_run { "would sign now" } else { "signs" };
    tell(context, "key.promote", &rotation, line)
}

fn tell(context: &mut Context<'_>, schema: &str, rotation: &Rotation, what: &str) -> Result<(), Error> {
    for warning in &rotation.warnings {
        context.output.warn(warning.clone());
    }
    let next = rotation.next.as_ref().map_or_else(|| "a new key".to_owned(), ToString::to_string);
    let ids = rotation.next.iter().map(ToString::to_string).collect();
    let lines = vec![format!("{next} {what}")];
    context.output.done(&Done { schema, data: rotation, ids, lines, needed: vec![] })
}

pub(super) async fn stage(context: &mut Context<'_>) -> Result<(), Error> {
    // Who is asked agrees to the replacement by saying yes; who said `--yes` has.
    let build = |intent: Intent| StageRequest {
        replace: true,
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let question = |staged: &Staged| {
        let old = staged.replaced.as_ref()?;
        Some(format!("{old} is staged already. Let a new key take its place? Verifiers have to learn it anew"))
    };
    let Some(staged) = context.change_after_asking::<Stage>(build, question).await? else { return Ok(()) };
    let key = staged.key.as_ref().map_or_else(|| "a new key".to_owned(), ToString::to_string);
    let verb = if context.flags.dry_run { "would be" } else { "is" };
    let mut lines =
        vec![format!("{key} {verb} staged; every verifier knows it: {}", context.output.look().time(staged.ready_at))];
    lines.extend(staged.replaced.iter().map(|old| format!("{old} {verb} retired; it never signed")));
    let ids = staged.key.iter().map(ToString::to_string).collect();
    context.output.done(&Done { schema: "key.stage", data: &staged, ids, lines, needed: vec![] })
}

/// Looks until the next key signs. The daemon promotes it by itself: leaving early changes nothing.
async fn wait_for(context: &mut Context<'_>, rotation: &Rotation) -> Result<(), Error> {
    let Some(next) = &rotation.next else { return Ok(()) };
    let mut announced: Option<Timestamp> = None;
    loop {
        let page = context.client.call::<List>(&Empty {}).await?;
        let Some(key) = page.items.into_iter().find(|key| key.id == *next) else {
            return Err(withdrawn(next.as_str()));
        };
        match key.state {
            State::Staged => {}
            State::Active | State::Retiring => return Ok(()),
            State::Retired | State::Revoked => return Err(withdrawn(next.as_str())),
        }
        let until = key.promotes_at.unwrap_or(rotation.promotes_at);
        // Said once, and again when an instance that began since has made it later.
        if announced.is_none_or(|before| until.as_millis().saturating_sub(before.as_millis()) > LATER_MS) {
            announced = Some(until);
            let left_ms = until.as_millis().saturating_sub(crate::when::now().as_millis());
            let left = Span(Duration::from_secs(u64::try_from(left_ms).unwrap_or(0).div_ceil(1_000)));
            context.output.note(&format!("waiting until {next} signs, for {left}; it does so by itself if you leave"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A promotion that moves by less is on time, in milliseconds.
const LATER_MS: i64 = 10_000;

fn withdrawn(key: &str) -> Error {
    let detail = format!("{key} was withdrawn while waiting for it");
    Error::Refused(Box::new(Refusal { status: 409, code: "CONFLICT".to_owned(), detail, ..Refusal::default() }))
}
