//! The floor under the time of a refused login (reliability §2; ASVS 6.3.8).

use crate::auth::Auth;
use crate::domain::store_error::StoreError;

impl Auth {
    /// How long after it came a refused login is answered at the earliest, in milliseconds: nobody learns from the time
    /// what an account's password costs to check, or that there is no account.
    #[must_use]
    pub fn failure_floor_ms(&self) -> i64 {
        self.settings().failure_floor_ms.unwrap_or_else(|| self.parts.hasher.floor_ms())
    }

    /// Learns which costs the stored passwords have.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn follow_hash_costs(&self) -> Result<(), StoreError> {
        let costs = self.parts.accounts.hash_costs().await?;
        self.parts.hasher.imitate(costs).await;
        Ok(())
    }
}
