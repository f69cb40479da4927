//! Keys that cannot be asked for.

use super::{Down, down};
use crate::domain::{
    audit::Event,
    clock::Random,
    instance::{Heartbeat, Presence},
    key::{KeyStore, SigningKey},
    store_error::StoreError,
    wrap::{WrapStore, Wrapped, Wrapper},
};
use async_trait::async_trait;
use shared::id::KeyId;

#[async_trait]
impl KeyStore for Down {
    async fn keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        down()
    }
    async fn stage(&self, _: SigningKey, _: Event) -> Result<bool, StoreError> {
        down()
    }
    async fn activate(&self, _: &KeyId, _: Event) -> Result<bool, StoreError> {
        down()
    }
    async fn request_promotion(&self, _: &KeyId, _: Event) -> Result<bool, StoreError> {
        down()
    }
    async fn retire(&self, _: &KeyId, _: Event) -> Result<bool, StoreError> {
        down()
    }
    async fn replace_staged(&self, _: &KeyId, _: SigningKey, _: [Event; 2]) -> Result<bool, StoreError> {
        down()
    }
    async fn revoke(&self, _: &KeyId, _: Option<&KeyId>, _: Vec<Event>) -> Result<bool, StoreError> {
        down()
    }
    async fn sessions_with_tokens(&self, _: std::ops::Range<i64>) -> Result<u64, StoreError> {
        down()
    }
    async fn beat(&self, _: &Presence) -> Result<(Vec<Heartbeat>, i64), StoreError> {
        down()
    }
    async fn beats(&self) -> Result<(Vec<Heartbeat>, i64), StoreError> {
        down()
    }
    async fn leave(&self, _: &str) -> Result<(), StoreError> {
        down()
    }
}

#[async_trait]
impl WrapStore for Down {
    async fn wrapped(&self) -> Result<Vec<Wrapped>, StoreError> {
        down()
    }
    async fn plant(&self, _: Wrapped) -> Result<Wrapped, StoreError> {
        down()
    }
    async fn rewrap(&self, _: &Wrapped, _: Wrapped, _: Event) -> Result<bool, StoreError> {
        down()
    }
}

impl Wrapper for Down {
    fn ids(&self) -> Vec<String> {
        Vec::new()
    }
    fn rewrap(&self, _: &Wrapped, _: &dyn Random) -> Option<Wrapped> {
        None
    }
}
