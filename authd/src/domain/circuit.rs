//! A breaker that calls share: one for each dependency. It remembers when it opened and closed until somebody asks.

use crate::domain::{
    breaker::{Breaker, BreakerSettings, BreakerState, CallEnd, Held, Pass, Purpose},
    clock::Clock,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Changes that nobody has asked for yet; beyond it the oldest go.
const MAX_CHANGES: usize = 64;

/// It opened or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitChange {
    /// `Open` or `Closed`.
    pub state: BreakerState,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitReport {
    /// Which dependency.
    pub name: &'static str,
    /// What it does with calls.
    pub state: BreakerState,
    /// Who decides.
    pub held: Held,
    /// Since when it is not closed, Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Failures in a row.
    pub failures: u32,
    /// Milliseconds until calls may try again.
    pub retry_in_ms: i64,
}

/// The breaker of one dependency.
pub struct Circuit {
    name: &'static str,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

struct Inner {
    breaker: Breaker,
    /// Since when it is not closed, by the wall clock.
    since_ms: Option<i64>,
    changes: Vec<CircuitChange>,
}

impl std::fmt::Debug for Circuit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Circuit({})", self.name)
    }
}

/// A call under way. Dropped without [`Call::ended`], it says nothing: its caller left.
#[derive(Debug)]
#[must_use = "tell how it ended"]
pub struct Call<'a> {
    circuit: &'a Circuit,
    pass: Pass,
    purpose: Purpose,
}

impl Call<'_> {
    /// Notes how it ended.
    pub fn ended(self, end: CallEnd) {
        let Self { circuit, pass, purpose } = self;
        circuit.change(|breaker, now_ms| breaker.ended(pass, purpose, end, now_ms));
    }
}

impl Circuit {
    /// A closed one.
    #[must_use]
    pub fn new(name: &'static str, settings: BreakerSettings, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner { breaker: Breaker::new(settings), since_ms: None, changes: Vec::new() };
        Self { name, clock, inner: Mutex::new(inner) }
    }

    /// Which dependency.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Asks for one call; `None`: do not make it.
    pub fn ask(&self, purpose: Purpose) -> Option<Call<'_>> {
        let pass = self.change(|breaker, now_ms| breaker.ask(purpose, now_ms))?;
        Some(Call { circuit: self, pass, purpose })
    }

    /// The dependency was heard in the midst of a call: it is not away.
    pub fn heard(&self) {
        self.change(|breaker, _| breaker.heard());
    }

    /// An operator takes it over, which is recorded as theirs.
    pub fn hold(&self, held: Held) {
        let mut inner = self.lock();
        inner.breaker.hold(held, self.clock.monotonic_ms());
        let is_open = inner.breaker.since_ms().is_some();
        inner.since_ms = is_open.then(|| inner.since_ms.unwrap_or_else(|| self.clock.now_ms()));
    }

    /// How it is.
    #[must_use]
    pub fn report(&self) -> CircuitReport {
        let (inner, now_ms) = (self.lock(), self.clock.monotonic_ms());
        CircuitReport {
            name: self.name,
            state: inner.breaker.state(now_ms),
            held: inner.breaker.held(),
            since_ms: inner.since_ms,
            failures: inner.breaker.failures(),
            retry_in_ms: inner.breaker.opens_in_ms(now_ms),
        }
    }

    /// What happened since this was last asked.
    #[must_use]
    pub fn news(&self) -> Vec<CircuitChange> {
        std::mem::take(&mut self.lock().changes)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Breaker, i64) -> T) -> T {
        let mut inner = self.lock();
        let answer = change(&mut inner.breaker, self.clock.monotonic_ms());
        let state = match (inner.since_ms, inner.breaker.since_ms()) {
            (None, Some(_)) => BreakerState::Open,
            (Some(_), None) => BreakerState::Closed,
            _ => return answer,
        };
        let at_ms = self.clock.now_ms();
        inner.since_ms = (state == BreakerState::Open).then_some(at_ms);
        if inner.changes.len() >= MAX_CHANGES {
            inner.changes.remove(0);
        }
        inner.changes.push(CircuitChange { state, at_ms });
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Still;

    impl Clock for Still {
        fn now_ms(&self) -> i64 {
            7
        }

        fn monotonic_ms(&self) -> i64 {
            0
        }
    }

    fn circuit() -> Circuit {
        let settings = BreakerSettings { failures: 2, window_ms: 1_000, open_for_ms: 1_000, half_open_max_calls: 1 };
        Circuit::new("database", settings, Arc::new(Still))
    }

    fn fail(circuit: &Circuit) {
        circuit.ask(Purpose::Work).unwrap().ended(CallEnd::Failed);
    }

    #[test]
    fn what_happened_is_told_once() {
        let circuit = circuit();
        fail(&circuit);
        assert_eq!(circuit.news(), []);
        fail(&circuit);
        let opened = CircuitChange { state: BreakerState::Open, at_ms: 7 };
        assert_eq!((circuit.news(), circuit.news()), (vec![opened], vec![]));
        assert!(circuit.ask(Purpose::Work).is_none());
        circuit.ask(Purpose::Probe).unwrap().ended(CallEnd::Answered);
        assert_eq!(circuit.news(), [CircuitChange { state: BreakerState::Closed, at_ms: 7 }]);
    }

    #[test]
    fn what_an_operator_does_is_no_news_of_the_breaker() {
        let circuit = circuit();
        circuit.hold(Held::Open);
        assert_eq!(circuit.report().since_ms, Some(7));
        circuit.hold(Held::Automatic);
        assert_eq!((circuit.news(), circuit.report().since_ms), (vec![], None));
    }

    #[test]
    fn a_refusal_that_was_heard_is_no_absence() {
        let circuit = circuit();
        for _ in 0..10 {
            let call = circuit.ask(Purpose::Work).unwrap();
            circuit.heard();
            call.ended(CallEnd::Failed);
        }
        assert_eq!(circuit.report().state, BreakerState::Closed);
    }
}
