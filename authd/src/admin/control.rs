//! What the admin API asks of the daemon as a whole; the container answers.

use crate::{auth::Operator, domain::store_error::StoreError};
use shared::admin::{
    Page,
    config::{Checked, Setting},
    daemon::{Reloaded, StatusReport},
    doctor::Examined,
};

/// Status, configuration and reload.
#[async_trait::async_trait]
pub trait Control: Send + Sync {
    /// How the daemon is; answers from memory where storage does not.
    async fn status(&self) -> StatusReport;

    /// What the daemon finds when it examines itself.
    async fn checkup(&self) -> Examined;

    /// The metrics in Prometheus's text format.
    async fn metrics(&self) -> String;

    /// Every configuration key with its value and origin; secrets masked.
    fn show_config(&self) -> Page<Setting>;

    /// What a reload would do, and what is wrong with the files.
    async fn check_config(&self) -> Checked;

    /// Reads the configuration again and puts its live values into force, or nothing when anything is wrong.
    ///
    /// # Errors
    /// [`StoreError`]: it could not be recorded, so nothing has changed.
    async fn reload(&self, operator: &Operator) -> Result<Reloaded, StoreError>;

    /// Writes into the anchor file how far the audit log has come; it says so in the log when it cannot.
    ///
    /// # Errors
    /// [`StoreError`]; the file follows within seconds.
    async fn keep_anchor(&self) -> Result<(), StoreError>;

    /// What makes authd use the database at `to` with the keys of the present one.
    fn configuration_for(&self, to: &str) -> String;

    /// This process's name in heartbeats.
    fn instance(&self) -> &str;
}
