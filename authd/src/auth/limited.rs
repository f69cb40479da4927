//! Who is at a limit now, and who was refused most: what this instance remembers of the last minutes.

use crate::auth::{Auth, Operator, tally};
use crate::domain::{
    limit::{Admission, LimitKey, PolicyName},
    refusals::{Effect, Limited, Sum},
    tally::LimitOutcome,
};

impl Auth {
    /// How often this instance has refused by a policy since its start, or would have.
    #[must_use]
    pub fn refused(&self, policy: PolicyName) -> Sum {
        self.parts.limiter.refusals().sum(policy)
    }

    /// The keys at the limit of a policy on this instance, the longest wait first.
    #[must_use]
    pub fn limited(&self, policy: PolicyName) -> Vec<Limited> {
        self.parts.limiter.refusals().limited(policy, self.now_ms())
    }

    /// The keys that this instance refused most in the last minutes.
    #[must_use]
    pub fn most_limited(&self, most: usize) -> Vec<Limited> {
        self.parts.limiter.refusals().top(most, self.now_ms())
    }

    /// Counts a call of the admin API under `admin.uid`.
    ///
    /// # Errors
    /// Milliseconds to wait.
    pub async fn admit_operator(&self, operator: &Operator) -> Result<(), i64> {
        let admission = self.parts.limiter.take(PolicyName::AdminUid, &LimitKey::id(&operator.name())).await;
        self.tally.decided(PolicyName::AdminUid, tally::admission(&admission));
        match admission {
            Admission::Allowed => Ok(()),
            Admission::Denied { retry_after_ms } => Err(retry_after_ms),
        }
    }

    /// Remembers a session that rotates too often: it is counted in its row, not by the limiter.
    pub(super) fn note_session_limit(&self, session: &str, wait_ms: i64) {
        let (key, policy) = (LimitKey::id(session), PolicyName::RefreshSession);
        self.tally.decided(policy, LimitOutcome::Denied);
        self.parts.limiter.refusals().note(policy, &key, Effect::Refused, wait_ms, self.now_ms());
    }
}
