//! The one function that evaluates passwords: it holds a place under a limit first, and settles it with what was learnt.

use crate::auth::{Auth, Refusal, tally};
use crate::domain::{
    audit::Event,
    ladder::Outcome,
    limit::{LimitKey, PolicyName, Reserved, Settled},
    password::{Against, Checked, HashError, Password},
    store_error::StoreError,
};

/// A password to evaluate.
pub(super) struct Evaluation<'a> {
    /// Under which policy.
    pub(super) policy: PolicyName,
    /// And key.
    pub(super) key: LimitKey,
    /// What was given.
    pub(super) password: Password,
    /// What it must match.
    pub(super) against: Against,
    /// What is refused when a limit refuses, for the audit.
    pub(super) event: &'a Event,
}

/// What an evaluation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Evaluated {
    /// Whether the password is right.
    pub(super) checked: Checked,
    /// Whether this failure was the last that the policy allows.
    pub(super) settled: Settled,
}

impl Auth {
    /// Evaluates a password. Every password evaluation of the daemon passes here. Refusals by a limit are recorded here,
    /// wrong passwords by the caller, who knows what they were for.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] or [`Refusal::Overloaded`]; nothing was evaluated then. [`Refusal::Storage`] when the
    /// refusal cannot be recorded.
    pub(super) async fn evaluate(&self, evaluation: Evaluation<'_>) -> Result<Evaluated, Refusal> {
        let Evaluation { policy, key, password, against, event } = evaluation;
        let reserved = self.parts.limiter.reserve(policy, key, self.settings().wait_ms).await;
        self.tally.decided(policy, tally::reservation(&reserved));
        let place = match reserved {
            Reserved::Place(place) => place,
            Reserved::Denied { retry_after_ms } => {
                self.note_denial(event.clone().denied(policy.as_str())).await?;
                return Err(Refusal::RateLimited { retry_after_ms });
            }
            Reserved::Overloaded => return Err(Refusal::Overloaded),
        };
        let checked = match self.parts.hasher.check(password, against).await {
            Err(HashError::Overloaded) => {
                self.parts.limiter.settle(place, Outcome::Abandoned).await;
                return Err(Refusal::Overloaded);
            }
            Err(HashError::Unusable) => Checked::Wrong,
            Ok(checked) => checked,
        };
        let outcome = if checked == Checked::Wrong { Outcome::Failed } else { Outcome::Succeeded };
        let settled = self.parts.limiter.settle(place, outcome).await;
        Ok(Evaluated { checked, settled })
    }

    /// Refuses before a password is hashed in vain: storage is known to be away. The jobs notice its return.
    pub(super) fn expect_storage(&self) -> Result<(), Refusal> {
        let is_away = self.parts.readiness.outages().since_ms().is_some();
        if is_away { Err(StoreError::unavailable("it did not answer the last time").into()) } else { Ok(()) }
    }

    /// Records a wrong password, then refuses it.
    pub(super) async fn refuse_password(&self, event: Event) -> Refusal {
        let recorded = self.parts.audit.append(vec![event.denied("credentials")]).await;
        recorded.map_or_else(Refusal::from, |()| Refusal::InvalidCredentials)
    }

    /// The key by which attempts on a name that no account has are counted: one of 2^18 buckets with the thresholds
    /// of an account, so that unknown names behave alike and leave no row (reliability §2).
    pub(super) fn unknown_bucket(&self, canonical: &str) -> LimitKey {
        let [a, b, c, ..] = self.parts.sealer.tag("unknown-identifier", canonical.as_bytes());
        LimitKey::id(&format!("unknown:{}", (u32::from_be_bytes([0, a, b, c])) & 0x3_ffff))
    }
}
