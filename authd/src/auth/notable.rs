//! What operators are told of at once: news from the audit log, and a database that goes away and comes back.

use crate::auth::Auth;
use crate::domain::{
    audit::{Action, Event, EventOutcome, StoredEvent},
    store_error::StoreError,
};
use shared::notable::{self, Told};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

/// A shorter one is a hiccup.
const WORTH_TELLING_MS: i64 = 1_000;

/// How far this instance has told its operators.
#[derive(Debug, Default)]
pub(super) struct News {
    told_up_to: AtomicI64,
    lost_since_ms: Mutex<Option<i64>>,
}

/// What an outage has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Lost { since_ms: i64 },
    Returned { since_ms: i64 },
}

/// Notes how storage is now; `Some` when that is news.
fn turn(lost_since_ms: &mut Option<i64>, away_since_ms: Option<i64>, now_ms: i64) -> Option<Turn> {
    match (*lost_since_ms, away_since_ms) {
        (None, Some(since_ms)) if now_ms.saturating_sub(since_ms) >= WORTH_TELLING_MS => {
            *lost_since_ms = Some(since_ms);
            Some(Turn::Lost { since_ms })
        }
        (Some(since_ms), None) => {
            *lost_since_ms = None;
            Some(Turn::Returned { since_ms })
        }
        _ => None,
    }
}

impl Auth {
    /// Begins to tell with what comes from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn skip_news(&self) -> Result<(), StoreError> {
        self.news.told_up_to.store(self.parts.audit.head().await?, Ordering::Relaxed);
        Ok(())
    }

    /// Notable events since the last call, of all instances.
    ///
    /// # Errors
    /// [`StoreError`]; they come with the next call.
    pub async fn news(&self) -> Result<Vec<StoredEvent>, StoreError> {
        let (after, up_to) = (self.news.told_up_to.load(Ordering::Relaxed), self.parts.audit.head().await?);
        if up_to <= after {
            return Ok(Vec::new());
        }
        let mut news = self.parts.audit.notable(after, up_to).await?;
        self.news.told_up_to.store(up_to, Ordering::Relaxed);
        let is_told_at_once = |event: &StoredEvent| {
            notable::of(&event.action, event.reason.as_deref()).is_none_or(|kind| kind.told == Told::AtOnce)
        };
        news.retain(|event| !is_told_at_once(event));
        Ok(news)
    }

    /// Whether storage was lost or came back since the last call, as the event that is written of it.
    pub async fn watch_storage(&self) -> (Option<StoredEvent>, Result<(), StoreError>) {
        let away_since_ms = self.parts.readiness.outages().since_ms();
        let turn = {
            let mut lost = self.news.lost_since_ms.lock().unwrap_or_else(PoisonError::into_inner);
            turn(&mut lost, away_since_ms, self.now_ms())
        };
        let Some(turn) = turn else { return (None, Ok(())) };
        let event = self.storage_event(turn);
        let kept = self.keep_somewhere(vec![event.clone()]).await;
        (Some(StoredEvent::from(&event)), kept.map(|_| ()))
    }

    fn storage_event(&self, turn: Turn) -> Event {
        let (action, outcome, since_ms) = match turn {
            Turn::Lost { since_ms } => (Action::StorageLost, EventOutcome::Error, since_ms),
            Turn::Returned { since_ms } => (Action::StorageReturned, EventOutcome::Ok, since_ms),
        };
        let event = self.job_event("watch", action).about("database", self.parts.readiness.kind());
        Event { outcome, ..event }.with("since", shared::time::Timestamp(since_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_news_twice_and_a_hiccup_never() {
        let mut lost = None;
        assert_eq!(turn(&mut lost, None, 0), None);
        assert_eq!(turn(&mut lost, Some(10), 500), None);
        assert_eq!(turn(&mut lost, None, 600), None);
        assert_eq!(turn(&mut lost, Some(700), 1_700), Some(Turn::Lost { since_ms: 700 }));
        assert_eq!(turn(&mut lost, Some(700), 9_000), None);
        assert_eq!(turn(&mut lost, None, 9_500), Some(Turn::Returned { since_ms: 700 }));
        assert_eq!(turn(&mut lost, None, 10_000), None);
    }

    #[test]
    fn every_notable_event_is_one_that_is_written() {
        for kind in notable::NOTABLE {
            assert!(Action::ALL.iter().any(|action| action.as_str() == kind.action), "{}", kind.action);
        }
    }
}
