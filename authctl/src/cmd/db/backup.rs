//! `authctl db backup`: what the daemon sends, in a file that is complete or not there.

use super::{doing, refused};
use crate::{
    context::Context,
    error::Error,
    output::{
        Done,
        progress::{Progress, size},
        text::clean,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use shared::admin::{
    CallInfo,
    db::{BackedUp, Backup, BackupLine, BackupRequest},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

pub(super) async fn run(context: &mut Context<'_>, path: &Path) -> Result<(), Error> {
    let intent = context.intent();
    let request = BackupRequest { reason: intent.reason, ticket: intent.ticket, dry_run: intent.dry_run };
    if context.flags.print_request {
        return context.print_call::<Backup>(&request);
    }
    let mut file = if request.dry_run { None } else { Some(Draft::create(path)?) };
    let body = serde_json::to_vec(&request).map_err(|error| Error::Answer(error.to_string()))?;
    let mut lines = context.client.lines(&CallInfo::of::<Backup>(), body).await?;
    let mut bar = Progress::new(!context.flags.quiet);
    let mut total = 0;
    let done = loop {
        let line = lines.next().await?.ok_or_else(|| Error::Broken("the backup is not complete".to_owned()))?;
        match serde_json::from_slice(&line).map_err(|error| Error::Answer(error.to_string()))? {
            BackupLine::Progress(step) => {
                total = total.max(step.total);
                bar.show(doing(&step), step.done, step.total);
            }
            BackupLine::Piece(text) => {
                let piece = STANDARD.decode(text).map_err(|error| Error::Answer(error.to_string()))?;
                let Some(draft) = &mut file else { return Err(Error::Answer("a dry run sent a file".to_owned())) };
                draft.add(&piece)?;
                bar.show(format!("write {}", size(draft.bytes)), draft.bytes, total.max(draft.bytes));
            }
            BackupLine::Failed(failed) => return Err(refused(failed)),
            BackupLine::Done(done) => break done,
        }
    };
    drop(bar);
    if let Some(draft) = file {
        draft.keep(&done)?;
    }
    tell(context, path, &done)
}

fn tell(context: &mut Context<'_>, path: &Path, done: &BackedUp) -> Result<(), Error> {
    context.warn_of_dry_run();
    let kek = done.kek_ids.join(" and ");
    context.output.warn(format!(
        "the backup is of no use without the key-encryption key {kek}, which is not in it: keep a copy of that elsewhere"
    ));
    let what = if context.flags.dry_run { "would write about" } else { "wrote" };
    let mut lines = vec![clean(&format!(
        "{what} {} into {}, audit up to event {}",
        size(done.bytes),
        path.display(),
        done.audit_seq
    ))];
    lines.extend(done.sha256.as_ref().map(|hash| format!("SHA-256 {hash}")));
    context.output.done(&Done {
        schema: "db.backup",
        data: done,
        ids: vec![path.display().to_string()],
        lines,
        needed: vec![],
    })
}

/// A file beside the one that is wanted; gone when it is dropped before it is complete.
struct Draft {
    file: File,
    path: PathBuf,
    wanted: PathBuf,
    hash: Sha256,
    bytes: u64,
    is_kept: bool,
}

impl Draft {
    fn create(wanted: &Path) -> Result<Self, Error> {
        refuse_existing(wanted)?;
        let mut name = wanted.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| at(&path, &error))?;
        Ok(Self { file, path, wanted: wanted.to_owned(), hash: Sha256::new(), bytes: 0, is_kept: false })
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.file.write_all(piece).map_err(|error| at(&self.path, &error))?;
        self.hash.update(piece);
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        Ok(())
    }

    /// Durable under its name, or not there.
    fn keep(mut self, done: &BackedUp) -> Result<(), Error> {
        let hash: String = self.hash.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect();
        if self.bytes != done.bytes || done.sha256.as_deref() != Some(hash.as_str()) {
            return Err(Error::Broken("what came is not what the daemon sent".to_owned()));
        }
        self.file.sync_all().map_err(|error| at(&self.path, &error))?;
        // A link fails where the name is taken, a rename would overwrite it; some file systems have no links.
        match std::fs::hard_link(&self.path, &self.wanted) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refuse_existing(&self.wanted)?,
            Err(_) => {
                refuse_existing(&self.wanted)?;
                std::fs::rename(&self.path, &self.wanted).map_err(|error| at(&self.wanted, &error))?;
                self.is_kept = true;
            }
        }
        let directory = self.wanted.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| at(directory, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed is named `.part`.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn refuse_existing(path: &Path) -> Result<(), Error> {
    if path.symlink_metadata().is_ok() { Err(Error::Exists { path: path.to_owned() }) } else { Ok(()) }
}

fn at(path: &Path, error: &io::Error) -> Error {
    Error::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::time::Timestamp;

    fn done(bytes: u64, sha256: &str) -> BackedUp {
        BackedUp { bytes, sha256: Some(sha256.to_owned()), kek_ids: vec![], audit_seq: 1, at: Timestamp(0) }
    }

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_complete_backup_has_its_name_and_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        let mut draft = Draft::create(&path).unwrap();
        draft.add(b"a").unwrap();
        draft.add(b"bc").unwrap();
        draft.keep(&done(3, ABC)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(directory.path()), ["b"]);
    }

    #[test]
    fn what_is_cut_short_or_changed_on_its_way_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        for (sent, bytes, hash) in [("abc", 4, ABC), ("abd", 3, ABC)] {
            let mut draft = Draft::create(&path).unwrap();
            draft.add(sent.as_bytes()).unwrap();
            assert!(draft.keep(&done(bytes, hash)).is_err());
        }
        drop(Draft::create(&path).unwrap());
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn a_file_that_exists_is_not_touched_even_if_it_came_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        let mut draft = Draft::create(&path).unwrap();
        draft.add(b"abc").unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(Draft::create(&path), Err(Error::Exists { .. })));
        assert!(matches!(draft.keep(&done(3, ABC)), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(names(directory.path()), ["b"]);
    }
}
