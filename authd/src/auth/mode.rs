//! The operating mode: what operators have ordered, followed by every instance within a second.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::{
    audit::Action,
    failure::{self, Condition, Flow},
    setting::Setting,
    store_error::StoreError,
    upkeep::Writes,
};
use shared::{mode::Mode, time::Span};
use std::{sync::PoisonError, time::Duration};

/// The setting that holds it.
const SETTING: &str = "mode";
/// The longest time a mode can be ordered for.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// A mode with how it came to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModeInForce {
    /// Which.
    pub mode: Mode,
    /// When it was set, and by whom.
    pub changed: Option<(i64, String)>,
    /// When it returns to normal.
    pub expires_ms: Option<i64>,
}

/// Why a flow is closed, whatever its request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The condition that closes it.
    pub condition: Condition,
    /// How long that lasts at most, in milliseconds, if it is known.
    pub left_ms: Option<i64>,
}

impl ModeInForce {
    fn stored(setting: &Setting) -> Option<Self> {
        Some(Self {
            mode: setting.value.parse().ok()?,
            changed: Some((setting.changed_ms, setting.changed_by.clone())),
            expires_ms: setting.expires_ms,
        })
    }

    fn is_over(&self, now_ms: i64) -> bool {
        self.expires_ms.is_some_and(|end_ms| end_ms <= now_ms)
    }
}

impl Auth {
    /// The mode in force.
    #[must_use]
    pub fn mode(&self) -> ModeInForce {
        let ordered = self.ordered_mode();
        // A move puts writes off; a lockdown stays one.
        match self.parts.upkeep.writes() {
            Writes::Taken => ordered,
            Writes::Held(_) | Writes::Moved { .. } if ordered.mode == Mode::Lockdown => ordered,
            Writes::Held(at_ms) | Writes::Moved { at_ms, .. } => {
                let changed = Some((at_ms, "db move".to_owned()));
                ModeInForce { mode: Mode::ReadOnly, changed, expires_ms: None }
            }
        }
    }

    /// The mode that operators have ordered.
    fn ordered_mode(&self) -> ModeInForce {
        let current = self.mode.read().unwrap_or_else(PoisonError::into_inner);
        // Also while the database is away, which else says that its time is over.
        if current.is_over(self.now_ms()) { ModeInForce::default() } else { current.clone() }
    }

    /// Whether a flow is closed now by a mode, or by a restored database that nobody has accepted. Every request of
    /// the public API asks this first.
    #[must_use]
    pub fn closing(&self, flow: Flow) -> Option<Closing> {
        if self.is_locked_down() && failure::is_closed(flow, Condition::Lockdown) {
            return Some(Closing { condition: Condition::Lockdown, left_ms: None });
        }
        let mode = self.mode();
        let condition = Condition::of(mode.mode).filter(|condition| failure::is_closed(flow, *condition))?;
        let left_ms = mode.expires_ms.map(|end_ms| end_ms.saturating_sub(self.now_ms()));
        Some(Closing { condition, left_ms })
    }

    /// Sets the mode of all instances: here at once, elsewhere within a second.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn set_mode(&self, operator: &Operator, mode: Mode, life: Option<Span>) -> Result<(), OperatorRefusal> {
        if let Some(life) = life {
            if mode == Mode::Normal {
                return Err(OperatorRefusal::Invalid("normal has no end: leave the time out".to_owned()));
            }
            if life.0.is_zero() || life.0 > LONGEST {
                return Err(OperatorRefusal::Invalid("a mode lasts from a moment to 30 days".to_owned()));
            }
        }
        if operator.is_dry_run() {
            return Ok(());
        }
        let event = self.operator_event(operator, Action::ModeChanged).about("mode", mode.as_str());
        let event = event.with("from", self.mode().mode);
        if mode == Mode::Normal {
            self.parts.settings.remove(SETTING, event).await?;
        } else {
            let event = event.with("for", life.unwrap_or_default());
            let who = format!("uid {}", operator.uid);
            self.parts.settings.put(SETTING, mode.as_str(), &who, life.map(Span::as_millis), event).await?;
        }
        Ok(self.poll_settings().await?)
    }

    /// Puts the stored mode into force.
    pub(super) fn follow_mode(&self, stored: &[Setting]) {
        let stored = stored.iter().find(|setting| setting.name == SETTING);
        let next = stored.and_then(ModeInForce::stored).unwrap_or_default();
        *self.mode.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// Records that a mode has ended by itself: one instance does.
    pub(super) async fn end_expired_mode(&self) -> Result<(), StoreError> {
        let event = self.job_event("settings", Action::ModeChanged).about("mode", Mode::Normal.as_str());
        self.parts.settings.expire(SETTING, event.because("expired")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(value: &str, expires_ms: Option<i64>) -> Setting {
        let (name, changed_by) = (SETTING.to_owned(), "uid 0".to_owned());
        Setting { name, value: value.to_owned(), version: 1, changed_ms: 7, changed_by, expires_ms }
    }

    #[test]
    fn a_stored_mode_reads_back_and_ends_when_its_time_is_over() {
        let mode = ModeInForce::stored(&setting("no-login", Some(10))).unwrap();
        assert_eq!((mode.mode, mode.changed.clone()), (Mode::NoLogin, Some((7, "uid 0".to_owned()))));
        assert!(!mode.is_over(9) && mode.is_over(10));
        assert!(!ModeInForce::stored(&setting("lockdown", None)).unwrap().is_over(i64::MAX));
    }

    #[test]
    fn a_mode_of_a_later_version_is_no_mode() {
        assert_eq!(ModeInForce::stored(&setting("maintenance", None)), None);
    }
}
