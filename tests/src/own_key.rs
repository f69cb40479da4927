//! The daemon's own signing key, taken from its files: for tokens whose signature is good and whose content is not.

use crate::{daemon::Daemon, jwt::Jwt};
use authd::crypto::kek::Kek;
use ed25519_dalek::SigningKey;
use serde_json::Value;
use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};

/// What private halves of signing keys are wrapped for.
const PURPOSE: &str = "access token signing";

/// The active key of a daemon on SQLite.
///
/// # Panics
/// When it is not where it should be.
pub async fn of(daemon: &Daemon) -> SigningKey {
    let kek = Kek::load(&daemon.data_dir().join("kek"), None).expect("the daemon made its key-encryption key");
    let file = SqliteConnectOptions::new().filename(daemon.data_dir().join("authd.db")).read_only(true);
    let mut connection = SqliteConnection::connect_with(&file).await.expect("the database can be read");
    let query = "SELECT id, wrapped FROM signing_key WHERE state = 'active'";
    let row = sqlx::query(query).fetch_one(&mut connection).await.expect("one key is active");
    let (id, wrapped): (String, Vec<u8>) = (row.get("id"), row.get("wrapped"));
    let private = kek.unwrap(&id, PURPOSE, &wrapped).expect("the key unwraps");
    SigningKey::from_bytes(private.as_slice().try_into().expect("32 bytes"))
}

/// A good token, changed and signed again with the daemon's own key.
#[must_use]
pub fn forge(key: &SigningKey, token: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let mut jwt = Jwt::of(token);
    change(&mut jwt.header, &mut jwt.claims);
    jwt.signed_by(key)
}
