//! Refresh: presents a token to its family and answers what the rotation rules decided.

use crate::auth::{Auth, Caller, Refusal, Tokens, address::AddressLimits, grant::Grant, tally};
use crate::domain::{
    audit::{Action, Event},
    limit::{LimitKey, PolicyName},
    login::Sealer,
    rotation::{Decision, Keying, Sealed, Successor},
    secret::Secret,
    session::{Rotate, Rotated, Transport, Unseal},
    tally::{LimitOutcome, RefreshOutcome},
    token::{Recognised, RefreshToken, recognise},
};
use std::sync::Arc;

/// An `Idempotency-Key`: 16 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Secret);

/// A header that is no such key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Idempotency-Key must have 16 to 128 visible ASCII characters")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// Reads the header's value.
    ///
    /// # Errors
    /// [`InvalidIdempotencyKey`].
    pub fn parse(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (16..=128).contains(&text.len()) {
            Ok(Self(Secret::new(text)))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }

    pub(super) fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// A refresh as it was asked for.
#[derive(Debug, Clone)]
pub struct RefreshAttempt {
    /// The token.
    pub token: Secret,
    /// The key, if one was given.
    pub key: Option<IdempotencyKey>,
    /// How the token travelled.
    pub transport: Transport,
}

/// Opens seals with the token and key of one call.
struct CallSeal {
    sealer: Arc<dyn Sealer>,
    parent: Secret,
    key: Option<IdempotencyKey>,
}

impl CallSeal {
    fn open(&self, sealed: &Sealed) -> Option<Secret> {
        let key = match sealed.keying {
            Keying::Plain => None,
            Keying::Keyed => Some(self.key.as_ref()?.reveal()),
        };
        self.sealer.open(&self.parent, key, sealed)
    }
}

impl Unseal for CallSeal {
    fn opens(&self, sealed: &Sealed) -> bool {
        self.open(sealed).is_some()
    }
}

impl Auth {
    /// Gives the successor of a refresh token (rules R1–R16).
    ///
    /// # Errors
    /// [`Refusal::TokenExpired`], [`Refusal::TokenInvalid`] (a replay has ended its session), [`Refusal::Conflict`],
    /// [`Refusal::RateLimited`]; 503s, after which the same token can be tried again.
    pub async fn refresh(&self, caller: &Caller, attempt: RefreshAttempt) -> Result<Tokens, Refusal> {
        let event = self.event(caller, Action::SessionRefreshed);
        self.admit_caller(caller, &event).await?;
        let Recognised::Issued(presented) = recognise(self.parts.sealer.as_ref(), attempt.token.reveal()) else {
            self.tally.refreshes.count(RefreshOutcome::Refused);
            return Err(self.refuse_token(caller, event.denied("unknown_token")).await);
        };
        self.know_keys().await?;
        let successor = self.new_refresh_token(presented.handle())?;
        let seal = Arc::new(CallSeal {
            sealer: self.parts.sealer.clone(),
            parent: presented.text().clone(),
            key: attempt.key.clone(),
        });
        let rotate = self.rotation(caller, &attempt, &presented, &successor, seal.clone())?;
        let rotated = self.parts.sessions.rotate(rotate).await;
        self.tally.refreshes.count(tally::refresh(&rotated));
        let Some(rotated) = rotated? else {
            return Err(self.refuse_token(caller, event.denied("unknown_token")).await);
        };
        self.remember_ended(&rotated.ended);
        let event = event.about("session", rotated.session.id.as_str());
        match &rotated.decision {
            Decision::Rotate { .. } => {
                self.tally.decided(PolicyName::RefreshSession, LimitOutcome::Allowed);
                self.answer(&rotated, successor.text())
            }
            Decision::Retry { .. } => {
                let opened = rotated.sealed.as_ref().and_then(|sealed| seal.open(sealed));
                let opened = opened.ok_or(Refusal::Internal("a seal that opened does not open"))?;
                self.answer(&rotated, &opened)
            }
            Decision::Conflict => {
                self.note_denial(event.denied("idempotency_key")).await?;
                Err(Refusal::Conflict)
            }
            Decision::Limited { retry_after_ms } => {
                self.note_session_limit(rotated.session.id.as_str(), *retry_after_ms);
                self.note_denial(event.denied("refresh.session")).await?;
                Err(Refusal::RateLimited { retry_after_ms: *retry_after_ms })
            }
            Decision::Expired => {
                self.note_denial(event.denied("session_expired")).await?;
                Err(Refusal::TokenExpired)
            }
            // The store has recorded the replay with the end of the session.
            Decision::Replay(_) => {
                Err(self.charge_address(caller, &event).await.err().unwrap_or(Refusal::TokenInvalid))
            }
            Decision::Ended => Err(self.refuse_token(caller, event.denied("session_ended")).await),
            Decision::WrongTransport => Err(self.refuse_token(caller, event.denied("transport")).await),
        }
    }

    fn rotation(
        &self,
        caller: &Caller,
        attempt: &RefreshAttempt,
        presented: &RefreshToken,
        successor: &RefreshToken,
        unseal: Arc<CallSeal>,
    ) -> Result<Rotate, Refusal> {
        let settings = self.settings();
        let key = attempt.key.as_ref().map(IdempotencyKey::reveal);
        let keying = if key.is_some() { Keying::Keyed } else { Keying::Plain };
        let policy = self.rotation_policy();
        let sealed = if policy.grace_of(keying) > 0 {
            let sealed = self.parts.sealer.seal(presented.text(), key, successor.text());
            Some(sealed.ok_or(Refusal::Internal("the successor does not seal"))?)
        } else {
            None
        };
        let keyed_tag = key.map(|key| {
            let message = [presented.hash().0.as_slice(), key.as_bytes()].concat();
            self.parts.sealer.tag("refresh-idempotency", &message)
        });
        Ok(Rotate {
            handle: presented.handle(),
            presented: presented.hash(),
            keying,
            keyed_tag,
            transport: attempt.transport,
            origin: caller.origin(),
            unseal,
            successor: Successor { hash: successor.hash(), sealed },
            policy,
            outages: self.parts.readiness.outages(),
            recording: settings.recording,
            on_replay: settings.on_replay,
            event: self.event(caller, Action::SessionRefreshed),
        })
    }

    fn answer(&self, rotated: &Rotated, refresh: &Secret) -> Result<Tokens, Refusal> {
        let session = &rotated.session;
        self.grant(&Grant {
            account: &rotated.account,
            session: &session.id,
            opened_ms: session.created_ms,
            amr: &session.amr,
            idle_expires_ms: session.idle_expires_ms,
            access_expires_ms: rotated.access_expires_ms,
            refresh,
        })
    }

    /// 401 for a token that is none, was spent or whose session is over; counts against the address (R4).
    async fn refuse_token(&self, caller: &Caller, event: Event) -> Refusal {
        if let Err(refusal) = self.charge_address(caller, &event).await {
            return refusal;
        }
        self.note_denial(event).await.map_or_else(Refusal::from, |_| Refusal::TokenInvalid)
    }

    async fn charge_address(&self, caller: &Caller, event: &Event) -> Result<(), Refusal> {
        match self.address_limits(caller.ip) {
            AddressLimits::Apply => self.admit(PolicyName::RefreshIp, &LimitKey::address(caller.ip), event).await,
            AddressLimits::Lifted => Ok(()),
        }
    }
}
