//! Taking a signing key out of the key set before its time, and what that does to tokens that live.

use crate::auth::{
    Auth, Operator, OperatorRefusal,
    key_change::{nothing_staged, span},
    key_facts::Found,
};
use crate::domain::{
    audit::Action,
    key::{KeyState, SigningKey},
    key_plan::{KEYS_KNOWN_MS, known_everywhere_ms, staged},
};
use shared::id::KeyId;

/// Whether tokens may be ended that live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insistence {
    /// No.
    Careful,
    /// Yes.
    Forced,
}

/// Whether every verifier can know a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It was served long enough.
    Everywhere,
    /// Some may have an older key set.
    NotYet,
}

/// What taking a key out of the key set does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWithdrawal {
    /// The key.
    pub id: KeyId,
    /// Its state before.
    pub was: KeyState,
    /// The key that signs from then on, if this one did.
    pub next: Option<KeyId>,
    /// Whether verifiers know that one.
    pub next_known: Known,
    /// Live sessions that may hold an access token of the key, at most.
    pub sessions: u64,
    /// Until when the last such token would have lived, by database time.
    pub tokens_until_ms: i64,
    /// Until when verifiers may keep a key set with the key in it.
    pub caches_until_ms: i64,
}

impl Auth {
    /// Takes a retiring key out of the key set before its time.
    ///
    /// # Errors
    /// [`OperatorRefusal::Conflict`] when it is not retiring, or while tokens it signed live and that is not accepted;
    /// [`OperatorRefusal`].
    pub async fn retire_key(
        &self,
        operator: &Operator,
        id: &str,
        insistence: Insistence,
        instance: &str,
    ) -> Result<KeyWithdrawal, OperatorRefusal> {
        let found = self.find_keys().await?;
        let key = found.named(id)?;
        if key.state != KeyState::Retiring {
            return Err(OperatorRefusal::Conflict(not_retiring(key)));
        }
        let withdrawal = self.withdrawal(&found, key).await?;
        let live_ms = withdrawal.tokens_until_ms.saturating_sub(found.now_ms);
        if live_ms > 0 && insistence == Insistence::Careful && !operator.is_dry_run() {
            return Err(OperatorRefusal::Conflict(format!(
                "tokens that {} signed live for {} still, in up to {} sessions: wait, it leaves by itself then; or end \
                 them now with --force",
                key.id,
                span(live_ms),
                withdrawal.sessions,
            )));
        }
        if !operator.is_dry_run() {
            let event = self.operator_event(operator, Action::KeyRetired).about("key", key.id.as_str());
            let event = event.with("sessions", withdrawal.sessions);
            let done = self.parts.keys.retire(&key.id, event).await?;
            self.settle(done, instance).await?;
        }
        Ok(withdrawal)
    }

    /// Withdraws a published key at once: what it signed is refused from now on, and the staged key signs if it did.
    ///
    /// # Errors
    /// [`OperatorRefusal::Conflict`] when it is not published; [`OperatorRefusal`].
    pub async fn revoke_key(
        &self,
        operator: &Operator,
        id: &str,
        instance: &str,
    ) -> Result<KeyWithdrawal, OperatorRefusal> {
        // There is a staged key to follow it, unless another instance takes it in this moment.
        // A key that does not open must not keep another from being withdrawn.
        let _ = self.beat(instance).await;
        let found = self.find_keys().await?;
        let key = found.named(id)?;
        if !key.state.is_published() {
            let state = key.state.as_str();
            return Err(OperatorRefusal::Conflict(format!("{} is {state} already: no token of it works", key.id)));
        }
        let withdrawal = self.withdrawal(&found, key).await?;
        if operator.is_dry_run() {
            return Ok(withdrawal);
        }
        let event = |action, id: &KeyId| self.operator_event(operator, action).about("key", id.as_str());
        let revoked = event(Action::KeyRevoked, &key.id).with("was", key.state.as_str());
        let mut events = vec![revoked.with("sessions", withdrawal.sessions)];
        events
            .extend(withdrawal.next.as_ref().map(|next| event(Action::KeyActivated, next).with("instead_of", &key.id)));
        let done = self.parts.keys.revoke(&key.id, withdrawal.next.as_ref(), events).await?;
        self.settle(done, instance).await?;
        Ok(withdrawal)
    }

    async fn withdrawal(&self, found: &Found, key: &SigningKey) -> Result<KeyWithdrawal, OperatorRefusal> {
        let next = match key.state {
            KeyState::Active => Some(staged(&found.keys).ok_or_else(nothing_staged)?.clone()),
            KeyState::Staged | KeyState::Retiring | KeyState::Retired | KeyState::Revoked => None,
        };
        let (now_ms, plan) = (found.now_ms, &found.plan);
        let until_ms = match key.activated_ms {
            Some(_) => plan.tokens_until_ms(key.retiring_ms.unwrap_or(now_ms)),
            None => now_ms,
        };
        let since_ms = key.activated_ms.unwrap_or(now_ms).max(now_ms.saturating_sub(plan.access_ttl_ms));
        let issued_ms = since_ms..key.retiring_ms.unwrap_or(now_ms).saturating_add(KEYS_KNOWN_MS);
        let sessions = if until_ms > now_ms { self.parts.keys.sessions_with_tokens(issued_ms).await? } else { 0 };
        let is_known = next.as_ref().is_none_or(|next| {
            known_everywhere_ms(next, &found.beats, plan, now_ms).is_some_and(|known_ms| known_ms <= now_ms)
        });
        let next_known = if is_known { Known::Everywhere } else { Known::NotYet };
        let (id, was) = (key.id.clone(), key.state);
        Ok(KeyWithdrawal {
            id,
            was,
            next: next.map(|key| key.id),
            next_known,
            sessions,
            tokens_until_ms: until_ms,
            caches_until_ms: now_ms.saturating_add(plan.cache_ms),
        })
    }
}

fn not_retiring(key: &SigningKey) -> String {
    let id = &key.id;
    match key.state {
        KeyState::Staged => format!("{id} has not signed yet: replace it with `authctl key stage`"),
        KeyState::Active => format!("{id} signs: let the next key take its place with `authctl key rotate` first"),
        KeyState::Retiring | KeyState::Retired | KeyState::Revoked => {
            format!("{id} is {} already: it is not in the key set", key.state.as_str())
        }
    }
}
