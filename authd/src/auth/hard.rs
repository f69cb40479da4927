//! `login.hard` in the use cases: charging evaluations, saying when a lane goes off, and opening lanes on all
//! instances.

use crate::auth::{Auth, Operator, OperatorRefusal, Refusal};
use crate::domain::{
    audit::{Action, Event},
    hard::{Charge, HardCount, HardLimit, Lane, Rest},
    limit::{LimitKey, PolicyName, PolicyValue},
    store_error::StoreError,
    tally::LimitOutcome,
};
use shared::id::UserId;
use std::{
    collections::{HashMap, HashSet},
    sync::PoisonError,
};

/// What somebody is told whose lane is off: nobody knows when it opens. The longest wait of the ladder, so that both
/// look alike.
const OFF_RETRY_MS: i64 = 900_000;

/// How long shared counts are asked about the accounts of one list, in milliseconds; what this instance remembers has
/// to do for the rest.
const ASKING_MS: i64 = 500;

/// Accounts that were opened of late, and when: what this instance has followed already.
pub(super) type SeenOpenings = HashMap<UserId, i64>;

/// For whom the password login of an account is refused now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LockedLanes {
    /// For devices that have not logged in before: by `login.account` on this instance, or by `login.hard`.
    pub unknown: bool,
    /// For devices that have.
    pub known: bool,
}

impl Auth {
    pub(super) fn hard_limit(&self) -> HardLimit {
        match self.limits().get(PolicyName::LoginHard).map(|policy| policy.value) {
            Some(PolicyValue::Hard(limit)) => limit,
            _ => HardLimit::default(),
        }
    }

    /// Charges one evaluation, or refuses and says so in the audit.
    pub(super) async fn charge(&self, account: &LimitKey, lane: Lane, event: &Event) -> Result<Charge, Refusal> {
        let charge = self.parts.hard.charge(account, lane, self.hard_limit()).await?;
        let said = if charge.is_some() { LimitOutcome::Allowed } else { LimitOutcome::Denied };
        self.tally.decided(PolicyName::LoginHard, said);
        if let Some(charge) = charge {
            return Ok(charge);
        }
        let denied = event.clone().denied(PolicyName::LoginHard.as_str()).with("lane", lane.as_str());
        self.note_denial(denied).await?;
        Err(Refusal::RateLimited { retry_after_ms: OFF_RETRY_MS })
    }

    /// A failure stays charged; the last one that its lane had turns the lane off, which is said once.
    pub(super) async fn note_failure(&self, charge: &Charge, event: &Event) -> Result<(), StoreError> {
        if charge.rest == Rest::Some {
            return Ok(());
        }
        let off = event.clone().doing(Action::LimitExceeded).denied(PolicyName::LoginHard.as_str());
        let off = Event { id: self.event_id(), ..off.with("lane", charge.lane.as_str()) };
        self.parts.audit.append(vec![off]).await
    }

    /// For whom these accounts are locked, in their order.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn locked(&self, accounts: &[UserId]) -> Result<Vec<LockedLanes>, OperatorRefusal> {
        let (counts, limit) = (self.parts.hard.counts(accounts).await?, self.hard_limit());
        let mut locked = Vec::with_capacity(accounts.len());
        let until_ms = self.parts.clock.monotonic_ms().saturating_add(ASKING_MS);
        let policy = PolicyName::LoginAccount;
        let remembered: HashSet<LimitKey> = self.limited(policy).into_iter().map(|limited| limited.key).collect();
        for (id, count) in accounts.iter().zip(counts) {
            let key = LimitKey::id(id.as_str());
            // A shared count that is slow is asked about the first of a long list alone.
            let waits = if self.parts.clock.monotonic_ms() < until_ms {
                self.parts.limiter.wait_ms(policy, &key).await > 0
            } else {
                remembered.contains(&key)
            };
            let unknown = waits || limit.is_off(count, Lane::Unknown);
            locked.push(LockedLanes { unknown, known: limit.is_off(count, Lane::Known) });
        }
        Ok(locked)
    }

    /// Opens both lanes of an account on all instances; whether anything was held against it.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn unlock_user(&self, operator: &Operator, user: &str) -> Result<bool, OperatorRefusal> {
        let account = self.resolve_user(user).await?;
        if operator.is_dry_run() {
            let counts = self.parts.hard.counts(std::slice::from_ref(&account.id)).await?;
            let locked = self.locked(std::slice::from_ref(&account.id)).await?;
            let is_locked = locked.first().is_some_and(|lanes| lanes.unknown || lanes.known);
            return Ok(is_locked || counts.first().is_some_and(|count| !count.is_zero()));
        }
        let event = self.operator_event(operator, Action::UserUnlocked).about("user", account.id.as_str());
        let before: HardCount = self.parts.hard.open(&account.id, event).await?;
        let was_held = self.forget_failures(&account.id).await;
        Ok(was_held || !before.is_zero())
    }

    /// Clears an account's failures on this instance, after a reset or an unlock.
    pub(super) async fn forget_failures(&self, account: &UserId) -> bool {
        let was_held = self.parts.limiter.forget(PolicyName::LoginAccount, &LimitKey::id(account.as_str())).await;
        // So that the next turn does not forget what has failed since.
        let _ = self.follow_openings().await.is_ok();
        was_held
    }

    /// Forgets what this instance holds against accounts that were opened on any instance since the last call.
    ///
    /// # Errors
    /// [`StoreError`]; the next call makes up for it.
    pub async fn follow_openings(&self) -> Result<(), StoreError> {
        let openings = self.parts.hard.opened_lately().await?;
        for id in self.unseen(openings) {
            self.parts.limiter.forget(PolicyName::LoginAccount, &LimitKey::id(id.as_str())).await;
        }
        Ok(())
    }

    /// Of these openings, those that are new; all of them are seen now, and others are lately no more.
    fn unseen(&self, openings: Vec<(UserId, i64)>) -> Vec<UserId> {
        let mut seen = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let new = openings.iter().filter(|(id, at_ms)| seen.get(id) != Some(at_ms));
        let new = new.map(|(id, _)| id.clone()).collect();
        *seen = openings.into_iter().collect();
        new
    }
}
