//! `authctl audit verify`: the daemon checks its log, or this program an export without a daemon.

use crate::{
    context::Context,
    error::Error,
    output::{
        Done,
        text::{clean, counted},
    },
};
use clap::Args;
use shared::{
    admin::chain::{Progress as Checked, Verify, VerifyRequest},
    chain::{Anchor, Finding, Report, export::Line, file::FileCheck},
};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// Longest line of an export, in bytes.
const LINE_LIMIT: u64 = 1 << 20;
/// Largest anchor, in bytes.
const ANCHOR_LIMIT: u64 = 1 << 16;
/// Events between two signs of life.
const STRIDE: u64 = 1_000;

/// What to check.
#[derive(Debug, Clone, Args)]
pub struct What {
    /// An anchor that was kept elsewhere: a copy of the anchor file, or what 'audit checkpoint' printed
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Check this export, without asking a daemon
    #[arg(long, value_name = "EXPORT")]
    file: Option<PathBuf>,
}

/// Checks and shows what was found; exit 14 when that is anything.
///
/// # Errors
/// [`Error::CheckFailed`], or what reading or the call fails with.
pub(super) async fn run(context: &mut Context<'_>, what: &What) -> Result<(), Error> {
    let anchor = what.anchor.as_deref().map(read_anchor).transpose()?;
    let report = match &what.file {
        Some(file) => check_file(context, file, anchor.as_deref())?,
        None => {
            let request = VerifyRequest { anchor };
            if context.flags.print_request {
                return context.print_call::<Verify>(&request);
            }
            ask(context, &request).await?
        }
    };
    show(context, &report)
}

fn named(path: &Path, cause: &io::Error) -> Error {
    Error::usage(format!("{}: {cause}", path.display()), "name a file that can be read")
}

fn read_anchor(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let file = File::open(path).map_err(|cause| named(path, &cause))?;
    file.take(ANCHOR_LIMIT).read_to_string(&mut text).map_err(|cause| named(path, &cause))?;
    let problem = |cause| {
        Error::usage(
            format!("{}: {cause}", path.display()),
            "give a copy of the anchor file (audit.checkpoint_file), or what `audit checkpoint` printed",
        )
    };
    text.parse::<Anchor>().map_err(problem)?;
    Ok(text)
}

async fn ask(context: &mut Context<'_>, request: &VerifyRequest) -> Result<Report, Error> {
    let mut lines = context.client.open::<Verify>(request).await?;
    let progress = context.progress();
    while let Some(Checked { checked, of, report }) = lines.next_value().await? {
        if let Some(report) = report {
            return Ok(report);
        }
        progress.reach(checked, Some(of), format!("checked {checked} of {of} events"));
    }
    Err(Error::Broken("the check was broken off: see the log of authd".to_owned()))
}

fn check_file(context: &Context<'_>, path: &Path, anchor: Option<&str>) -> Result<Report, Error> {
    let mut check = FileCheck::new(anchor.and_then(|text| text.parse().ok()));
    let mut reader = BufReader::new(File::open(path).map_err(|cause| named(path, &cause))?);
    let (mut buffer, mut number, progress) = (Vec::new(), 0, context.progress());
    loop {
        buffer.clear();
        let read = reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut buffer);
        if read.map_err(|cause| named(path, &cause))? == 0 {
            break;
        }
        number += 1;
        match serde_json::from_slice::<Line>(&buffer) {
            Ok(line) => check.line(line),
            Err(cause) => check.unreadable(number, &cause.to_string()),
        }
        if number % STRIDE == 0 {
            progress.reach(check.events(), None, format!("checked {} events", check.events()));
        }
    }
    Ok(check.finish())
}

fn show(context: &mut Context<'_>, report: &Report) -> Result<(), Error> {
    for note in &report.notes {
        context.output.warn(clean(note));
    }
    let mut lines: Vec<String> = report.findings.iter().map(line_of).collect();
    let listed = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    if report.found > listed {
        lines.push(format!("and {} more", report.found - listed));
    }
    lines.push(summary(report));
    let ids = report.findings.iter().filter_map(|finding| finding.id.clone()).collect();
    context.output.done(&Done { schema: "audit.verify", data: report, ids, lines, needed: vec![] })?;
    if report.found > 0 { Err(Error::CheckFailed(report.found)) } else { Ok(()) }
}

fn line_of(finding: &Finding) -> String {
    let place = finding.seq.map(|seq| format!(" at event {seq}")).unwrap_or_default();
    let id = finding.id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
    format!("{}{place}{id}: {}", crate::output::look::name(finding.kind), finding.message)
}

fn summary(report: &Report) -> String {
    let range = match (report.first_seq, report.last_seq) {
        (Some(first), Some(last)) => format!(", {first} to {last}"),
        _ => String::new(),
    };
    let verdict = if report.found == 0 { "sound" } else { "NOT sound" };
    let anchored = report.anchored_seq.map(|seq| format!("; anchored up to event {seq}")).unwrap_or_default();
    format!(
        "the audit log is {verdict}: {}{range}, {} not sealed yet, {}, {}{anchored}",
        counted(report.events, "event"),
        report.unsealed,
        counted(report.checkpoints, "checkpoint"),
        counted(report.tombstones, "tombstone"),
    )
}
