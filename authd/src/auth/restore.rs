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
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "authd-anchor/1 seq={}", self.seq)
    }
}

impl FromStr for Anchor {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seq = text.trim().strip_prefix("authd-anchor/1 seq=").unwrap_or_default().parse()?;
        Ok(Self { seq })
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
        let found = Anchor { seq: self.parts.audit.head().await? };
        let Some(expected) = seen.filter(|seen| seen.seq > found.seq) else { return Ok(Restored::No(found)) };
        self.locked_down.store(true, Ordering::Relaxed);
        Ok(Restored::Yes { found, expected })
    }

    /// Accepts a restored database: moves the global epoch, so that every session opened before has ended. The new
    /// epoch.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn bump_epoch(&self, operator: &Operator) -> Result<i64, OperatorRefusal> {
        let stored = self.parts.settings.all().await?;
        let epoch = stored.iter().find(|setting| setting.name == EPOCH);
        let next = epoch.and_then(|setting| setting.value.parse::<i64>().ok()).unwrap_or(0).saturating_add(1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_reads_back_and_another_text_is_refused() {
        let anchor = Anchor { seq: 42 };
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        assert!("".parse::<Anchor>().is_err());
        assert!("authd-anchor/2 seq=1".parse::<Anchor>().is_err());
    }
}
