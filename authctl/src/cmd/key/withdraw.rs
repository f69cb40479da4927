//! Taking a signing key out of the key set before its time: what it does is shown before it is done.

use crate::{
    context::{Context, Intent},
    error::Error,
    output::{Done, look::Look, look::name},
    when,
};
use shared::admin::key::{Retire, RetireRequest, Revoke, RevokeRequest, State, Withdrawal};

pub(super) async fn retire(context: &mut Context<'_>, id: String, force: bool) -> Result<(), Error> {
    let build = |intent: Intent| RetireRequest {
        id: id.clone(),
        force,
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let look = context.output.look().clone();
    let question = |found: &Withdrawal| {
        // Without `--force` it is refused while tokens live, so there is nothing to agree to.
        force.then(|| format!("{}\nTake {} out of the key set?", impact(found, &look).join("\n"), found.id))
    };
    let Some(done) = context.change_after_asking::<Retire>(build, question).await? else { return Ok(()) };
    tell(context, "key.retire", &done, "retired")
}

pub(super) async fn revoke(context: &mut Context<'_>, id: String) -> Result<(), Error> {
    let build = |intent: Intent| RevokeRequest {
        id: id.clone(),
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let look = context.output.look().clone();
    let question =
        |found: &Withdrawal| Some(format!("{}\nWithdraw {} now?", impact(found, &look).join("\n"), found.id));
    let Some(done) = context.change_after_asking::<Revoke>(build, question).await? else { return Ok(()) };
    tell(context, "key.revoke", &done, "revoked")
}

/// What it means for whoever holds a token of the key.
fn impact(found: &Withdrawal, look: &Look) -> Vec<String> {
    let id = &found.id;
    let mut lines = vec![format!("{id} is {}.", name(found.was))];
    if found.sessions == 0 && found.tokens_until <= when::now() {
        lines.push("No token that it signed lives.".to_owned());
    } else {
        lines.push(format!(
            "Live sessions that may hold a token of it and then have to refresh: {}. The last of these tokens ends: {}",
            found.sessions,
            look.time(found.tokens_until),
        ));
    }
    if found.was != State::Staged {
        let until = look.time(found.caches_until);
        lines.push(format!("Gateways that keep the key set may accept its tokens still: {until}"));
    }
    lines.extend(found.next.iter().map(|next| format!("{next} signs from then on.")));
    lines.extend(found.warnings.iter().cloned());
    lines
}

fn tell(context: &mut Context<'_>, schema: &str, done: &Withdrawal, what: &str) -> Result<(), Error> {
    for warning in &done.warnings {
        context.output.warn(warning.clone());
    }
    let lines = if context.flags.dry_run {
        let mut lines = impact(done, context.output.look());
        lines.push(format!("{} would be {what}", done.id));
        lines
    } else {
        let mut lines = vec![format!("{} is {what}", done.id)];
        lines.extend(done.next.iter().map(|next| format!("{next} signs")));
        lines
    };
    context.output.done(&Done { schema, data: done, ids: vec![done.id.to_string()], lines, needed: vec![] })
}
