//! The circuit breaker: a pure state machine that says whether a dependency is called at all. Time is an argument.
//!
//! ```text
//! closed ──failures in a row, within the window──► open ──open_for──► half-open ──a success──► closed
//!                                                   ▲  └─a probe that succeeds─────────────────────▲
//!                                                   └──────────────a failure──────────┘
//! ```
//! Only failures in a row count: a dependency that answers others is slow or refuses something, it is not away.

use std::collections::VecDeque;

/// When it opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it, at least one.
    pub failures: u32,
    /// Within this time, in milliseconds.
    pub window_ms: i64,
    /// How long nothing is called, in milliseconds.
    pub open_for_ms: i64,
    /// Calls that may then try whether it is well again, at least one.
    pub half_open_max_calls: u32,
}

/// What it does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// They go through.
    Closed,
    /// They are refused at once.
    Open,
    /// A few go through, to see.
    HalfOpen,
}

impl BreakerState {
    /// The shown text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Failures and successes.
    Automatic,
    /// An operator: it stays open.
    Open,
    /// An operator: it stays closed, whatever fails.
    Closed,
}

/// A call that may be made; tell the breaker how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Of which phase: a call that was let through before the breaker opened says nothing about afterwards.
    phase: u64,
    /// How often the dependency had been heard by then.
    heard: u64,
}

/// Why a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// For somebody: refused while the breaker is open.
    Work,
    /// To see whether the dependency is well: refused only when an operator holds the breaker open.
    Probe,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// The dependency answered, if only with a refusal.
    Answered,
    /// It did not, or nobody knows (time-outs).
    Failed,
}

/// A breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    settings: BreakerSettings,
    phase: Phase,
    /// Counts phases.
    number: u64,
    /// Counts how often the dependency was heard in the midst of a call.
    heard: u64,
    since_ms: Option<i64>,
    held: Held,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// When the last calls in a row failed; as many as are needed to open.
    Closed(VecDeque<i64>),
    Open {
        until_ms: i64,
    },
    /// Since when, and how many calls were let through.
    HalfOpen {
        since_ms: i64,
        calls: u32,
    },
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            phase: Phase::Closed(VecDeque::new()),
            number: 0,
            heard: 0,
            since_ms: None,
            held: Held::Automatic,
        }
    }

    /// What it does with calls now.
    #[must_use]
    pub fn state(&self, now_ms: i64) -> BreakerState {
        match (self.held, &self.phase) {
            (Held::Open, _) => BreakerState::Open,
            (Held::Closed, _) | (_, Phase::Closed(_)) => BreakerState::Closed,
            (_, Phase::Open { until_ms }) if now_ms < *until_ms => BreakerState::Open,
            (_, Phase::Open { .. } | Phase::HalfOpen { .. }) => BreakerState::HalfOpen,
        }
    }

    /// Since when it is not closed.
    #[must_use]
    pub fn since_ms(&self) -> Option<i64> {
        self.since_ms
    }

    /// Who decides.
    #[must_use]
    pub fn held(&self) -> Held {
        self.held
    }

    /// Failures in a row so far, while it is closed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        match &self.phase {
            Phase::Closed(failed) => u32::try_from(failed.len()).unwrap_or(u32::MAX),
            Phase::Open { .. } | Phase::HalfOpen { .. } => self.settings.failures,
        }
    }

    /// Milliseconds until calls may try again; 0 when they may now.
    #[must_use]
    pub fn opens_in_ms(&self, now_ms: i64) -> i64 {
        match (self.held, &self.phase) {
            (Held::Automatic, Phase::Open { until_ms }) => until_ms.saturating_sub(now_ms).max(0),
            _ => 0,
        }
    }

    /// Asks for one call; `None` refuses it.
    pub fn ask(&mut self, purpose: Purpose, now_ms: i64) -> Option<Pass> {
        match self.held {
            Held::Open => return None,
            Held::Closed => return Some(self.pass()),
            Held::Automatic => {}
        }
        if self.state(now_ms) == BreakerState::HalfOpen {
            self.let_one_try(purpose, now_ms)
        } else if purpose == Purpose::Work && matches!(self.phase, Phase::Open { .. }) {
            None
        } else {
            Some(self.pass())
        }
    }

    fn let_one_try(&mut self, purpose: Purpose, now_ms: i64) -> Option<Pass> {
        let lasts = self.settings.open_for_ms;
        match &mut self.phase {
            // Those that were let through were lost: others may try.
            Phase::HalfOpen { since_ms, calls } if now_ms.saturating_sub(*since_ms) < lasts => {
                if *calls >= self.settings.half_open_max_calls && purpose == Purpose::Work {
                    return None;
                }
                *calls = calls.saturating_add(1);
            }
            _ => self.enter(Phase::HalfOpen { since_ms: now_ms, calls: 1 }),
        }
        Some(self.pass())
    }

    fn pass(&self) -> Pass {
        Pass { phase: self.number, heard: self.heard }
    }

    /// Notes how a call ended. A probe that succeeds closes the breaker at once; a failure of a call from before it
    /// opened is no news, nor is that of a call during which the dependency was heard.
    pub fn ended(&mut self, pass: Pass, purpose: Purpose, end: CallEnd, now_ms: i64) {
        let (is_current, was_silent) = (pass.phase == self.number, pass.heard == self.heard);
        match (end, &mut self.phase) {
            (CallEnd::Answered, Phase::Closed(failed)) => failed.clear(),
            (CallEnd::Answered, Phase::HalfOpen { .. }) if is_current => self.close(),
            (CallEnd::Answered, _) if purpose == Purpose::Probe => self.close(),
            (CallEnd::Failed, Phase::Closed(failed)) if is_current && was_silent => {
                let window_ms = self.settings.window_ms;
                failed.retain(|at_ms| now_ms.saturating_sub(*at_ms) < window_ms);
                failed.push_back(now_ms);
                if failed.len() >= usize::try_from(self.settings.failures.max(1)).unwrap_or(usize::MAX) {
                    self.open(now_ms);
                }
            }
            (CallEnd::Failed, Phase::HalfOpen { .. }) if is_current => self.open(now_ms),
            _ => {}
        }
    }

    /// The dependency was heard in the midst of a call: all calls that are under way may fail without its being away.
    pub fn heard(&mut self) {
        self.heard = self.heard.wrapping_add(1);
        match &mut self.phase {
            Phase::Closed(failed) => failed.clear(),
            Phase::HalfOpen { .. } => self.close(),
            Phase::Open { .. } => {}
        }
    }

    /// An operator takes it over or gives it back to itself; unless it is held open it is closed then.
    pub fn hold(&mut self, held: Held, now_ms: i64) {
        self.held = held;
        match held {
            Held::Open => {
                self.since_ms.get_or_insert(now_ms);
            }
            Held::Automatic | Held::Closed => self.close(),
        }
    }

    fn open(&mut self, now_ms: i64) {
        if self.held == Held::Closed {
            self.close();
            return;
        }
        self.since_ms.get_or_insert(now_ms);
        self.enter(Phase::Open { until_ms: now_ms.saturating_add(self.settings.open_for_ms) });
    }

    fn close(&mut self) {
        self.enter(Phase::Closed(VecDeque::new()));
        if self.held != Held::Open {
            self.since_ms = None;
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.number = self.number.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
