//! `authctl reload`

use super::config::{change_lines, problem_line};
use crate::{context::Context, error::Error, output::Done};
use shared::admin::daemon::{Reload, ReloadRequest};

/// Makes the daemon read its configuration again.
///
/// # Errors
/// [`Error::Configuration`] when it was rejected: nothing was applied then.
pub async fn run(context: &mut Context<'_>, wait: bool) -> Result<(), Error> {
    let build = |intent: crate::context::Intent| ReloadRequest {
        wait,
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    let Some(reloaded) = context.change::<Reload>(build).await? else { return Ok(()) };
    let mut lines: Vec<String> = reloaded.problems.iter().map(problem_line).collect();
    if reloaded.problems.is_empty() {
        let verb = if context.flags.dry_run { "would apply" } else { "applied" };
        lines.extend(change_lines(verb, &reloaded.applied));
        lines.extend(change_lines("needs a restart", &reloaded.restart));
        if lines.is_empty() {
            lines.push("the configuration is as it was".to_owned());
        }
    }
    let ids = reloaded.applied.iter().map(|change| change.key.clone()).collect();
    context.output.done(&Done { schema: "reload", data: &reloaded, ids, lines, needed: vec![] })?;
    match reloaded.problems.len() {
        0 => Ok(()),
        count => Err(Error::Configuration(count)),
    }
}
