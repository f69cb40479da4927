//! A user's own sessions: list, end one, end several; and the profile.

use crate::auth::{Auth, Bearer, Caller, Refusal};
use crate::domain::{
    account::Account,
    audit::{Action, Actor},
    page::{Page, PageRequest},
    session::{EndReason, Session, SessionFilter, SessionState},
};
use shared::id::SessionId;

impl Auth {
    /// The bearer's live sessions, newest first.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn sessions(&self, bearer: &Bearer, page: PageRequest) -> Result<Page<Session>, Refusal> {
        let filter = SessionFilter {
            account: Some(bearer.account.clone()),
            state: Some(SessionState::Live),
            ..SessionFilter::default()
        };
        Ok(self.parts.sessions.list(filter, page).await?)
    }

    /// Ends one of the bearer's sessions; one that ended already counts as done.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown id and for somebody else's alike; [`Refusal::Storage`].
    pub async fn end_session(&self, caller: &Caller, bearer: &Bearer, id: &SessionId) -> Result<(), Refusal> {
        let owner = self.parts.sessions.find(id).await?.map(|session| session.account);
        if owner.as_ref() != Some(&bearer.account) {
            let event = self.event(caller, Action::SessionRevoked).by(Actor::User(bearer.account.to_string()));
            // An id that names nothing is no target: callers would have as many as they like.
            let event = if owner.is_some() { event.about("session", id.as_str()) } else { event.with("session", id) };
            self.note_denial(event.denied("authz_fail")).await?;
            return Err(Refusal::NotFound);
        }
        let filter =
            SessionFilter { id: Some(id.clone()), account: Some(bearer.account.clone()), ..SessionFilter::default() };
        self.end_sessions(caller, &bearer.account, filter, EndReason::UserRevoked).await?;
        Ok(())
    }

    /// Ends the bearer's sessions: all, or all but the bearer's own. How many ended.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn end_own_sessions(&self, caller: &Caller, bearer: &Bearer, keep: Keep) -> Result<usize, Refusal> {
        let filter = SessionFilter {
            account: Some(bearer.account.clone()),
            except: (keep == Keep::Current).then(|| bearer.session.clone()),
            ..SessionFilter::default()
        };
        Ok(self.end_sessions(caller, &bearer.account, filter, EndReason::UserRevoked).await?.len())
    }

    /// The bearer's account.
    ///
    /// # Errors
    /// [`Refusal::TokenInvalid`] when it is gone; [`Refusal::Storage`].
    pub async fn profile(&self, bearer: &Bearer) -> Result<Account, Refusal> {
        Ok(self.parts.accounts.find(&bearer.account).await?.ok_or(Refusal::TokenInvalid)?.account)
    }
}

/// What `DELETE /api/auth/sessions` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    None,
    /// The bearer's own session.
    Current,
}
