//! `authctl user import`

use super::lines::{Batch, Lines};
use crate::{
    context::{Context, Intent},
    error::Error,
    output::{Done, text::clean},
    progress::Progress,
};
use clap::Args;
use serde::{Deserialize, Serialize};
use shared::{
    admin::user::transfer::{Fate, Import, ImportRequest, Record, Verdict},
    error::ErrorCode,
};
use std::{
    collections::HashMap,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

/// Refused lines that are in the JSON document; all of them are on standard error.
const LISTED: usize = 1_000;

/// A file of accounts.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// File of JSON lines; - is standard input
    file: PathBuf,
    /// Leave out the lines before this one: those that an interrupted run says are done
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    resume_from: Option<u64>,
}

/// What became of a file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Accounts that were made; on a dry run: would be.
    pub created: u64,
    /// Lines whose accounts are there already.
    pub present: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// The last line that was looked at.
    pub last_line: u64,
    /// The first refused lines.
    pub lines: Vec<Refused>,
}

/// A line that makes no account.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Its number, from 1.
    pub line: u64,
    /// Its address, where there is one.
    pub email: Option<String>,
    /// Why.
    pub code: ErrorCode,
    /// Why, for people.
    pub detail: String,
}

/// `authctl user import`
pub(super) async fn run(context: &mut Context<'_>, source: &Source) -> Result<(), Error> {
    if context.flags.print_request {
        return context.print_call::<Import>(&request(context.intent(), Vec::new()));
    }
    let (reader, size) = open(&source.file)?;
    let progress = context.progress();
    let mut work = Work { summary: Summary::default(), seen: Seen::default(), size, progress };
    let done = work.take_all(context, Lines::new(reader), source.resume_from.unwrap_or(0)).await;
    let Work { summary, progress, .. } = work;
    drop(progress);
    if let Err(error) = done {
        let next = summary.last_line + 1;
        context
            .output
            .say(&format!("note: {}; run the same command again, or add --resume-from {next}", told(&summary)));
        return Err(error);
    }
    context.warn_of_dry_run();
    show(context, &summary)
}

fn show(context: &mut Context<'_>, summary: &Summary) -> Result<(), Error> {
    let lines = vec![told(summary)];
    context.output.done(&Done { schema: "user.import", data: summary, ids: vec![], lines, needed: vec![] })?;
    let Some(first) = summary.lines.first() else { return Ok(()) };
    let total = summary.created + summary.present + summary.refused;
    Err(Error::Partly {
        failed: usize::try_from(summary.refused).unwrap_or(usize::MAX),
        total: usize::try_from(total).unwrap_or(usize::MAX),
        first: format!("line {}: {}", first.line, first.detail),
    })
}

fn told(summary: &Summary) -> String {
    let Summary { created, present, refused, .. } = summary;
    format!("{created} created, {present} already there, {refused} refused")
}

fn open(path: &Path) -> Result<(Box<dyn io::BufRead + Send>, Option<u64>), Error> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let wrong =
        |error: io::Error| Error::usage(format!("{}: {error}", path.display()), "name a file of JSON lines, or -");
    let file = File::open(path).map_err(wrong)?;
    let meta = file.metadata().map_err(wrong)?;
    if meta.is_dir() {
        return Err(Error::usage(format!("{} is a directory", path.display()), "name a file of JSON lines, or -"));
    }
    Ok((Box::new(BufReader::new(file)), meta.is_file().then_some(meta.len())))
}

fn request(intent: Intent, users: Vec<Record>) -> ImportRequest {
    ImportRequest { users, reason: intent.reason, ticket: intent.ticket, dry_run: intent.dry_run }
}

/// An import under way.
struct Work {
    summary: Summary,
    seen: Seen,
    size: Option<u64>,
    progress: Progress,
}

impl Work {
    async fn take_all(&mut self, context: &mut Context<'_>, mut lines: Lines, from: u64) -> Result<(), Error> {
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let batch = lines.next_batch(from);
                (lines, batch)
            });
            let (rest, batch) = read.await.map_err(io::Error::other)?;
            lines = rest;
            let batch = batch?;
            let has_more = batch.has_more;
            self.take(context, batch).await?;
            if !has_more {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, context: &mut Context<'_>, batch: Batch) -> Result<(), Error> {
        let Batch { records, mut bad, last, bytes, .. } = batch;
        let (numbers, users): (Vec<u64>, Vec<Record>) = records.into_iter().unzip();
        let mut refused: Vec<Refused> = bad
            .drain(..)
            .map(|(line, detail)| Refused { line, email: None, code: ErrorCode::Malformed, detail })
            .collect();
        if !users.is_empty() {
            let prints: Vec<u64> = users.iter().map(|user| self.seen.print(user)).collect();
            let answer = context.client.call::<Import>(&request(context.intent(), users)).await?;
            if answer.results.len() != numbers.len() {
                return Err(Error::Answer("not one result for each account".to_owned()));
            }
            for ((line, print), verdict) in numbers.into_iter().zip(prints).zip(answer.results) {
                let verdict = if context.flags.dry_run { self.seen.judge(print, verdict) } else { verdict };
                refused.extend(self.count(line, verdict));
            }
        }
        refused.sort_by_key(|refused| refused.line);
        for one in refused {
            let said = format!("line {}: {}", one.line, one.detail);
            self.progress.beside(|| context.output.say(&said));
            self.summary.refused += 1;
            if self.summary.lines.len() < LISTED {
                self.summary.lines.push(one);
            }
        }
        self.summary.last_line = last;
        self.progress.reach(bytes, self.size, told(&self.summary));
        Ok(())
    }

    fn count(&mut self, line: u64, verdict: Verdict) -> Option<Refused> {
        match verdict.outcome {
            Fate::Created => self.summary.created += 1,
            Fate::Present => self.summary.present += 1,
            Fate::Refused => {
                let code = verdict.code.unwrap_or(ErrorCode::Malformed);
                let detail = clean(&verdict.detail.unwrap_or_else(|| code.as_str().to_owned()));
                return Some(Refused { line, email: verdict.email, code, detail });
            }
        }
        None
    }
}

/// The names of the lines before, for a dry run: the daemon, which keeps none of them, cannot see that two lines of
/// different batches are about one account. Sixteen bytes a name.
#[derive(Default)]
struct Seen {
    hasher: RandomState,
    emails: HashMap<u64, u64>,
    usernames: HashMap<u64, u64>,
}

impl Seen {
    /// A fingerprint of the line.
    fn print(&self, record: &Record) -> u64 {
        self.hasher.hash_one(serde_json::to_string(record).unwrap_or_default())
    }

    /// The fate of a line in sight of those before it.
    fn judge(&mut self, print: u64, verdict: Verdict) -> Verdict {
        if verdict.outcome != Fate::Created {
            return verdict;
        }
        let refused = |code, detail: &str, verdict| Verdict {
            outcome: Fate::Refused,
            code: Some(code),
            detail: Some(detail.to_owned()),
            ..verdict
        };
        let hash = |name: &Option<String>| name.as_ref().map(|name| self.hasher.hash_one(name));
        let (email, username) = (hash(&verdict.email), hash(&verdict.username));
        match email.and_then(|email| self.emails.get(&email)) {
            Some(before) if *before == print => return Verdict { outcome: Fate::Present, ..verdict },
            Some(_) => return refused(ErrorCode::DuplicateEmail, "an earlier line has this e-mail", verdict),
            None => {}
        }
        if username.is_some_and(|username| self.usernames.contains_key(&username)) {
            return refused(ErrorCode::DuplicateUsername, "an earlier line has this user name", verdict);
        }
        self.emails.extend(email.map(|email| (email, print)));
        self.usernames.extend(username.map(|username| (username, print)));
        verdict
    }
}
