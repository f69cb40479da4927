//! Refusals in the audit without a flood: the first of a kind in a minute is written, the rest are counted into the next.

use crate::auth::{Auth, Refusal};
use crate::domain::audit::Event;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

const WINDOW_MS: i64 = 60_000;
/// Kinds kept apart at once; beyond it the oldest windows are closed without their count.
const MAX_KINDS: usize = 10_000;

/// Counts refusals by kind: action, reason and network.
#[derive(Debug, Default)]
pub struct Denials(Mutex<HashMap<String, Window>>);

#[derive(Debug, Clone, Copy)]
struct Window {
    since_ms: i64,
    more: u64,
}

impl Denials {
    /// Whether to write this one, and how many like it came since the last that was written.
    fn admit(&self, kind: String, now_ms: i64) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= MAX_KINDS {
            kinds.retain(|_, window| now_ms - window.since_ms < WINDOW_MS);
        }
        if kinds.len() >= MAX_KINDS {
            kinds.clear();
        }
        match kinds.get_mut(&kind) {
            Some(window) if (0..WINDOW_MS).contains(&(now_ms - window.since_ms)) => {
                window.more += 1;
                None
            }
            Some(window) => {
                let more = window.more;
                *window = Window { since_ms: now_ms, more: 0 };
                Some(more)
            }
            None => {
                kinds.insert(kind, Window { since_ms: now_ms, more: 0 });
                Some(0)
            }
        }
    }
}

impl Auth {
    /// Writes a refusal that can come in floods.
    ///
    /// # Errors
    /// [`Refusal::Storage`]: a refusal that cannot be recorded is answered 503.
    pub(super) async fn note_denial(&self, event: Event) -> Result<(), Refusal> {
        let network = event.network.as_ref().map_or("", |network| network.as_str());
        let kind = format!("{}|{}|{network}", event.action.as_str(), event.reason.as_deref().unwrap_or_default());
        let Some(more) = self.denials.admit(kind, event.at_ms) else { return Ok(()) };
        let event = if more > 0 { event.with("more_since_last", more) } else { event };
        Ok(self.parts.audit.append(vec![event]).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_of_a_kind_is_written_a_minute_with_the_count_of_the_rest() {
        let denials = Denials::default();
        assert_eq!(denials.admit("a".into(), 0), Some(0));
        assert_eq!(denials.admit("a".into(), 1), None);
        assert_eq!(denials.admit("a".into(), 59_999), None);
        assert_eq!(denials.admit("b".into(), 59_999), Some(0));
        assert_eq!(denials.admit("a".into(), 60_000), Some(2));
    }
}
