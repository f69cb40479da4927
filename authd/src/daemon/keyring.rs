//! Which key-encryption key: a given file, or one made beside an empty SQLite database; never another than before.

use crate::{
    config::{Config, DatabasePlace, KekPlace},
    crypto::kek::{Kek, KekError},
    daemon::StartError,
    domain::{clock::Random, key::KeyStore},
};
use std::path::Path;

impl From<KekError> for StartError {
    fn from(error: KekError) -> Self {
        Self::Configuration(error.to_string())
    }
}

/// The key-encryption key of this installation, bound to its database.
pub(super) async fn find(config: &Config, keys: &dyn KeyStore, random: &dyn Random) -> Result<Kek, StartError> {
    let bound = keys.kek_id().await?;
    let credentials = config.places.credentials_dir.as_deref();
    let (kek, path) = match &config.places.kek {
        KekPlace::Given(path) => (Kek::load(path, credentials)?, path.as_path()),
        KekPlace::Generated(path) if path.exists() => (Kek::load(path, None)?, path.as_path()),
        KekPlace::Generated(path) => (generate(config, bound.as_deref(), path, random)?, path.as_path()),
    };
    let stored = keys.bind_kek(kek.id().as_str()).await?;
    if stored == kek.id().as_str() {
        return Ok(kek);
    }
    Err(StartError::Configuration(format!(
        "the database was encrypted under the key-encryption key {stored}, but {} holds {}: \
         put the right file there; it was part of the backup",
        path.display(),
        kek.id().as_str(),
    )))
}

/// Opens the key-encryption key as a start would, and changes nothing.
///
/// # Errors
/// [`StartError::Configuration`].
pub(super) fn check(config: &Config) -> Result<(), StartError> {
    match &config.places.kek {
        KekPlace::Given(path) => drop(Kek::load(path, config.places.credentials_dir.as_deref())?),
        KekPlace::Generated(path) if path.exists() => drop(Kek::load(path, None)?),
        KekPlace::Generated(_) => {}
    }
    Ok(())
}

/// Only for SQLite, and only while nothing is encrypted yet: a new key could not open what an old one closed.
fn generate(config: &Config, bound: Option<&str>, path: &Path, random: &dyn Random) -> Result<Kek, StartError> {
    if let Some(bound) = bound {
        return Err(StartError::Configuration(format!(
            "the database was encrypted under the key-encryption key {bound}, and {} is missing: restore the file",
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
