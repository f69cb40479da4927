//! A database that was moved away: no daemon starts on it, until an operator says that it is the one in use again.

use crate::{
    auth::DATABASE,
    config::{Config, DatabasePlace, KekPlace},
    crypto::audit::AuditKeys,
    daemon::{Ports, StartError, keyring, parts},
    domain::{
        audit::{Action, Actor, Event, EventOutcome},
        clock::random_bytes,
        upkeep::Upkeep,
    },
    store,
};
use shared::{id::EventId, time::Timestamp};
use std::{path::Path, sync::Arc};

/// Refuses a database that was moved, with the words that make authd start on the new one.
pub(super) async fn refuse(upkeep: &dyn Upkeep, config: &Config) -> Result<(), StartError> {
    let Some((to, at_ms)) = upkeep.moved().await? else { return Ok(()) };
    Err(StartError::Configuration(format!(
        "this database was moved to {to} at {}; put into authd.toml:\n{}\nand start authd again. To use this database \
         again, without what has happened on the other since: authd undo-move",
        Timestamp(at_ms),
        configuration(config, &to),
    )))
}

/// What makes authd use the new database with the keys of the old one.
pub(super) fn configuration(config: &Config, to: &str) -> String {
    let (KekPlace::Given(kek) | KekPlace::Generated(kek)) = &config.places.kek;
    format!("[database]\nurl = \"{to}\"  # with its password\n[key]\nencryption_key = \"{}\"", quoted(kek))
}

fn quoted(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"")
}

/// Makes a database that was moved the one in use again; what happened, in a line.
///
/// # Errors
/// [`StartError`].
pub async fn undo_move(config: &Config) -> Result<&'static str, StartError> {
    if matches!(config.places.database, DatabasePlace::Postgres(_)) {
        return Err(StartError::Configuration(
            "the configuration names the new database: set database.url back to the SQLite file first".to_owned(),
        ));
    }
    let ports = Ports::default();
    let circuit = parts::circuit(DATABASE, config, &ports);
    let stores = store::open(parts::store_options(config, &ports, circuit)).await?;
    let (_, root) = keyring::find(config, stores.wraps.as_ref(), ports.random.as_ref()).await?;
    stores.entrust(Arc::new(AuditKeys::new(&root)));
    let at_ms = ports.clock.now_ms();
    let actor = Actor::Operator { uid: nix::unistd::getuid().as_raw(), login_uid: None, pid: None };
    let event = Event {
        id: EventId::new(at_ms, random_bytes(ports.random.as_ref())),
        at_ms,
        action: Action::DatabaseMoveUndone,
        outcome: EventOutcome::Ok,
        reason: None,
        actor,
        target: None,
        network: None,
        device: None,
        request_id: None,
        detail: Vec::new(),
    };
    let was_moved = stores.upkeep(&config.places.data_dir).undo_move(event.about("database", "sqlite")).await?;
    stores.close().await;
    Ok(if was_moved { "this database is the one in use again: start authd" } else { "this database was not moved" })
}
