//! A database that nobody looks after.

use super::{Down, down};
use crate::domain::{
    audit::Event,
    secret::Secret,
    store_error::StoreError,
    upkeep::{Copy, Facts, MoveEvents, Moved, Upkeep, UpkeepError, Watcher, Writes},
};
use std::sync::Arc;

#[async_trait::async_trait]
impl Upkeep for Down {
    async fn facts(&self) -> Result<Facts, StoreError> {
        down()
    }
    fn writes(&self) -> Writes {
        Writes::Taken
    }
    async fn copy(&self, _: Arc<dyn Watcher>) -> Result<Copy, UpkeepError> {
        Ok(down()?)
    }
    async fn try_move(&self, _: &Secret) -> Result<Moved, UpkeepError> {
        Ok(down()?)
    }
    async fn move_to(&self, _: &Secret, _: MoveEvents, _: Arc<dyn Watcher>) -> Result<Moved, UpkeepError> {
        Ok(down()?)
    }
    async fn moved(&self) -> Result<Option<(String, i64)>, StoreError> {
        down()
    }
    async fn undo_move(&self, _: Event) -> Result<bool, StoreError> {
        down()
    }
}
