//! No chain and no key: nothing is written here.

use super::{Down, down};
use crate::domain::{
    audit::Event,
    chain::{ChainStats, ChainStore, Notary, Placed, Purged},
    store_error::StoreError,
};
use async_trait::async_trait;
use shared::chain::{AuditKey, Checkpoint, Entry, Tombstone, verify::Tail};

impl Notary for Down {
    fn keyed(&self, _: &[u8]) -> [u8; 32] {
        [0; 32]
    }
    fn sign(&self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn public(&self) -> Vec<u8> {
        Vec::new()
    }
    fn key_id(&self) -> &str {
        "aud_0"
    }
}

#[async_trait]
impl ChainStore for Down {
    async fn sealed(&self, _: i64, _: i64, _: u32) -> Result<Vec<Entry>, StoreError> {
        down()
    }
    async fn unsealed(&self, _: &str, _: u32) -> Result<Vec<Entry>, StoreError> {
        down()
    }
    async fn find(&self, _: &str, _: Option<i64>) -> Result<Option<Entry>, StoreError> {
        down()
    }
    async fn tail(&self) -> Result<Tail, StoreError> {
        down()
    }
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        down()
    }
    async fn checkpoints(&self, _: i64, _: u32) -> Result<Vec<Placed>, StoreError> {
        down()
    }
    async fn add_checkpoint(&self, _: Checkpoint) -> Result<bool, StoreError> {
        down()
    }
    async fn tombstones(&self) -> Result<Vec<Tombstone>, StoreError> {
        down()
    }
    async fn keys(&self) -> Result<Vec<(AuditKey, Vec<u8>)>, StoreError> {
        down()
    }
    async fn add_key(&self, _: AuditKey, _: [u8; 32]) -> Result<(), StoreError> {
        down()
    }
    async fn purgeable(&self, _: i64, _: i64, _: i64) -> Result<Option<Checkpoint>, StoreError> {
        down()
    }
    async fn purge(&self, _: Tombstone, _: Event) -> Result<Purged, StoreError> {
        down()
    }
    async fn last_run(&self, _: &'static str) -> Result<(i64, Option<i64>), StoreError> {
        down()
    }
    async fn job_ran(&self, _: &'static str, _: i64) -> Result<(), StoreError> {
        down()
    }
    async fn stats(&self, _: i64) -> Result<ChainStats, StoreError> {
        down()
    }
}
