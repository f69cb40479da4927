//! Erasing sessions that are over, as long as the clock that says so is believed: they cannot be brought back.

use crate::auth::{Auth, ClockTrust, purge};
use crate::domain::{past::Past, store_error::StoreError};
use std::sync::atomic::Ordering;

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
        self.may_forget.store(is_believed, Ordering::Relaxed);
        if !is_believed {
            return Ok(0);
        }
        self.parts.sessions.forget(self.settings().keep_ms, batch).await
    }

    /// What a login may do about sessions of its account that are over.
    pub(super) fn past(&self) -> Past {
        let is_believed = self.may_forget.load(Ordering::Relaxed) && self.clock_step_ms().is_none();
        if is_believed { Past::Bounded } else { Past::Whole }
    }
}
