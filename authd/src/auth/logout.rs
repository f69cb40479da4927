//! Logout: any generation of a family, or any access token that was good once, ends its own session.

use crate::auth::{Auth, Caller, Refusal, revoked::PendingEnd};
use crate::domain::{
    audit::{Action, Actor},
    login::TokenRefusal,
    secret::Secret,
    session::{EndReason, SessionFilter, SessionState},
    store_error::StoreError,
    token::{Recognised, recognise},
};
use shared::id::{SessionId, UserId};

/// What proves that the caller holds the session.
#[derive(Debug, Clone)]
pub enum LogoutProof {
    /// An access token.
    Access(Secret),
    /// A refresh token.
    Refresh(Secret),
}

/// Which sessions of the account end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutScope {
    /// The one of the token.
    Current,
    /// All but the one of the token.
    Others,
    /// All.
    All,
}

/// A session that a token belongs to, and whether the token would still be good for more than a logout.
struct Holder {
    session: SessionId,
    account: UserId,
    is_live: bool,
}

impl Auth {
    /// Ends sessions. `Current` succeeds for ended and unknown tokens too (R15).
    ///
    /// # Errors
    /// [`Refusal::TokenInvalid`] for `Others` and `All` without a live bearer or the current refresh token;
    /// [`Refusal::Storage`] until the end is durable, while this instance already denies the session.
    pub async fn logout(&self, caller: &Caller, proof: LogoutProof, scope: LogoutScope) -> Result<(), Refusal> {
        let holder = match &proof {
            LogoutProof::Access(token) => self.holder_of_access(token, scope).await?,
            LogoutProof::Refresh(token) => self.holder_of_refresh(caller, token, scope).await?,
        };
        let Some(holder) = holder else {
            return if scope == LogoutScope::Current { Ok(()) } else { Err(Refusal::TokenInvalid) };
        };
        // The current session's device stays known, what a user ends besides takes its devices along.
        let why = if scope == LogoutScope::Current { EndReason::Logout } else { EndReason::UserRevoked };
        let filter = match scope {
            LogoutScope::Current => SessionFilter { id: Some(holder.session.clone()), ..SessionFilter::default() },
            _ if !holder.is_live => return Err(Refusal::TokenInvalid),
            LogoutScope::Others => SessionFilter {
                account: Some(holder.account.clone()),
                except: Some(holder.session.clone()),
                ..SessionFilter::default()
            },
            LogoutScope::All => SessionFilter { account: Some(holder.account.clone()), ..SessionFilter::default() },
        };
        self.end_sessions(caller, &holder.account, filter, why).await?;
        Ok(())
    }

    /// Ends sessions for a user: what every user-side end calls.
    pub(super) async fn end_sessions(
        &self,
        caller: &Caller,
        account: &UserId,
        filter: SessionFilter,
        why: EndReason,
    ) -> Result<Vec<SessionId>, Refusal> {
        let event = self.event(caller, Action::SessionRevoked).by(Actor::User(account.to_string()));
        let event = event.because(why.as_str());
        let one = filter.id.clone();
        // Before storage is asked: a caller who leaves, or whose time is up, takes the rest of this along.
        if let Some(session) = &one {
            self.revoked.deny_until_durable(session, PendingEnd { why, event: event.clone() });
        }
        let revoked = self.parts.sessions.revoke(filter, why, event).await?;
        if let Some(session) = &one {
            self.revoked.made_durable(session, self.forget_ms());
        }
        self.remember_ended(&revoked.over);
        Ok(revoked.ended)
    }

    /// Makes ends durable that storage refused before.
    ///
    /// # Errors
    /// [`StoreError`]; what is left stays denied from memory.
    pub async fn retry_pending_ends(&self) -> Result<(), StoreError> {
        let mut ends = self.revoked.due_ends();
        for (handle, event) in self.revoked.due_searches() {
            if let Some(session) = self.parts.sessions.find_by_handle(handle).await? {
                let event = event.by(Actor::User(session.account.to_string()));
                let end = PendingEnd { why: EndReason::Logout, event };
                self.revoked.deny_until_durable(&session.id, end.clone());
                ends.push((session.id, end));
            }
            self.revoked.found(handle);
        }
        for (session, PendingEnd { why, event }) in ends {
            let filter = SessionFilter { id: Some(session.clone()), ..SessionFilter::default() };
            self.parts.sessions.revoke(filter, why, event).await?;
            self.revoked.made_durable(&session, self.forget_ms());
        }
        Ok(())
    }

    async fn holder_of_access(&self, token: &Secret, scope: LogoutScope) -> Result<Option<Holder>, Refusal> {
        let (verified, fresh) = match self.parts.signer.verify(token.reveal(), self.now_ms()) {
            Ok(verified) => (verified, true),
            Err(TokenRefusal::Expired(verified)) => (*verified, false),
            Err(TokenRefusal::Invalid) => return Err(Refusal::TokenInvalid),
        };
        let (session, account) = (verified.claims.session.clone(), verified.claims.account.clone());
        if !fresh || scope == LogoutScope::Current {
            return Ok(Some(Holder { session, account, is_live: false }));
        }
        // Only a fact makes a bearer dead: an outage is told as one.
        let is_live = match self.authenticate(token.reveal()).await {
            Ok(_) => true,
            Err(Refusal::TokenInvalid | Refusal::TokenExpired) => false,
            Err(fault) => return Err(fault),
        };
        Ok(Some(Holder { session, account, is_live }))
    }

    async fn holder_of_refresh(
        &self,
        caller: &Caller,
        token: &Secret,
        scope: LogoutScope,
    ) -> Result<Option<Holder>, Refusal> {
        let Recognised::Issued(token) = recognise(self.parts.sealer.as_ref(), token.reveal()) else {
            return Ok(None);
        };
        let handle = token.handle();
        if scope == LogoutScope::Current {
            // The token says only to storage whose it is: should that be away, it is asked again.
            let event = self.event(caller, Action::SessionRevoked).because(EndReason::Logout.as_str());
            self.revoked.seek(handle, event);
        }
        let found = self.parts.sessions.find_by_handle(handle).await?;
        let Some(session) = found else {
            self.revoked.found(handle);
            return Ok(None);
        };
        if scope == LogoutScope::Current {
            // From here on the end is kept by the session's id, and nothing that can fail lies in between.
            let (session, account) = (session.id, session.account);
            self.revoked.found(handle);
            return Ok(Some(Holder { session, account, is_live: false }));
        }
        let is_live =
            session.state == SessionState::Live && self.parts.sessions.is_current(handle, token.hash()).await?;
        Ok(Some(Holder { session: session.id, account: session.account, is_live }))
    }
}
