//! Live settings: what operators change while the daemon runs, shared by all instances.

use crate::domain::{audit::Event, store_error::StoreError};

/// One stored setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name, such as `limit.login.ip`.
    pub name: String,
    /// JSON text that the owner of the name understands.
    pub value: String,
    /// Grows with every change.
    pub version: i64,
    /// When it was changed, by database time.
    pub changed_ms: i64,
    /// Who changed it: `uid 0`.
    pub changed_by: String,
    /// After this it counts as absent.
    pub expires_ms: Option<i64>,
}

/// A setting to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSetting {
    /// Its name.
    pub name: String,
    /// JSON text that the owner of the name understands.
    pub value: String,
    /// Who changes it: `uid 0`.
    pub changed_by: String,
    /// Bounds how long it holds.
    pub life_ms: Option<i64>,
}

/// Keeps settings. Every change writes the event it is given, or does nothing.
#[async_trait::async_trait]
pub trait SettingStore: Send + Sync {
    /// All settings; few enough to read every second.
    async fn all(&self) -> Result<Vec<Setting>, StoreError>;

    /// Sets one and removes others, all or nothing; removing absent ones writes the event all the same.
    async fn change(&self, put: Option<NewSetting>, removed: Vec<String>, event: Event) -> Result<(), StoreError>;

    /// Sets one; `life_ms` bounds how long it holds.
    async fn put(
        &self,
        name: &str,
        value: &str,
        changed_by: &str,
        life_ms: Option<i64>,
        event: Event,
    ) -> Result<(), StoreError> {
        let (name, value, changed_by) = (name.to_owned(), value.to_owned(), changed_by.to_owned());
        self.change(Some(NewSetting { name, value, changed_by, life_ms }), Vec::new(), event).await
    }

    /// Removes one; removing an absent one writes the event all the same.
    async fn remove(&self, name: &str, event: Event) -> Result<(), StoreError> {
        self.change(None, vec![name.to_owned()], event).await
    }

    /// Removes one whose time is over, and writes the event only then.
    async fn expire(&self, name: &str, event: Event) -> Result<(), StoreError>;
}

/// Tells whether the parts a request needs answer.
#[async_trait::async_trait]
pub trait Readiness: Send + Sync {
    /// Asks the database to write; `Ok` with its own time in Unix milliseconds.
    async fn probe(&self) -> Result<i64, StoreError>;

    /// Outages seen by this instance (R5).
    fn outages(&self) -> crate::domain::outage::Outages;

    /// `sqlite` or `postgres`.
    fn kind(&self) -> &'static str;

    /// What decides there whether an acknowledged change outlasts a crash: names and values in the database's words.
    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError>;
}
