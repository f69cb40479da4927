//! The anchor file: how far the audit had come, kept outside the database so that a restored one is noticed (R13).

use crate::{
    auth::{Anchor, Auth, Restored},
    domain::store_error::StoreError,
};
use std::{io, io::Write as _, path::Path};
use tracing::{error, warn};

/// Compares the database with the anchor and, unless it is older, moves the anchor.
pub(super) async fn check(auth: &Auth, path: &Path) -> Result<(), StoreError> {
    let file = path.to_owned();
    let seen = off_thread(move || std::fs::read_to_string(file)).await.ok().and_then(|text| text.parse().ok());
    match auth.compare_with_anchor(seen).await? {
        Restored::No(anchor) if seen != Some(anchor) => {
            let file = path.to_owned();
            if let Err(cause) = off_thread(move || write(&file, anchor)).await {
                warn!(path = %path.display(), %cause, "the anchor cannot be written: a restored database would go unnoticed");
            }
        }
        Restored::No(_) => {}
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

/// Written aside and renamed: the file is never half a line.
fn write(path: &Path, anchor: Anchor) -> io::Result<()> {
    let draft = path.with_extension("anchor.new");
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(anchor.to_string().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}
