//! Changing a password and deleting an account: both ask for the password again, inside a session.

use crate::auth::{Auth, Bearer, Caller, Refusal, evaluate::Evaluated};
use crate::domain::{
    account::{Account, Break, Broken, LoginRecord},
    audit::{Action, Actor, Event},
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

/// Sessions that tried to change their password a moment ago, and when.
pub(super) type RecentChanges = HashMap<SessionId, i64>;

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
        let record = self.record_of(bearer).await?;
        self.judge_for(&new, &record.account).await?;
        let event = self.event(caller, Action::PasswordChanged).by(Actor::User(bearer.account.to_string()));
        let event = event.about("user", bearer.account.as_str());
        // A client whose 204 got lost repeats with a password that is the current one no more (reliability §3).
        if self.takes_as_repeat(&bearer.session) {
            let evaluated = self.evaluate_in_session(bearer, &record, new.clone()).await?;
            if evaluated.checked != Checked::Wrong {
                return Ok(());
            }
            // Not the repeat; a guess like any other all the same.
            self.end_if_exhausted(caller, bearer, evaluated.settled, &event).await?;
        }
        self.reauthenticate(caller, bearer, &record, current, event.clone()).await?;
        let Some(expected) = record.password else { return Err(Refusal::InvalidCredentials) };
        let hash = self.parts.hasher.hash(new).await?;
        self.note_change(&bearer.session);
        let change = Break::ChangePassword { expected, new: hash, keep: bearer.session.clone() };
        match self.parts.accounts.break_sessions(&bearer.account, change, event).await? {
            Broken::Done(revoked) => {
                self.revoked.add(&revoked.over, self.forget_ms());
                Ok(())
            }
            Broken::Changed | Broken::Missing => Err(Refusal::InvalidCredentials),
            Broken::SessionOver => Err(Refusal::TokenInvalid),
        }
    }

    /// Deletes the bearer's account.
    ///
    /// # Errors
    /// As [`Auth::change_password`].
    pub async fn delete_account(&self, caller: &Caller, bearer: &Bearer, password: Password) -> Result<(), Refusal> {
        let record = self.record_of(bearer).await?;
        let event = self.event(caller, Action::UserDeleted).by(Actor::User(bearer.account.to_string()));
        let event = event.about("user", bearer.account.as_str());
        self.reauthenticate(caller, bearer, &record, password, event.clone()).await?;
        let Some(expected) = record.password else { return Err(Refusal::InvalidCredentials) };
        let change = Break::DeleteOwn { expected, session: bearer.session.clone() };
        match self.parts.accounts.break_sessions(&bearer.account, change, event).await? {
            Broken::Done(revoked) => {
                self.revoked.add(&revoked.over, self.forget_ms());
                Ok(())
            }
            Broken::Missing => Ok(()),
            Broken::Changed => Err(Refusal::InvalidCredentials),
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

    /// Checks the password inside a session; the last failure that `reauth.session` allows ends the session.
    async fn reauthenticate(
        &self,
        caller: &Caller,
        bearer: &Bearer,
        record: &LoginRecord,
        password: Password,
        event: Event,
    ) -> Result<(), Refusal> {
        let evaluated = self.evaluate_in_session(bearer, record, password).await?;
        if evaluated.checked != Checked::Wrong {
            return Ok(());
        }
        self.end_if_exhausted(caller, bearer, evaluated.settled, &event).await?;
        self.parts.audit.append(vec![event.denied("credentials")]).await?;
        Err(Refusal::InvalidCredentials)
    }

    /// Ends the session with the last failure that `reauth.session` allows, before anything else can fail.
    async fn end_if_exhausted(
        &self,
        caller: &Caller,
        bearer: &Bearer,
        settled: Settled,
        event: &Event,
    ) -> Result<(), Refusal> {
        if settled != Settled::Exhausted {
            return Ok(());
        }
        let filter = SessionFilter { id: Some(bearer.session.clone()), ..SessionFilter::default() };
        self.end_sessions(caller, &bearer.account, filter, EndReason::ReauthFailures).await?;
        self.parts.audit.append(vec![event.clone().denied("credentials")]).await?;
        Err(Refusal::InvalidCredentials)
    }

    async fn evaluate_in_session(
        &self,
        bearer: &Bearer,
        record: &LoginRecord,
        password: Password,
    ) -> Result<Evaluated, Refusal> {
        let usable = record.password.clone().filter(|_| !self.parts.passwords.is_overlong(&password));
        let against = usable.map_or_else(|| Against::Nobody(bearer.account.to_string()), Against::Stored);
        let key = LimitKey::id(bearer.session.as_str());
        self.evaluate(PolicyName::ReauthSession, key, password, against).await
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
