//! The anchor file: how far the audit had come, kept outside the database so that a restored one is noticed (R13).

use crate::{
    auth::{Auth, Restored, newer},
    domain::store_error::StoreError,
};
use shared::chain::Anchor;
use std::{io, io::Write as _, path::Path};
use tracing::{error, warn};

/// Compares the database with the anchor and, unless it is older, moves the anchor.
pub(super) async fn check(auth: &Auth, path: &Path) -> Result<(), StoreError> {
    let file = path.to_owned();
    let stored = match off_thread(move || read(&file)).await {
        Ok(stored) => stored,
        Err(cause) if auth.anchor().is_none() => {
            auth.lock_down();
            error!(
                path = %path.display(), %cause,
                "the anchor cannot be read, so nobody can say whether the database was restored: public API locked \
                 down; put the file right, or, after making sure which database this is, run: authctl session \
                 epoch-bump --accept-restore"
            );
            return Ok(());
        }
        Err(cause) => {
            warn!(path = %path.display(), %cause, "the anchor cannot be read: what this instance remembers counts");
            None
        }
    };
    let is_first_look = auth.anchor().is_none();
    if stored.is_none() && is_first_look && auth.had_anchor().await? {
        warn!(
            path = %path.display(),
            "there is no anchor, though the database was compared with one before: whether it was restored since then \
             goes unnoticed this time"
        );
    }
    // A file that was deleted or set back does not make this instance forget.
    let seen = match stored.clone() {
        Some(stored) => Some(newer(stored, auth.anchor())),
        None => auth.anchor(),
    };
    match auth.compare_with_anchor(seen).await? {
        Restored::No(anchor) => {
            let (file, text) = (path.to_owned(), anchor.to_string());
            let written =
                if stored.as_ref() == Some(&anchor) { Ok(()) } else { off_thread(move || write(&file, &text)).await };
            match written {
                Ok(()) => auth.remember_anchor(anchor),
                Err(cause) => {
                    warn!(path = %path.display(), %cause, "the anchor cannot be written: a restored database would go unnoticed");
                }
            }
        }
        Restored::Yes { found, expected } => error!(
            found = found.seq,
            expected = expected.seq,
            "the database is older than what was seen before: public API locked down; after making sure which database \
             this is, run: authctl session epoch-bump --accept-restore"
        ),
    }
    Ok(())
}

/// Disks can stall; the event loop must not wait for one.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
}

/// The anchor of an earlier look; `None` where there was none.
fn read(path: &Path) -> io::Result<Option<Anchor>> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.parse().map(Some).map_err(io::Error::other),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Written aside and renamed: the file is never half a line.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("anchor.new");
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_anchor_is_none_and_a_damaged_one_is_not_taken_for_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.anchor");
        assert_eq!(read(&path).unwrap(), None);
        let anchor = Anchor { seq: 7, epoch: 1, ..Anchor::default() };
        write(&path, &anchor.to_string()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(anchor));
        std::fs::write(&path, "authd-anchor/1 se").unwrap();
        assert!(read(&path).is_err());
    }
}
