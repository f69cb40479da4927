//! `authctl db backup`: what the daemon sends, in a file that is complete or not there.

use super::{doing, refused};
use crate::{
    context::Context,
    draft::Draft,
    error::Error,
    output::{
        Done,
        text::{clean, size},
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use shared::{
    admin::db::{BackedUp, Backup, BackupLine, BackupRequest},
    hex,
};
use std::path::Path;

pub(super) async fn run(context: &mut Context<'_>, path: &Path) -> Result<(), Error> {
    let intent = context.intent();
    let request = BackupRequest { reason: intent.reason, ticket: intent.ticket, dry_run: intent.dry_run };
    if context.flags.print_request {
        return context.print_call::<Backup>(&request);
    }
    let mut file = if request.dry_run { None } else { Some(Received::create(path)?) };
    let mut lines = context.client.open::<Backup>(&request).await?;
    let progress = context.progress();
    let mut total = 0;
    let done = loop {
        let line = lines.next_value().await?;
        match line.ok_or_else(|| Error::Broken("the backup is not complete".to_owned()))? {
            BackupLine::Progress(step) => {
                total = total.max(step.total);
                progress.reach(step.done, Some(step.total), doing(&step));
            }
            BackupLine::Piece(text) => {
                let piece = STANDARD.decode(text).map_err(|error| Error::Answer(error.to_string()))?;
                let Some(received) = &mut file else { return Err(Error::Answer("a dry run sent a file".to_owned())) };
                received.add(&piece)?;
                let bytes = received.bytes;
                progress.reach(bytes, Some(total.max(bytes)), format!("write {}", size(bytes)));
            }
            BackupLine::Failed(failed) => return Err(refused(failed)),
            BackupLine::Done(done) => break done,
        }
    };
    drop(progress);
    if let Some(received) = file {
        received.keep(&done)?;
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

/// What came so far, compared at its end with what was sent.
struct Received {
    draft: Draft,
    hash: Sha256,
    bytes: u64,
}

impl Received {
    fn create(wanted: &Path) -> Result<Self, Error> {
        Ok(Self { draft: Draft::create(wanted)?, hash: Sha256::new(), bytes: 0 })
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.draft.add(piece)?;
        self.hash.update(piece);
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        Ok(())
    }

    /// Durable under its name, or not there.
    fn keep(self, done: &BackedUp) -> Result<(), Error> {
        let hash = hex::encode(&self.hash.finalize());
        if self.bytes != done.bytes || done.sha256.as_deref() != Some(hash.as_str()) {
            return Err(Error::Broken("what came is not what the daemon sent".to_owned()));
        }
        self.draft.keep()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::time::Timestamp;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn what_is_cut_short_or_changed_on_its_way_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        for (sent, bytes, is_kept) in [("abc", 4, false), ("abd", 3, false), ("abc", 3, true)] {
            let done =
                BackedUp { bytes, sha256: Some(ABC.to_owned()), kek_ids: vec![], audit_seq: 1, at: Timestamp(0) };
            let mut received = Received::create(&path).unwrap();
            received.add(sent.as_bytes()).unwrap();
            assert_eq!((received.keep(&done).is_ok(), path.exists()), (is_kept, is_kept), "{sent} {bytes}");
        }
    }
}
