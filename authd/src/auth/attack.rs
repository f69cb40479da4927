//! Alarms: attack mode and floods of registrations, what they do to limits, and that operators learn of them.
//!
//! Every instance watches what it sees itself, also where they share limits; its share of the threshold is that of its
//! budgets. What it tightens it tightens for the requests that it answers.

use crate::auth::{Auth, Caller, Refusal, Tokens, tally};
use crate::domain::{
    attack::{AttackRule, AttackWatch, Flood, Shift, Tried},
    audit::{Action, Event, StoredEvent},
    ladder::Outcome,
    limit::{LimitKey, PolicyName, PolicySet, PolicyValue, Reservation, Reserved},
    rotation::Shadow,
    store_error::StoreError,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering};

/// Alarms that wait for storage; each beginning and end is one.
const MAX_UNWRITTEN: usize = 100;

/// What this instance has seen.
#[derive(Debug, Default)]
pub(super) struct Alarms(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    logins: AttackWatch,
    registrations: Flood,
    unwritten: Vec<Event>,
}

/// An alarm that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// Whose threshold was passed.
    pub policy: PolicyName,
    /// Since when.
    pub since_ms: i64,
}

impl Alarms {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Auth {
    /// The alarms that go on.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        let state = self.alarms.lock();
        let logins = state.logins.since_ms().map(|since_ms| Alarm { policy: PolicyName::LoginGlobal, since_ms });
        let floods = state.registrations.since_ms();
        let floods = floods.map(|since_ms| Alarm { policy: PolicyName::RegisterGlobal, since_ms });
        logins.into_iter().chain(floods).collect()
    }

    /// Counts how a login ended; what says nothing about the caller is left out.
    pub(super) async fn watch_login(&self, result: &Result<Tokens, Refusal>) {
        let tried = match result {
            Ok(_) | Err(Refusal::SessionLimit) => Tried::Succeeded,
            Err(Refusal::InvalidCredentials | Refusal::RateLimited { .. }) => Tried::Failed,
            Err(_) => return,
        };
        let (rule, now_ms) = (self.attack_rule(), self.now_ms());
        let shift = self.alarms.lock().logins.note(tried, rule, now_ms);
        self.follow(PolicyName::LoginGlobal, shift).await;
    }

    /// Counts a registration.
    pub(super) async fn watch_registration(&self) {
        let everybody = LimitKey::id("all");
        let admission = self.parts.limiter.take(PolicyName::RegisterGlobal, &everybody).await;
        self.tally.decided(PolicyName::RegisterGlobal, tally::admission(&admission));
        if let crate::domain::limit::Admission::Denied { .. } = admission {
            let shift = self.alarms.lock().registrations.exceeded(self.now_ms());
            self.follow(PolicyName::RegisterGlobal, shift).await;
        }
    }

    /// Ends alarms whose time is over and writes those that could not be written.
    ///
    /// # Errors
    /// [`StoreError`]; they are written at the next turn.
    pub async fn poll_alarms(&self) -> Result<(), StoreError> {
        let (rule, now_ms) = (self.attack_rule(), self.now_ms());
        let (logins, registrations) = {
            let mut state = self.alarms.lock();
            (state.logins.tick(rule, now_ms), state.registrations.tick(now_ms))
        };
        self.shift(PolicyName::LoginGlobal, logins);
        self.shift(PolicyName::RegisterGlobal, registrations);
        self.write_alarms().await
    }

    async fn follow(&self, policy: PolicyName, shift: Option<Shift>) {
        if shift.is_some() {
            self.shift(policy, shift);
            // What cannot be written now is written by the job; the caller has nothing to do with it.
            let _ = self.write_alarms().await;
        }
    }

    fn shift(&self, policy: PolicyName, shift: Option<Shift>) {
        let action = match shift {
            None => return,
            Some(Shift::Began) => Action::AttackBegan,
            Some(Shift::Ended) => Action::AttackEnded,
        };
        let count = self.alarms.lock().logins.count(self.now_ms());
        let event = self.job_event("alarms", action).about("limit", policy.as_str());
        let event = match policy {
            PolicyName::LoginGlobal => event.with("attempts", count.attempts).with("failures", count.failures),
            _ => event,
        };
        let event = if self.only_counts(policy) { event.with("shadow", "yes") } else { event };
        let mut state = self.alarms.lock();
        if state.unwritten.len() < MAX_UNWRITTEN {
            state.unwritten.push(event);
        }
        drop(state);
        self.install_limits();
    }

    async fn write_alarms(&self) -> Result<(), StoreError> {
        let events = std::mem::take(&mut self.alarms.lock().unwritten);
        if events.is_empty() {
            return Ok(());
        }
        // By id: those of a try whose outcome is unknown may be there already.
        let written = self.parts.audit.merge(events.iter().map(StoredEvent::from).collect()).await;
        if written.is_err() {
            self.alarms.lock().unwritten.splice(0..0, events);
        }
        written
    }

    /// The limits as the alarms that go on leave them to unknown devices, before instances divide them.
    #[must_use]
    pub fn limits_in_force(&self) -> Arc<PolicySet> {
        let mut set = self.limits();
        for alarm in self.alarms().into_iter().filter(|alarm| !self.only_counts(alarm.policy)) {
            let rates: &[PolicyName] = match alarm.policy {
                PolicyName::LoginGlobal => &[PolicyName::LoginIp, PolicyName::LoginNet],
                PolicyName::RegisterGlobal => &[PolicyName::RegisterIp],
                _ => &[],
            };
            set = Arc::new(set.tightened(rates));
        }
        set
    }

    /// Puts the limits into force, tightened by the alarms that go on; nothing happens when they are already.
    pub(super) fn install_limits(&self) {
        // Held to the end: of two that install, the later one has seen more.
        let mut installed = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
        let instances = self.instances.load(Ordering::Relaxed);
        let set = self.limits_in_force();
        if *installed != (set.clone(), instances) {
            self.parts.limiter.install(&set, instances);
            *installed = (set, instances);
        }
    }

    fn only_counts(&self, policy: PolicyName) -> bool {
        self.limits().get(policy).is_some_and(|policy| policy.shadow == Shadow::Counted)
    }

    fn attack_rule(&self) -> AttackRule {
        match self.parts.limiter.policies().get(PolicyName::LoginGlobal).map(|policy| policy.value) {
            Some(PolicyValue::Share(rule)) => rule,
            _ => AttackRule { percent: 100, attempts: u32::MAX },
        }
    }

    /// Holds a place under `login.spray` and one under `login.spray_net`. Give them back with [`Auth::settle_spray`].
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] while the address or its network is locked; [`Refusal::Overloaded`] when as many as may
    /// still fail stayed under way.
    pub(super) async fn hold_spray(&self, caller: &Caller, event: &Event) -> Result<Vec<Reservation>, Refusal> {
        let buckets = [
            (PolicyName::LoginSpray, LimitKey::address(caller.ip)),
            (PolicyName::LoginSprayNet, LimitKey::network(caller.ip)),
        ];
        let mut places = Vec::with_capacity(buckets.len());
        for (policy, key) in buckets {
            let reserved = self.parts.limiter.reserve(policy, key.clone(), self.settings().wait_ms).await;
            self.tally.decided(policy, tally::reservation(&reserved));
            let refusal = match reserved {
                Reserved::Place(place) => {
                    places.push(place);
                    continue;
                }
                Reserved::Denied { retry_after_ms } => self.exceeded(policy, &key, event, retry_after_ms).await,
                Reserved::Overloaded => Refusal::Overloaded,
            };
            self.settle_spray(places, Outcome::Abandoned, 0).await;
            return Err(refusal);
        }
        Ok(places)
    }

    /// Gives the places back with how the attempt on `account` ended. A success forgets nothing: whoever tries many
    /// accounts has one of their own.
    pub(super) async fn settle_spray(&self, places: Vec<Reservation>, outcome: Outcome, account: u64) {
        for place in places {
            self.parts.limiter.settle_about(place, outcome, account).await;
        }
    }
}
