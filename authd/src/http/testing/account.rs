//! Accounts of a store that is down.

use super::*;
use crate::domain::import::{ImportFate, NewImport, Trying};

#[async_trait]
impl AccountStore for Down {
    async fn create(&self, _: NewAccount, _: Option<NewSession>, _: Vec<Event>) -> Result<Created, StoreError> {
        down()
    }
    async fn find_registration(&self, _: [u8; 32]) -> Result<Option<Registered>, StoreError> {
        down()
    }
    async fn note_registration(&self, _: [u8; 32], _: SessionId) -> Result<(), StoreError> {
        down()
    }
    async fn hash_costs(&self) -> Result<Vec<HashCost>, StoreError> {
        down()
    }
    async fn find_login(&self, _: IdentifierKind, _: &str) -> Result<Option<LoginRecord>, StoreError> {
        down()
    }
    async fn find(&self, _: &UserId) -> Result<Option<LoginRecord>, StoreError> {
        down()
    }
    async fn list(&self, _: AccountFilter, _: PageRequest) -> Result<Page<AccountRow>, StoreError> {
        down()
    }
    async fn rehash(&self, _: &UserId, _: &PasswordHash, _: &PasswordHash, _: Event) -> Result<bool, StoreError> {
        down()
    }
    async fn break_sessions(&self, _: &UserId, _: Break, _: Event) -> Result<Broken, StoreError> {
        down()
    }
    async fn enable(&self, _: &UserId, _: Event) -> Result<bool, StoreError> {
        down()
    }
    async fn issue_reset(&self, _: &UserId, _: [u8; 32], _: i64, _: Event) -> Result<bool, StoreError> {
        down()
    }
    async fn find_reset(&self, _: [u8; 32]) -> Result<Option<UserId>, StoreError> {
        down()
    }
    async fn redeem_reset(
        &self,
        _: [u8; 32],
        _: PasswordHash,
        _: Event,
    ) -> Result<Option<(UserId, Revoked)>, StoreError> {
        down()
    }
    async fn import(&self, _: Vec<NewImport>, _: Trying, _: Event) -> Result<Option<Vec<ImportFate>>, StoreError> {
        down()
    }
    async fn export(&self, _: PageRequest) -> Result<Page<LoginRecord>, StoreError> {
        down()
    }
}
