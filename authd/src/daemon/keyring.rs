//! Which key-encryption keys: a given file, or one made beside an empty SQLite database; never another than what is
//! stored was encrypted under. And the root secret below it, made at the very first start.

use crate::{
    config::{Config, DatabasePlace, KekPlace},
    crypto::{
        kek::{Kek, KekError},
        keks::Keks,
        root::Root,
    },
    daemon::StartError,
    domain::{
        clock::Random,
        wrap::{Item, WrapStore, Wrapped, Wrapper},
    },
};
use std::path::Path;

impl From<KekError> for StartError {
    fn from(error: KekError) -> Self {
        Self::Configuration(error.to_string())
    }
}

/// The key-encryption keys and the root secret of this installation.
pub(super) async fn find(
    config: &Config,
    wraps: &dyn WrapStore,
    random: &dyn Random,
) -> Result<(Keks, Root), StartError> {
    let stored = wraps.wrapped().await?;
    let keks = Keks::new(current(config, &stored, random)?, previous(config)?);
    check_all(config, &keks, &stored)?;
    let planted = match stored.into_iter().find(|row| row.item == Item::Root) {
        Some(root) => root,
        None => {
            let new = Root::generate(&keks, random)
                .ok_or_else(|| StartError::Internal("the root secret cannot be encrypted: this is a bug".to_owned()))?;
            wraps.plant(new).await?
        }
    };
    // Another instance may have been first, with a file of its own.
    check_all(config, &keks, std::slice::from_ref(&planted))?;
    let root = Root::open(&keks, &planted).ok_or_else(|| {
        StartError::Configuration(format!(
            "the root secret does not open with the key-encryption key {} that it names: the database was damaged; \
             restore it from a backup",
            planted.kek,
        ))
    })?;
    Ok((keks, root))
}

/// Opens the key-encryption keys as a start would, and changes nothing.
///
/// # Errors
/// [`StartError::Configuration`].
pub(super) fn check(config: &Config) -> Result<(), StartError> {
    match &config.places.kek {
        KekPlace::Given(path) => drop(Kek::load(path, config.places.credentials_dir.as_deref())?),
        KekPlace::Generated(path) if path.exists() => drop(Kek::load(path, None)?),
        KekPlace::Generated(_) => {}
    }
    previous(config).map(drop)
}

fn current(config: &Config, stored: &[Wrapped], random: &dyn Random) -> Result<Kek, StartError> {
    Ok(match &config.places.kek {
        KekPlace::Given(path) => Kek::load(path, config.places.credentials_dir.as_deref())?,
        KekPlace::Generated(path) if path.exists() => Kek::load(path, None)?,
        KekPlace::Generated(path) => generate(config, stored, path, random)?,
    })
}

fn previous(config: &Config) -> Result<Option<Kek>, StartError> {
    let credentials = config.places.credentials_dir.as_deref();
    Ok(config.places.previous_kek.as_deref().map(|path| Kek::load(path, credentials)).transpose()?)
}

/// Everything stored must be under a key-encryption key that is there.
fn check_all(config: &Config, keks: &Keks, stored: &[Wrapped]) -> Result<(), StartError> {
    let ours = keks.ids();
    let Some(row) = stored.iter().find(|row| !ours.contains(&row.kek)) else { return Ok(()) };
    let path = match &config.places.kek {
        KekPlace::Given(path) | KekPlace::Generated(path) => path.display(),
    };
    Err(StartError::Configuration(format!(
        "the database was encrypted under the key-encryption key {}, but {path} holds {}: put the right file there, it \
         was part of the backup; or, if {path} is to take its place, name the file with {} in \
         key.previous_encryption_key",
        row.kek,
        keks.current(),
        row.kek,
    )))
}

/// Only for SQLite, and only while nothing is encrypted yet: a new key could not open what an old one closed.
fn generate(config: &Config, stored: &[Wrapped], path: &Path, random: &dyn Random) -> Result<Kek, StartError> {
    if let Some(row) = stored.last() {
        return Err(StartError::Configuration(format!(
            "the database was encrypted under the key-encryption key {}, and {} is missing: restore the file",
            row.kek,
            path.display(),
        )));
    }
    if matches!(config.places.database, DatabasePlace::Postgres(_)) {
        return Err(StartError::Configuration(
            "PostgreSQL needs a key-encryption key that all instances share: run `authd generate-key > FILE`, \
             `chmod 0400 FILE`, and set key.encryption_key = \"FILE\""
                .to_owned(),
        ));
    }
    Ok(Kek::generate(path, random)?)
}
