//! Changing a password and deleting an account: both ask for the password again, inside a session.

use crate::auth::{Auth, Bearer, Caller, Refusal, evaluate::Evaluation};
use crate::domain::{
    account::{Account, Break, Broken, LoginRecord},
    audit::{Action, Actor, Event},
    hard::Lane,
    identifier::{Email, Username},
    limit::{LimitKey, PolicyName, Settled},
    password::{Against, Checked, Password},
    session::{EndReason, SessionFilter},
};
use shared::id::SessionId;
use std::{collections::HashMap, sync::PoisonError};

/// How long a repeat of a password change whose answer got lost is recognised.
const REPEAT_MS: i64 = 600_000;
const MAX_REPEATS: usize = 10_000;

/// Sessions that changed their password a moment ago, or tried to, and when.
pub(super) type RecentChanges = HashMap<SessionId, i64>;

/// Who proves to know a password once more, and what for.
#[derive(Clone, Copy)]
struct Proof<'a> {
    bearer: &'a Bearer,
    record: &'a LoginRecord,
    event: &'a Event,
}

impl Auth {
    /// Replaces the bearer's password; every other session and device of the account ends.
    ///
    /// # Errors
    /// [`Refusal::WeakPassword`], [`Refusal::InvalidCredentials`] (the last failure allowed also ends the session),
    /// [`Refusal::RateLimited`], 503s.
    pub async fn change_password(
        &self,
        caller: &Caller,
        bearer: &Bearer,
        current: Password,
        new: Password,
    ) -> Result<(), Refusal> {
        let event = self.event(caller, Action::PasswordChanged).by(Actor::User(bearer.account.to_string()));
        let event = event.about("user", bearer.account.as_str());
        self.admit_caller(caller, &event).await?;
        let record = self.record_of(bearer).await?;
        self.judge_for(&new, &record.account).await?;
        let proof = Proof { bearer, record: &record, event: &event };
        if !self.proves(caller, proof, current).await? {
            // A client whose 204 got lost repeats with a password that is the current one no more (reliability §3).
            let is_repeat = self.takes_as_repeat(&bearer.session) && self.proves(caller, proof, new).await?;
            return if is_repeat { Ok(()) } else { Err(self.refuse_password(event).await) };
        }
        let Some(expected) = record.password else { return Err(Refusal::InvalidCredentials) };
        let hash = self.parts.hasher.hash(new).await?;
        self.note_change(&bearer.session);
        let change = Break::ChangePassword { expected, new: hash, keep: bearer.session.clone() };
        match self.parts.accounts.break_sessions(&bearer.account, change, event.clone()).await? {
            Broken::Done(revoked) => {
                self.remember_ended(&revoked.over);
                Ok(())
            }
            // Somebody was faster: what was proven is the password no more, or the session is over.
            Broken::Changed | Broken::Missing => Err(self.refuse_password(event).await),
            Broken::SessionOver => Err(Refusal::TokenInvalid),
        }
    }

    /// Deletes the bearer's account.
    ///
    /// # Errors
    /// As [`Auth::change_password`].
    pub async fn delete_account(&self, caller: &Caller, bearer: &Bearer, password: Password) -> Result<(), Refusal> {
        let event = self.event(caller, Action::UserDeleted).by(Actor::User(bearer.account.to_string()));
        let event = event.about("user", bearer.account.as_str());
        self.admit_caller(caller, &event).await?;
        let record = self.record_of(bearer).await?;
        if !self.proves(caller, Proof { bearer, record: &record, event: &event }, password).await? {
            return Err(self.refuse_password(event).await);
        }
        let Some(expected) = record.password else { return Err(Refusal::InvalidCredentials) };
        let change = Break::DeleteOwn { expected, session: bearer.session.clone() };
        match self.parts.accounts.break_sessions(&bearer.account, change, event.clone()).await? {
            Broken::Done(revoked) => {
                self.remember_ended(&revoked.over);
                Ok(())
            }
            Broken::Missing => Ok(()),
            Broken::Changed => Err(self.refuse_password(event).await),
            Broken::SessionOver => Err(Refusal::TokenInvalid),
        }
    }

    async fn record_of(&self, bearer: &Bearer) -> Result<LoginRecord, Refusal> {
        self.parts.accounts.find(&bearer.account).await?.ok_or(Refusal::TokenInvalid)
    }

    pub(super) async fn judge_for(&self, password: &Password, account: &Account) -> Result<(), Refusal> {
        let Some(Ok(email)) = account.email.as_deref().map(Email::parse) else {
            return Ok(self.parts.hasher.judge(password.clone(), Vec::new()).await??);
        };
        let username = account.username.as_deref().and_then(|name| Username::parse(name).ok());
        self.judge(password, &email, username.as_ref()).await
    }

    /// Whether the password is the account's; the last failure that `reauth.session` allows ends the session.
    async fn proves(&self, caller: &Caller, proof: Proof<'_>, password: Password) -> Result<bool, Refusal> {
        let Proof { bearer, record, event } = proof;
        let usable = record.password.clone().filter(|_| !self.parts.passwords.is_overlong(&password));
        let against = usable.map_or_else(|| Against::Nobody(bearer.account.to_string()), Against::Stored);
        let (policy, key) = (PolicyName::ReauthSession, LimitKey::id(bearer.session.as_str()));
        // Counted with the account's known devices: what strangers do at the login cannot refuse it, and whoever has
        // stolen a session cannot guess beyond the same bound.
        let (account, lane) = (LimitKey::id(bearer.account.as_str()), Lane::Known);
        let evaluated = self.evaluate(Evaluation { policy, key, account, lane, password, against, event }).await?;
        if evaluated.settled == Settled::Exhausted {
            let filter = SessionFilter { id: Some(bearer.session.clone()), ..SessionFilter::default() };
            self.end_sessions(caller, &bearer.account, filter, EndReason::ReauthFailures).await?;
            return Err(self.refuse_password(event.clone()).await);
        }
        Ok(evaluated.checked != Checked::Wrong)
    }

    fn takes_as_repeat(&self, session: &SessionId) -> bool {
        let changes = self.password_changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.get(session).is_some_and(|at_ms| self.now_ms().saturating_sub(*at_ms) < REPEAT_MS)
    }

    fn note_change(&self, session: &SessionId) {
        let now_ms = self.now_ms();
        let mut changes = self.password_changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < REPEAT_MS);
        if changes.len() < MAX_REPEATS {
            changes.insert(session.clone(), now_ms);
        }
    }
}
