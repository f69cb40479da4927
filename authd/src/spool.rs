//! Refusals on disk while the database is away: appended, synced, and merged into the audit once it is back.
//!
//! One event a line: `CRC-32 LENGTH JSON`. A line that a crash cut short does not check and is passed over; nobody was
//! told that it is safe. What is merged is set aside under another name first, so that appending goes on, and is
//! removed when all of it is in the log; a crash in between has it merged again, which the ids make harmless.

mod line;

use crate::domain::audit::{Spool, SpoolFault, StoredEvent};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};
use tokio::sync::oneshot;

/// Callers that wait for the disk; beyond, a caller is told that it is broken.
const WAITING: usize = 4_096;

/// A spool in a file. One thread writes: what waits at the same moment is synced together.
#[derive(Debug)]
pub struct FileSpool {
    asked: mpsc::SyncSender<Asked>,
    depth: Arc<AtomicU64>,
}

type Answer<T> = oneshot::Sender<Result<T, SpoolFault>>;

enum Asked {
    Keep { lines: Vec<u8>, count: u64, answer: Answer<()> },
    Take(Answer<Vec<StoredEvent>>),
    Merged(Answer<()>),
}

impl FileSpool {
    /// Opens the spool at this path; together with what is being merged it takes at most `max_bytes`.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let depth = Arc::new(AtomicU64::new(0));
        let mut writer = Writer::open(path, max_bytes, depth.clone())?;
        let (asked, inbox) = mpsc::sync_channel(WAITING);
        std::thread::Builder::new().name("spool".to_owned()).spawn(move || writer.work(&inbox))?;
        Ok(Self { asked, depth })
    }

    async fn ask<T>(&self, asked: impl FnOnce(Answer<T>) -> Asked) -> Result<T, SpoolFault> {
        let (answer, answered) = oneshot::channel();
        self.asked.try_send(asked(answer)).map_err(broken)?;
        answered.await.map_err(broken)?
    }
}

fn broken(cause: impl std::fmt::Display) -> SpoolFault {
    SpoolFault::Broken(cause.to_string().into())
}

#[async_trait::async_trait]
impl Spool for FileSpool {
    async fn keep(&self, events: Vec<StoredEvent>) -> Result<(), SpoolFault> {
        let lines = events.iter().map(line::write).collect::<Result<Vec<_>, _>>().map_err(broken)?.concat();
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        self.ask(|answer| Asked::Keep { lines, count, answer }).await
    }

    async fn take(&self) -> Result<Vec<StoredEvent>, SpoolFault> {
        self.ask(Asked::Take).await
    }

    async fn merged(&self) -> Result<(), SpoolFault> {
        self.ask(Asked::Merged).await
    }

    fn depth(&self) -> u64 {
        self.depth.load(Ordering::Relaxed)
    }
}

/// The thread's end: the files.
struct Writer {
    path: PathBuf,
    /// What is being merged.
    aside: PathBuf,
    file: File,
    /// Good bytes of the file.
    length: u64,
    aside_length: u64,
    max_bytes: u64,
    depth: Arc<AtomicU64>,
    aside_depth: u64,
}

impl Writer {
    fn open(path: &Path, max_bytes: u64, depth: Arc<AtomicU64>) -> io::Result<Self> {
        let aside = path.with_added_extension("merging");
        let waiting = line::read_all(&read(path)?);
        let taken = read(&aside)?;
        let aside_depth = count(&line::read_all(&taken).events);
        depth.store(count(&waiting.events) + aside_depth, Ordering::Relaxed);
        let file = append_to(path)?;
        // A line that was cut short must not swallow the one behind it.
        file.set_len(waiting.whole_bytes)?;
        file.sync_all()?;
        sync_directory(path)?;
        let (length, aside_length) = (waiting.whole_bytes, u64::try_from(taken.len()).unwrap_or(u64::MAX));
        Ok(Self { path: path.to_owned(), aside, file, length, aside_length, max_bytes, depth, aside_depth })
    }

    /// Works until nobody can ask any more.
    fn work(&mut self, inbox: &mpsc::Receiver<Asked>) {
        while let Ok(first) = inbox.recv() {
            let (mut lines, mut answers) = (Vec::new(), Vec::new());
            for asked in std::iter::once(first).chain(inbox.try_iter().take(WAITING)) {
                match asked {
                    Asked::Keep { lines: more, count, answer } => {
                        if self.has_room_for(lines.len() + more.len()) {
                            lines.extend(more);
                            answers.push((count, answer));
                        } else {
                            let _ = answer.send(Err(SpoolFault::Full));
                        }
                    }
                    Asked::Take(answer) => {
                        self.keep(&mut lines, &mut answers);
                        let _ = answer.send(self.take().map_err(broken));
                    }
                    Asked::Merged(answer) => {
                        let _ = answer.send(self.merged().map_err(broken));
                    }
                }
            }
            self.keep(&mut lines, &mut answers);
        }
    }

    fn has_room_for(&self, more: usize) -> bool {
        let held = self.length.saturating_add(self.aside_length);
        held.saturating_add(u64::try_from(more).unwrap_or(u64::MAX)) <= self.max_bytes
    }

    /// Appends and syncs, then tells everybody who waits for it.
    fn keep(&mut self, lines: &mut Vec<u8>, answers: &mut Vec<(u64, Answer<()>)>) {
        if answers.is_empty() {
            return;
        }
        let kept = self.append(lines).map_err(broken);
        for (count, answer) in answers.drain(..) {
            if kept.is_ok() {
                self.depth.fetch_add(count, Ordering::Relaxed);
            }
            let _ = answer.send(kept.clone());
        }
        lines.clear();
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // What nobody was told of is taken back; should that fail too, its lines are merged like any other.
            let _ = self.file.set_len(self.length);
            return written;
        }
        self.length = self.length.saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Sets aside what is there, unless something already is, and reads that.
    fn take(&mut self) -> io::Result<Vec<StoredEvent>> {
        if !self.aside.try_exists()? {
            self.set_aside()?;
        }
        let found = line::read_all(&read(&self.aside)?);
        if found.damaged > 0 {
            tracing::warn!(lines = found.damaged, path = %self.aside.display(), "lines of the spool do not read back");
        }
        Ok(found.events)
    }

    /// Gives the file its other name and begins a new one. Where that cannot be made (no descriptor, no inode is left)
    /// the name is taken back: what is kept from now on must not be removed together with what was merged.
    fn set_aside(&mut self) -> io::Result<()> {
        std::fs::rename(&self.path, &self.aside)?;
        match append_to(&self.path) {
            Ok(file) => self.file = file,
            Err(cause) => {
                std::fs::rename(&self.aside, &self.path)?;
                return Err(cause);
            }
        }
        self.aside_length = std::mem::take(&mut self.length);
        self.aside_depth = self.depth.load(Ordering::Relaxed);
        sync_directory(&self.path)
    }

    fn merged(&mut self) -> io::Result<()> {
        match std::fs::remove_file(&self.aside) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        sync_directory(&self.path)?;
        self.aside_length = 0;
        self.depth.fetch_sub(std::mem::take(&mut self.aside_depth), Ordering::Relaxed);
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// So that the name of a file is as durable as what is in it.
fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn count(events: &[StoredEvent]) -> u64 {
    u64::try_from(events.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
