//! Erasing sessions that are over, as long as the clock that says so is believed: they cannot be brought back.

use crate::auth::{Auth, ClockTrust, purge};
use crate::domain::store_error::StoreError;
use std::sync::atomic::Ordering;

/// No time was believed.
pub(super) const NEVER: i64 = i64::MIN;

impl Auth {
    /// Erases sessions whose absolute end is more than `session.keep` ago, at most `batch`; how many went. None while
    /// the clock jumped, or stands far from the last run of the job that purges events: an operator who confirms the
    /// time to that one has confirmed it to this one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_sessions(&self, batch: u32) -> Result<u64, StoreError> {
        let is_steady = self.is_clock_believed().await?;
        let (now_ms, ran_ms) = self.last_purge().await?;
        let is_believed = is_steady && purge::doubt(now_ms, ran_ms, self.clock_step_ms(), ClockTrust::Ruled).is_none();
        self.believed_ms.store(if is_believed { now_ms } else { NEVER }, Ordering::Relaxed);
        if !is_believed {
            return Ok(0);
        }
        self.parts.sessions.forget(now_ms.saturating_sub(self.settings().keep_ms), batch).await
    }

    /// By when sessions must have been over that a login may erase: the time that was believed last, at most a minute
    /// ago. A clock that has jumped ahead since erases nothing, noticed or not.
    pub(super) fn over_by_ms(&self) -> Option<i64> {
        let believed_ms = self.believed_ms.load(Ordering::Relaxed);
        (believed_ms != NEVER && self.clock_step_ms().is_none()).then_some(believed_ms)
    }
}
