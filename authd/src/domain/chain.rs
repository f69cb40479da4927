//! The audit chain where it is stored and signed: the boundary to the key and to the database.

use crate::domain::{audit::Event, store_error::StoreError};
use shared::chain::{AuditKey, Checkpoint, Entry, Tombstone, verify::Tail};

/// Holds the audit key: makes MACs and signatures, and shows neither half that is secret.
pub trait Notary: Send + Sync {
    /// The keyed hash of the bytes of an event (`Fields::known`), or of a public key.
    fn keyed(&self, bytes: &[u8]) -> [u8; 32];

    /// Ed25519 over `message`: 64 bytes.
    fn sign(&self, message: &[u8]) -> Vec<u8>;

    /// The public half: 32 bytes.
    fn public(&self) -> Vec<u8>;

    /// Its name: `aud_` and 16 hexadecimal digits.
    fn key_id(&self) -> &str;
}

/// A checkpoint with the hash that the chain has at its place.
pub type Placed = (Checkpoint, Option<Vec<u8>>);

/// How a purge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// The events are gone.
    Done,
    /// The tombstone's number is taken: somebody else purges. Nothing has changed.
    Overtaken,
    /// Another number of events was there than the tombstone says. Nothing has changed.
    Differs {
        /// How many there are.
        found: i64,
    },
}

/// What the audit log says of itself, without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainStats {
    /// Events that wait for their place, counted up to 10 001.
    pub unsealed: u64,
    /// The first sealed event: place and time.
    pub first: Option<(i64, i64)>,
    /// Events since a time, by action and outcome, the most frequent first.
    pub recent: Vec<(String, String, u64)>,
}

/// The chain, its checkpoints and its tombstones.
#[async_trait::async_trait]
pub trait ChainStore: Send + Sync {
    /// Sealed events with `after < seq <= up_to`, in order, as they are stored.
    async fn sealed(&self, after: i64, up_to: i64, limit: u32) -> Result<Vec<Entry>, StoreError>;

    /// Events without a place whose id comes after this one, in order, as they are stored.
    async fn unsealed(&self, after: &str, limit: u32) -> Result<Vec<Entry>, StoreError>;

    /// The event with this id or this place.
    async fn find(&self, id: &str, seq: Option<i64>) -> Result<Option<Entry>, StoreError>;

    /// The head of the chain and its last event, at one moment.
    async fn tail(&self) -> Result<Tail, StoreError>;

    /// The last checkpoint.
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError>;

    /// Checkpoints with a number after this one, in order.
    async fn checkpoints(&self, after: i64, limit: u32) -> Result<Vec<Placed>, StoreError>;

    /// Adds a checkpoint; `false` when its number is taken.
    async fn add_checkpoint(&self, checkpoint: Checkpoint) -> Result<bool, StoreError>;

    /// All tombstones, in order.
    async fn tombstones(&self) -> Result<Vec<Tombstone>, StoreError>;

    /// Public halves of the audit key with the keyed hashes stored beside them, oldest first.
    async fn keys(&self) -> Result<Vec<(AuditKey, Vec<u8>)>, StoreError>;

    /// Adds a public half unless it is there.
    async fn add_key(&self, key: AuditKey, mac: [u8; 32]) -> Result<(), StoreError>;

    /// The last checkpoint whose events had all outlived their time at `cut_off_ms` and which a checkpoint made before
    /// `exported_ms` knew to be in an anchor; at most the first `most` events that are left, or a single range.
    async fn purgeable(&self, cut_off_ms: i64, exported_ms: i64, most: i64) -> Result<Option<Checkpoint>, StoreError>;

    /// Deletes what a tombstone covers and leaves it behind, with this event.
    async fn purge(&self, tombstone: Tombstone, event: Event) -> Result<Purged, StoreError>;

    /// The time, and when this job ran last, both by the database.
    async fn last_run(&self, job: &'static str) -> Result<(i64, Option<i64>), StoreError>;

    /// Records that a job has run at this time.
    async fn job_ran(&self, job: &'static str, at_ms: i64) -> Result<(), StoreError>;

    /// Numbers about the log; `recent` counts from `since_ms` on.
    async fn stats(&self, since_ms: i64) -> Result<ChainStats, StoreError>;
}
