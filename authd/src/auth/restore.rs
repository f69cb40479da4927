//! The restore guard (R13): a database older than what this instance has seen takes no requests until an operator
//! has ended every session opened before.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::{audit::Action, restore::is_older, setting::Setting, store_error::StoreError};
use shared::chain::Anchor;
use std::sync::atomic::Ordering;

/// The setting that holds the global epoch.
const EPOCH: &str = "epoch.global";

/// Whether a database at `seq` and `epoch` is older than the anchor, and nobody has accepted it.
fn is_ahead(anchor: &Anchor, seq: i64, epoch: i64) -> bool {
    anchor.seq > seq && anchor.epoch >= epoch
}

/// The one of two anchors that has seen more.
#[must_use]
pub fn newer(one: Anchor, other: Option<Anchor>) -> Anchor {
    match other {
        Some(other) if (other.epoch, other.seq) > (one.epoch, one.seq) => other,
        _ => one,
    }
}

/// Why an operator moves the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochBump {
    /// To end every session.
    EndSessions,
    /// To go on with a database that may be older than what was seen before.
    AcceptRestore,
}

/// What a look at the anchor found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// The database is at least as new: the anchor to write.
    No(Anchor),
    /// It is older.
    Yes {
        /// What the database says.
        found: Anchor,
        /// What was seen before.
        expected: Anchor,
    },
}

impl Auth {
    /// Whether the public API takes no requests until a restore is accepted.
    #[must_use]
    pub fn is_locked_down(&self) -> bool {
        self.parts.guard.is_locked()
    }

    /// Takes no requests on the public API until a restore is accepted.
    pub fn lock_down(&self) {
        self.parts.guard.lock();
    }

    /// Compares the database with what was seen before, and locks down when it is older.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is decided then.
    pub async fn compare_with_anchor(&self, seen: Option<Anchor>) -> Result<Restored, StoreError> {
        // Before the database is asked: it goes on meanwhile.
        let guarded = self.parts.guard.seen();
        let epoch = epoch(&self.parts.settings.all().await?);
        let seq = self.parts.audit.head().await?;
        let seen = match guarded.filter(|_| is_older(guarded, seq, epoch)) {
            // The anchor follows every few seconds; memory knows more.
            Some((seq, epoch)) => Some(newer(Anchor { seq, epoch, ..seen.clone().unwrap_or_default() }, seen)),
            None => seen,
        };
        let known = seen.as_ref().and_then(|seen| seen.checkpoint.clone());
        let is_accepted = seen.as_ref().is_some_and(|seen| seen.epoch < epoch);
        let is_other = match &known {
            // It has come as far by another way: somebody went on with an older one.
            Some(known) if !is_accepted => !self.has_checkpoint(known).await?,
            _ => false,
        };
        let ahead = seen.filter(|seen| is_other || is_ahead(seen, seq, epoch));
        if let Some(expected) = ahead {
            self.parts.guard.lock();
            self.seen_epoch.fetch_max(expected.epoch, Ordering::Relaxed);
            let found = Anchor { seq, epoch, ..Anchor::default() };
            self.remember_anchor(expected.clone());
            return Ok(Restored::Yes { found, expected });
        }
        self.parts.guard.saw(seq, epoch);
        // What nobody signed must not take the place of what was signed, and what was given up is not kept.
        let checkpoint = self.signed_checkpoint().await?.or(known.filter(|_| !is_accepted));
        Ok(Restored::No(Anchor { seq, epoch, checkpoint, keys: self.audit_keys() }))
    }

    /// Moves the global epoch, so that every session opened before has ended, and with it accepts a restored database.
    /// The new epoch.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn bump_epoch(&self, operator: &Operator, why: EpochBump) -> Result<i64, OperatorRefusal> {
        let stored = self.parts.settings.all().await?;
        // Beyond what the anchor has seen, too: only so does the anchor give way.
        let next = epoch(&stored).max(self.seen_epoch.load(Ordering::Relaxed)).saturating_add(1);
        if operator.is_dry_run() {
            return Ok(next);
        }
        let event = self.operator_event(operator, Action::ModeChanged).about("epoch", &next.to_string());
        let event = match why {
            EpochBump::EndSessions => event,
            EpochBump::AcceptRestore => event.with("accept_restore", "yes"),
        };
        let who = format!("uid {}", operator.uid);
        self.parts.settings.put(EPOCH, &next.to_string(), &who, None, event).await?;
        self.poll_settings().await?;
        let seq = self.parts.audit.head().await?;
        self.parts.guard.saw(seq, next);
        if self.anchor().is_none() {
            // Its file could not be read; from here on it is known again what was seen.
            self.remember_anchor(Anchor { seq, epoch: next, checkpoint: None, keys: self.audit_keys() });
        }
        Ok(next)
    }

    /// Access tokens from before the last epoch bump do not work any more, on any instance.
    pub(super) fn follow_epoch(&self, stored: &[Setting]) {
        if let Some(setting) = stored.iter().find(|setting| setting.name == EPOCH) {
            self.revoked.raise_floor(setting.changed_ms.div_euclid(1_000).saturating_add(1));
        }
    }
}

/// The global epoch among the stored settings; 0 before the first bump.
fn epoch(stored: &[Setting]) -> i64 {
    stored.iter().find(|setting| setting.name == EPOCH).and_then(|setting| setting.value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_database_is_noticed_until_its_epoch_has_moved_beyond_the_anchor() {
        let seen = Anchor { seq: 42, epoch: 1, ..Anchor::default() };
        assert!(!is_ahead(&seen, 42, 1));
        assert!(!is_ahead(&seen, 43, 1));
        assert!(is_ahead(&seen, 41, 1));
        assert!(is_ahead(&seen, 41, 0));
        assert!(!is_ahead(&seen, 41, 2));
    }
}
