//! Known devices and counts of evaluations, in storage that is down.

use super::{Down, down};
use crate::domain::{
    audit::Event,
    device::{Device, DeviceFate, DeviceStore},
    hard::{Charge, HardCount, HardLimit, HardStore, Lane},
    identifier::IdentifierKind,
    limit::LimitKey,
    store_error::StoreError,
    token::TokenHash,
};
use async_trait::async_trait;
use shared::id::{DeviceId, UserId};

#[async_trait]
impl DeviceStore for Down {
    async fn find(&self, _: TokenHash, _: IdentifierKind, _: &str) -> Result<Option<Device>, StoreError> {
        down()
    }
    async fn fail(&self, _: &DeviceId, _: u32, _: Event) -> Result<DeviceFate, StoreError> {
        down()
    }
}

#[async_trait]
impl HardStore for Down {
    async fn charge(&self, _: &LimitKey, _: Lane, _: HardLimit) -> Result<Option<Charge>, StoreError> {
        down()
    }
    async fn give_back(&self, _: &Charge) -> Result<(), StoreError> {
        down()
    }
    async fn clear(&self, _: &LimitKey) -> Result<(), StoreError> {
        down()
    }
    async fn open(&self, _: &UserId, _: Event) -> Result<HardCount, StoreError> {
        down()
    }
    async fn counts(&self, _: &[UserId]) -> Result<Vec<HardCount>, StoreError> {
        down()
    }
    async fn opened_lately(&self) -> Result<Vec<(UserId, i64)>, StoreError> {
        down()
    }
}
