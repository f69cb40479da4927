//! `authctl user export`

use crate::{
    context::Context,
    draft::Draft,
    error::Error,
    output::{Done, Format, json::lines, text::counted},
};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::admin::{
    MAX_PAGE,
    user::transfer::{Export, ExportRequest, Record},
};
use std::path::{Path, PathBuf};

/// Where accounts go.
#[derive(Debug, Clone, Args)]
pub struct Destination {
    /// A new file, for its owner alone [default: standard output]
    file: Option<PathBuf>,
    /// With password hashes: what is written is as secret as the database
    #[arg(long)]
    hashes: bool,
}

/// What was written.
#[derive(Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Accounts.
    pub exported: u64,
    /// Whether password hashes are with them.
    pub hashes: bool,
    /// Where they are.
    pub file: String,
}

/// `authctl user export`
pub(super) async fn run(context: &mut Context<'_>, destination: &Destination) -> Result<(), Error> {
    if context.flags.print_request {
        return context.print_call::<Export>(&request(context, destination, None));
    }
    match &destination.file {
        None => to_output(context, destination).await,
        Some(path) => to_file(context, destination, path).await,
    }
}

fn request(context: &Context<'_>, destination: &Destination, after: Option<String>) -> ExportRequest {
    ExportRequest {
        hashes: destination.hashes,
        limit: Some(MAX_PAGE),
        after,
        reason: context.flags.reason.clone(),
        ticket: context.flags.ticket.clone(),
    }
}

async fn to_output(context: &mut Context<'_>, destination: &Destination) -> Result<(), Error> {
    let (mut after, mut all) = (None, Vec::<Record>::new());
    loop {
        let page = context.client.call::<Export>(&request(context, destination, after)).await?;
        match context.output.format() {
            Format::Json => all.extend(page.items),
            Format::Ids => {
                let ids = page.items.iter().filter_map(|record| record.id.as_ref());
                context.output.raw(&ids.map(|id| format!("{id}\n")).collect::<String>())?;
            }
            // A line that can be read back is the form of an export.
            Format::Jsonl | Format::Table | Format::Wide => context.output.raw(&lines(&page.items)?)?,
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if context.output.format() == Format::Json {
        let paging = json!({"next": null, "total": all.len(), "total_exact": true});
        return context.output.document("user.export", &all, paging);
    }
    Ok(())
}

async fn to_file(context: &mut Context<'_>, destination: &Destination, path: &Path) -> Result<(), Error> {
    let mut draft = Draft::create(path)?;
    let progress = context.progress();
    let (mut after, mut exported) = (None, 0_u64);
    loop {
        let page = context.client.call::<Export>(&request(context, destination, after)).await?;
        draft.add(lines(&page.items)?.as_bytes())?;
        exported += u64::try_from(page.items.len()).unwrap_or(0);
        progress.reach(exported, None, format!("{exported} accounts"));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    drop(progress);
    draft.keep()?;
    let summary = Summary { exported, hashes: destination.hashes, file: path.display().to_string() };
    let with = if destination.hashes { " with their password hashes" } else { "" };
    context.output.done(&Done {
        schema: "user.export-file",
        lines: vec![format!("{}{with} written to {}", counted(exported, "account"), summary.file)],
        data: &summary,
        ids: vec![],
        needed: vec![],
    })
}
