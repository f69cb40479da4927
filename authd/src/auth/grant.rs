//! Tokens: the one place that gives them out, and the one that accepts access tokens.

use crate::auth::{Auth, Refusal};
use crate::domain::{
    account::Account,
    clock::random_bytes,
    login::{AccessClaims, TokenRefusal, VerifiedToken},
    rotation::RotationPolicy,
    rotation::access_expiry,
    secret::Secret,
    session::{LONGEST_ACCESS_MS, LiveSession, NewSession, SessionState, Transport},
    token::{Handle, RefreshToken, issue},
};
use shared::{
    hex,
    id::{SessionId, UserId},
};
use std::sync::Arc;

/// What a login, a registration or a refresh gives.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// JWT.
    pub access: Secret,
    /// Seconds the access token has left.
    pub access_expires_in_s: i64,
    /// Refresh token.
    pub refresh: Secret,
    /// Seconds until the refresh token ends by inactivity or for good.
    pub refresh_expires_in_s: i64,
    /// The session.
    pub session: SessionId,
    /// The account.
    pub account: Account,
    /// The token of a device that is known from now on.
    pub device: Option<Secret>,
}

/// Somebody with an access token that works.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The account.
    pub account: UserId,
    /// The session.
    pub session: SessionId,
    /// What the token says.
    pub claims: Arc<AccessClaims>,
}

/// The session facts that tokens are made from.
pub(super) struct Grant<'a> {
    pub(super) account: &'a Account,
    pub(super) session: &'a SessionId,
    pub(super) opened_ms: i64,
    pub(super) amr: &'a [String],
    pub(super) idle_expires_ms: i64,
    pub(super) access_expires_ms: i64,
    pub(super) refresh: &'a Secret,
}

impl Auth {
    /// Makes the tokens of a session that the store has just opened, rotated or found for a retry: the row decided,
    /// under its lock, that this account may receive tokens for this session.
    pub(super) fn grant(&self, grant: &Grant<'_>) -> Result<Tokens, Refusal> {
        let now_ms = self.now_ms();
        let claims = AccessClaims {
            account: grant.account.id.clone(),
            session: grant.session.clone(),
            token_id: hex::encode(&random_bytes::<16>(self.parts.random.as_ref())),
            issued_s: now_ms.div_euclid(1_000),
            expires_s: grant.access_expires_ms.div_euclid(1_000),
            auth_time_s: grant.opened_ms.div_euclid(1_000),
            amr: grant.amr.to_vec(),
            acr: "1".to_owned(),
        };
        Ok(Tokens {
            access: Secret::new(self.parts.signer.sign(&claims)?),
            access_expires_in_s: seconds_left(grant.access_expires_ms, now_ms),
            refresh: grant.refresh.clone(),
            refresh_expires_in_s: seconds_left(grant.idle_expires_ms, now_ms),
            session: grant.session.clone(),
            account: grant.account.clone(),
            device: None,
        })
    }

    /// A session to open for `account`, and its first refresh token.
    pub(super) fn new_session(
        &self,
        account: &UserId,
        account_epoch: i64,
        origin: crate::domain::rotation::Origin,
        amr: &str,
    ) -> Result<(NewSession, RefreshToken), Refusal> {
        let settings = self.settings();
        let handle = Handle(random_bytes(self.parts.random.as_ref()));
        let refresh = self.new_refresh_token(handle)?;
        let session = NewSession {
            id: SessionId::new(self.now_ms(), self.id_entropy()),
            handle,
            token: refresh.hash(),
            account: account.clone(),
            account_epoch,
            idle_ms: settings.idle_ms,
            absolute_ms: settings.absolute_ms,
            origin,
            transport: Transport::Body,
            amr: vec![amr.to_owned()],
            cap: settings.cap,
            over_by_ms: self.over_by_ms(),
            device: None,
        };
        Ok((session, refresh))
    }

    pub(super) fn new_refresh_token(&self, handle: Handle) -> Result<RefreshToken, Refusal> {
        let secret = zeroize::Zeroizing::new(random_bytes::<32>(self.parts.random.as_ref()));
        issue(self.parts.sealer.as_ref(), handle, &secret).ok_or(Refusal::Internal("the token key is missing"))
    }

    /// End of the first access token of a session.
    pub(super) fn first_access_expiry(&self, opened_ms: i64, session_expires_ms: i64) -> i64 {
        access_expiry(&self.rotation_policy(), session_expires_ms, opened_ms)
    }

    pub(super) fn rotation_policy(&self) -> RotationPolicy {
        let settings = self.settings();
        let policies = self.parts.limiter.policies();
        let policy = policies.get(crate::domain::limit::PolicyName::RefreshSession);
        RotationPolicy {
            grace_ms: settings.grace_ms,
            keyed_grace_ms: settings.keyed_grace_ms,
            idle_ms: settings.idle_ms,
            access_ttl_ms: settings.access_ttl_ms,
            quota: policy.and_then(crate::domain::limit::Policy::quota),
            shadow: policy.map_or(crate::domain::rotation::Shadow::Enforced, |policy| policy.shadow),
        }
    }

    /// Sessions whose end is durable do not work on this instance any more, from now on; the others follow the feed.
    pub(super) fn remember_ended(&self, sessions: &[SessionId]) {
        self.revoked.add(sessions, self.forget_ms());
    }

    /// How long an ended session must be remembered from now: no token of it can live longer.
    pub(super) fn forget_ms(&self) -> i64 {
        let keep_ms = LONGEST_ACCESS_MS.saturating_add(self.settings().skew_ms.saturating_mul(2));
        self.now_ms().saturating_add(keep_ms)
    }

    /// Accepts an access token from memory alone: signature, times, revocation set. What gateways ask.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] until the revocation set was loaded once; 401s otherwise.
    pub fn verify(&self, token: &str) -> Result<Bearer, Refusal> {
        if self.revoked.loaded_ms().is_none() {
            return Err(Refusal::NotReady("revocations were not loaded yet"));
        }
        let VerifiedToken { claims, .. } = self.verify_signature(token)?;
        if self.revoked.denies(&claims.session, claims.issued_s) {
            return Err(Refusal::TokenInvalid);
        }
        Ok(Bearer { account: claims.account.clone(), session: claims.session.clone(), claims })
    }

    /// Accepts an access token and asks the database whether its session still lives: an end on any instance counts
    /// at once (R7).
    ///
    /// # Errors
    /// 401s; [`Refusal::Storage`] when the database cannot tell.
    pub async fn authenticate(&self, token: &str) -> Result<Bearer, Refusal> {
        let VerifiedToken { claims, .. } = self.verify_signature(token)?;
        if self.revoked.denies(&claims.session, claims.issued_s) {
            return Err(Refusal::TokenInvalid);
        }
        let live = self.parts.sessions.find_live(&claims.session).await?;
        if !live.is_some_and(|live| may_act(&live, &claims.account)) {
            return Err(Refusal::TokenInvalid);
        }
        Ok(Bearer { account: claims.account.clone(), session: claims.session.clone(), claims })
    }

    fn verify_signature(&self, token: &str) -> Result<VerifiedToken, Refusal> {
        self.parts.signer.verify(token, self.now_ms()).map_err(|refusal| match refusal {
            TokenRefusal::Expired(_) => Refusal::TokenExpired,
            TokenRefusal::Invalid => Refusal::TokenInvalid,
        })
    }
}

/// Whether a session's tokens work: it lives, belongs to `account`, and the account may act.
fn may_act(live: &LiveSession, account: &UserId) -> bool {
    live.session.state == SessionState::Live && live.session.account == *account && live.account_enabled
}

fn seconds_left(until_ms: i64, now_ms: i64) -> i64 {
    // Rounded up: a token that was just made has its whole life.
    until_ms.saturating_sub(now_ms).max(0).saturating_add(999).div_euclid(1_000)
}
