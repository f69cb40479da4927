//! The one function that evaluates passwords: it holds a place under a limit and charges the account first, and settles
//! both with what was learnt.

use crate::auth::{Auth, Refusal, tally};
use crate::domain::{
    audit::Event,
    hard::Lane,
    ladder::Outcome,
    limit::{LimitKey, PolicyName, Reservation, Reserved, Settled},
    password::{Against, Checked, HashError, Password},
    store_error::StoreError,
};

/// What the keys of names that nobody has begin with.
const UNKNOWN: &str = "unknown:";

/// A password to evaluate.
pub(super) struct Evaluation<'a> {
    /// Under which policy of this instance.
    pub(super) policy: PolicyName,
    /// And key.
    pub(super) key: LimitKey,
    /// Whose evaluations `login.hard` counts with it: an account, or a bucket of unknown names.
    pub(super) account: LimitKey,
    /// In which lane.
    pub(super) lane: Lane,
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
    /// Evaluates a password. Every password evaluation of the daemon passes here. Refusals by a limit are recorded
    /// here, wrong passwords by the caller, who knows what they were for.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] or [`Refusal::Overloaded`]; nothing was evaluated then. [`Refusal::Storage`] when the
    /// database cannot count the evaluation (nothing was evaluated), or cannot record what came of it.
    pub(super) async fn evaluate(&self, evaluation: Evaluation<'_>) -> Result<Evaluated, Refusal> {
        let Evaluation { policy, key, account, lane, password, against, event } = evaluation;
        let place = self.place(policy, key, event).await?;
        let charge = match self.charge(&account, lane, event).await {
            Ok(charge) => charge,
            Err(refusal) => {
                self.parts.limiter.settle(place, Outcome::Abandoned).await;
                return Err(refusal);
            }
        };
        let checked = match self.parts.hasher.check(queue_of(policy), password, against).await {
            Err(HashError::Overloaded) => {
                self.parts.limiter.settle(place, Outcome::Abandoned).await;
                // Should storage fail here, the charge stays: too few evaluations are allowed then, never too many.
                let _ = self.parts.hard.give_back(&charge).await.is_ok();
                return Err(Refusal::Overloaded);
            }
            Err(HashError::Unusable) => Checked::Wrong,
            Ok(checked) => checked,
        };
        if checked == Checked::Wrong {
            let settled = self.parts.limiter.settle(place, Outcome::Failed).await;
            self.note_failure(&charge, event).await?;
            return Ok(Evaluated { checked, settled });
        }
        let cleared = self.parts.hard.clear(&account).await;
        let settled = self.parts.limiter.settle(place, Outcome::Succeeded).await;
        cleared?;
        Ok(Evaluated { checked, settled })
    }

    /// Holds a place, or refuses and says so in the audit.
    async fn place(&self, policy: PolicyName, key: LimitKey, event: &Event) -> Result<Reservation, Refusal> {
        let reserved = self.parts.limiter.reserve(policy, key, self.settings().wait_ms).await;
        self.tally.decided(policy, tally::reservation(&reserved));
        match reserved {
            Reserved::Place(place) => Ok(place),
            Reserved::Denied { retry_after_ms } => {
                self.note_denial(event.clone().denied(policy.as_str())).await?;
                Err(Refusal::RateLimited { retry_after_ms })
            }
            Reserved::Overloaded => Err(Refusal::Overloaded),
        }
    }

    /// Refuses before a password is hashed in vain: at once while the breaker is open, and where storage failed the
    /// last time it is asked first.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub(super) async fn expect_storage(&self) -> Result<(), Refusal> {
        if self.is_database_given_up() {
            return Err(StoreError::unavailable("the circuit breaker of the database is open").into());
        }
        if self.parts.readiness.outages().since_ms().is_some() {
            self.parts.readiness.probe().await?;
        }
        Ok(())
    }

    /// Records a wrong password, then refuses it.
    pub(super) async fn refuse_password(&self, event: Event) -> Refusal {
        let recorded = self.parts.audit.append(vec![event.denied("credentials")]).await;
        recorded.map_or_else(Refusal::from, |()| Refusal::InvalidCredentials)
    }

    /// The key by which attempts on a name that no account has are counted: one of 2^18 buckets with the thresholds
    /// of an account, so that unknown names behave alike and leave few rows (reliability §2).
    pub(super) fn unknown_bucket(&self, canonical: &str) -> LimitKey {
        let [a, b, c, ..] = self.parts.sealer.tag("unknown-identifier", canonical.as_bytes());
        LimitKey::id(&format!("{UNKNOWN}{}", (u32::from_be_bytes([0, a, b, c])) & 0x3_ffff))
    }
}

/// Whether this is a key that [`Auth::unknown_bucket`] makes.
pub(super) fn is_unknown_bucket(key: &str) -> bool {
    key.starts_with(UNKNOWN)
}

/// Who is hashed first: devices, whose attempts are limited. A session's are not while its password is right.
fn queue_of(policy: PolicyName) -> Lane {
    if policy == PolicyName::LoginDeviceFailures { Lane::Known } else { Lane::Unknown }
}
