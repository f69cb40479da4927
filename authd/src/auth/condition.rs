//! What is wrong now, and since when: what `/health/ready` and `authctl status` say.

use crate::auth::Auth;
use crate::domain::{
    audit::{Action, EventOutcome},
    clock::Steps,
    failure::Condition,
    limit::Sharing,
    store_error::StoreError,
};
use shared::mode::Mode;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What was wrong at the last look, each with the time of the first look that found it.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    since: Mutex<BTreeMap<Condition, i64>>,
    clocks: Mutex<Clocks>,
}

/// The clocks that say what has expired.
#[derive(Debug, Default)]
struct Clocks {
    wall: Steps,
    database: Steps,
    is_recorded: bool,
}

impl Clocks {
    fn step_ms(&self) -> Option<i64> {
        self.database.step_ms().or(self.wall.step_ms())
    }
}

/// How the database was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseState {
    /// It takes writes.
    Up,
    /// It can be read.
    ReadOnly,
    /// It does not answer.
    Down,
}

/// How the audit log was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditState {
    /// It takes events.
    Writable,
    /// It does not.
    Closed,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The database.
    pub database: DatabaseState,
    /// The audit log.
    pub audit: AuditState,
    /// What is wrong, and since when, Unix milliseconds.
    pub conditions: Vec<(Condition, i64)>,
}

impl Conditions {
    fn since(&self) -> MutexGuard<'_, BTreeMap<Condition, i64>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clocks(&self) -> MutexGuard<'_, Clocks> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what holds now; each with its first time.
    fn note(&self, holding: &[(Condition, i64)]) -> Vec<(Condition, i64)> {
        let mut since = self.since();
        since.retain(|known, _| holding.iter().any(|(condition, _)| condition == known));
        for (condition, found_ms) in holding {
            let first_ms = since.entry(*condition).or_insert(*found_ms);
            *first_ms = (*first_ms).min(*found_ms);
        }
        since.iter().map(|(condition, since_ms)| (*condition, *since_ms)).collect()
    }
}

impl Auth {
    /// What is wrong, now that the database and the audit log were asked.
    pub fn conclude(&self, database: DatabaseState, audit: AuditState) -> Look {
        let now_ms = self.now_ms();
        let mut holding: Vec<(Condition, i64)> = Vec::new();
        match database {
            DatabaseState::Down => {
                let since_ms = self.parts.readiness.outages().since_ms().unwrap_or(now_ms);
                holding.push((Condition::DatabaseAway, since_ms));
            }
            DatabaseState::Up if audit == AuditState::Writable => {}
            DatabaseState::Up | DatabaseState::ReadOnly => holding.push((Condition::DatabaseUnwritable, now_ms)),
        }
        if let Sharing::Down { since_ms } = self.parts.limiter.sharing() {
            holding.push((Condition::RedisAway, since_ms));
        }
        let load = self.parts.hasher.load();
        if load.room > 0 && load.queued >= load.room {
            holding.push((Condition::HashQueueFull, now_ms));
        }
        if self.clock_step_ms().is_some() {
            holding.push((Condition::ClockStepped, now_ms));
        }
        let mode = self.mode();
        if let Some(condition) = Condition::of(mode.mode) {
            holding.push((condition, mode.changed.map_or(now_ms, |(at_ms, _)| at_ms)));
        }
        if self.is_locked_down() && mode.mode != Mode::Lockdown {
            holding.push((Condition::Lockdown, now_ms));
        }
        Look { database, audit, conditions: self.conditions.note(&holding) }
    }

    /// By how much a clock has jumped, the database's or this machine's, if it is not believed any more.
    #[must_use]
    pub fn clock_step_ms(&self) -> Option<i64> {
        self.conditions.clocks().step_ms()
    }

    /// Whether this machine's clock, which says what can be forgotten, can be believed.
    pub(super) fn is_wall_clock_believed(&self) -> bool {
        let (wall_ms, monotonic_ms) = (self.now_ms(), self.parts.clock.monotonic_ms());
        self.conditions.clocks().wall.look(wall_ms, monotonic_ms).is_none()
    }

    /// Whether this time of the database can be believed.
    pub(super) fn is_time_believed(&self, database_ms: i64) -> bool {
        let monotonic_ms = self.parts.clock.monotonic_ms();
        self.conditions.clocks().database.look(database_ms, monotonic_ms).is_none()
    }

    /// Whether the database's clock, which says what has expired, can be believed. A jump is recorded, once.
    ///
    /// # Errors
    /// [`StoreError`]: the database's time is unknown, or the jump cannot be recorded.
    pub(super) async fn is_clock_believed(&self) -> Result<bool, StoreError> {
        let database_ms = self.parts.readiness.probe().await?;
        let is_believed = self.is_time_believed(database_ms);
        let (recorded, step_ms) = {
            let clocks = self.conditions.clocks();
            (clocks.is_recorded, clocks.step_ms())
        };
        if step_ms.is_some() != recorded {
            let seconds = step_ms.unwrap_or_default().div_euclid(1_000);
            let detail = vec![("seconds", seconds.to_string())];
            self.note_daemon(Action::ClockStepped, EventOutcome::Ok, None, detail).await?;
            self.conditions.clocks().is_recorded = step_ms.is_some();
        }
        Ok(is_believed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_the_time_of_its_first_look_until_it_is_over() {
        let conditions = Conditions::default();
        let full = Condition::HashQueueFull;
        assert_eq!(conditions.note(&[(full, 5)]), [(full, 5)]);
        assert_eq!(conditions.note(&[(full, 9), (Condition::DatabaseAway, 3)])[1], (full, 5));
        assert_eq!(conditions.note(&[]), []);
        assert_eq!(conditions.note(&[(full, 12)]), [(full, 12)]);
    }
}
