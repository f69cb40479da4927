//! The restore guard (R13): a database older than what this instance has seen takes no requests until an operator
//! has ended every session opened before.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::{audit::Action, setting::Setting, store_error::StoreError};
use std::{fmt, str::FromStr, sync::atomic::Ordering};

/// The setting that holds the global epoch.
const EPOCH: &str = "epoch.global";

/// How far the audit had come when this instance last looked: one line of text in the anchor file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Last sealed sequence number.
    pub seq: i64,
    /// The global epoch. A larger one in the database says that an operator has accepted it since.
    pub epoch: i64,
}

impl Anchor {
    /// Whether a database with `found` is older than this, and nobody has accepted it.
    fn is_ahead_of(self, found: Self) -> bool {
        self.seq > found.seq && self.epoch >= found.epoch
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "authd-anchor/1 seq={} epoch={}", self.seq, self.epoch)
    }
}

/// Text that is no anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an anchor of this version")]
pub struct InvalidAnchor;

impl FromStr for Anchor {
    type Err = InvalidAnchor;
    fn from_str(text: &str) -> Result<Self, InvalidAnchor> {
        let numbers = text.trim().strip_prefix("authd-anchor/1 seq=").and_then(|rest| rest.split_once(" epoch="));
        let (seq, epoch) = numbers.ok_or(InvalidAnchor)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| InvalidAnchor);
        Ok(Self { seq: number(seq)?, epoch: number(epoch)? })
    }
}

/// What a look at the anchor found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        self.locked_down.load(Ordering::Relaxed)
    }

    /// Compares the database with what was seen before, and locks down when it is older.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is decided then.
    pub async fn compare_with_anchor(&self, seen: Option<Anchor>) -> Result<Restored, StoreError> {
        let epoch = epoch(&self.parts.settings.all().await?);
        let found = Anchor { seq: self.parts.audit.head().await?, epoch };
        let ahead = seen.filter(|seen| seen.is_ahead_of(found));
        self.locked_down.store(ahead.is_some(), Ordering::Relaxed);
        let Some(expected) = ahead else { return Ok(Restored::No(found)) };
        self.seen_epoch.fetch_max(expected.epoch, Ordering::Relaxed);
        Ok(Restored::Yes { found, expected })
    }

    /// Accepts a restored database: moves the global epoch, so that every session opened before has ended. The new
    /// epoch.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn bump_epoch(&self, operator: &Operator) -> Result<i64, OperatorRefusal> {
        let stored = self.parts.settings.all().await?;
        // Beyond what the anchor has seen, too: only so does the anchor give way.
        let next = epoch(&stored).max(self.seen_epoch.load(Ordering::Relaxed)).saturating_add(1);
        if operator.is_dry_run() {
            return Ok(next);
        }
        let event = self.operator_event(operator, Action::ModeChanged).about("epoch", &next.to_string());
        let who = format!("uid {}", operator.uid);
        self.parts.settings.put(EPOCH, &next.to_string(), &who, None, event.with("accept_restore", "yes")).await?;
        self.poll_settings().await?;
        self.locked_down.store(false, Ordering::Relaxed);
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
        let seen = Anchor { seq: 42, epoch: 1 };
        assert!(!seen.is_ahead_of(seen));
        assert!(!seen.is_ahead_of(Anchor { seq: 43, epoch: 1 }));
        assert!(seen.is_ahead_of(Anchor { seq: 41, epoch: 1 }));
        assert!(seen.is_ahead_of(Anchor { seq: 41, epoch: 0 }));
        assert!(!seen.is_ahead_of(Anchor { seq: 41, epoch: 2 }));
    }

    #[test]
    fn an_anchor_reads_back_and_another_text_is_refused() {
        let anchor = Anchor { seq: 42, epoch: 3 };
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        assert!("".parse::<Anchor>().is_err());
        assert!("authd-anchor/2 seq=1".parse::<Anchor>().is_err());
    }
}
