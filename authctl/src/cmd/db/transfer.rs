//! `authctl db move`: the URL of the target holds a password, so it comes from a file, a pipe or an unseen prompt.

use super::{doing, refused};
use crate::{
    context::{Context, Intent},
    error::Error,
    output::{Done, text::clean},
    prompt,
};
use shared::admin::{
    WireSecret,
    db::{Move, MoveLine, MoveRequest, Moved},
};
use std::path::Path;

/// Longest URL, in bytes.
const LONGEST: usize = 4_096;

pub(super) async fn run(context: &mut Context<'_>, file: Option<&Path>) -> Result<(), Error> {
    const WHAT: &str = "URL of the empty PostgreSQL database";
    let target = match file {
        Some(file) => url_of(file)?,
        None if prompt::has_terminal() => prompt::unseen(WHAT).await?,
        None => prompt::secret_from_stdin(WHAT).await?,
    };
    let build = |intent: Intent| MoveRequest {
        target_url: target.clone(),
        reason: intent.reason,
        ticket: intent.ticket,
        dry_run: intent.dry_run,
    };
    if context.flags.print_request {
        return context.print_call::<Move>(&build(context.intent()));
    }
    if context.asks_first() {
        let preview = follow(context, &build(Intent { dry_run: true, ..context.intent() })).await?;
        let (rows, to) = (rows(&preview), clean(&preview.to));
        prompt::confirm(format!("Put all changes off, move {rows} rows to {to}, and use this database no more?"))
            .await?;
    }
    let moved = follow(context, &build(context.intent())).await?;
    context.warn_of_dry_run();
    tell(context, &moved)
}

fn rows(moved: &Moved) -> u64 {
    moved.tables.iter().map(|table| table.rows).sum()
}

async fn follow(context: &mut Context<'_>, request: &MoveRequest) -> Result<Moved, Error> {
    let mut lines = context.client.open::<Move>(request).await?;
    let progress = context.progress();
    loop {
        let lost =
            || Error::Broken("it is not known whether the move was finished: see `authctl db status`".to_owned());
        match lines.next_value().await?.ok_or_else(lost)? {
            MoveLine::Progress(step) => progress.reach(step.done, Some(step.total), doing(&step)),
            MoveLine::Failed(failed) => return Err(refused(failed)),
            MoveLine::Done(moved) => return Ok(moved),
        }
    }
}

fn tell(context: &mut Context<'_>, moved: &Moved) -> Result<(), Error> {
    let (to, rows) = (&moved.to, rows(moved));
    let mut lines = Vec::new();
    if context.flags.dry_run {
        lines.push(clean(&format!("would move {rows} rows to {to}")));
    } else {
        lines.push(clean(&format!("moved {rows} rows to {to}; each table was compared there")));
        lines.push("the daemon takes no changes any more: put this into authd.toml and restart it".to_owned());
        lines.push(String::new());
        lines.extend(moved.configuration.lines().map(clean));
    }
    context.output.done(&Done { schema: "db.move", data: moved, ids: vec![to.clone()], lines, needed: vec![] })
}

fn url_of(file: &Path) -> Result<WireSecret, Error> {
    let wrong = |what: String| Error::usage(what, "the file holds one line: postgres://user:password@host/database");
    let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("{}: {error}", file.display())))?;
    let url = text.trim();
    if url.is_empty() || url.len() > LONGEST || url.contains('\n') {
        return Err(wrong(format!("{} does not hold one URL", file.display())));
    }
    Ok(WireSecret::new(url.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_url_and_what_is_wrong_with_it_does_not_repeat_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("url");
        std::fs::write(&file, "postgres://a:s3cr3t@b/c\n").unwrap();
        assert_eq!(url_of(&file).unwrap().expose(), "postgres://a:s3cr3t@b/c");
        std::fs::write(&file, "postgres://a:s3cr3t@b/c\npostgres://d\n").unwrap();
        assert!(url_of(&file).is_err_and(|error| !error.line().contains("s3cr3t")));
        assert!(url_of(&directory.path().join("none")).is_err());
    }
}
