//! `authctl user export`

use crate::{
    context::Context,
    error::Error,
    output::{Done, Format, json::lines, text::counted},
    progress::{Noise, Progress},
};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::admin::{
    MAX_PAGE,
    user::transfer::{Export, ExportRequest, Record},
};
use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

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
    let mut part = Part::begin(path)?;
    let noise = if context.flags.quiet { Noise::Unwanted } else { Noise::Wanted };
    let progress = Progress::new(None, noise);
    let (mut after, mut exported) = (None, 0_u64);
    loop {
        let page = context.client.call::<Export>(&request(context, destination, after)).await?;
        part.write(lines(&page.items)?.as_bytes())?;
        exported += u64::try_from(page.items.len()).unwrap_or(0);
        progress.reach(exported, format!("{exported} accounts"));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    drop(progress);
    part.finish()?;
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

/// A file that gets its name when it is whole, and vanishes if it never is.
struct Part {
    file: Option<BufWriter<File>>,
    path: PathBuf,
    name: PathBuf,
}

impl Part {
    fn begin(name: &Path) -> Result<Self, Error> {
        let taken = |path: &Path, why: String| {
            Error::usage(
                format!("{}: {why}", path.display()),
                "name a file that does not exist, in a directory that does",
            )
        };
        if name.symlink_metadata().is_ok() {
            return Err(Error::Exists { path: name.to_owned() });
        }
        let mut path = name.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| taken(&path, error.to_string()))?;
        Ok(Self { file: Some(BufWriter::new(file)), path, name: name.to_owned() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        }
        Ok(())
    }

    /// Makes it durable and gives it its name.
    fn finish(mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let whole = file.into_inner().map_err(|error| Error::Io(error.into_error()))?;
        let named = whole.sync_all().and_then(|()| std::fs::hard_link(&self.path, &self.name));
        // A link is refused where somebody has made such a file meanwhile; the other name goes with the drop.
        self.file = Some(BufWriter::new(whole));
        Ok(named?)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What is left over would be taken for an export.
            drop(std::fs::remove_file(&self.path));
        }
    }
}
