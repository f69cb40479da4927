//! Refresh rotation, rules R1–R5, R14, R16: a pure function of the session row, the presented token and the time.
//!
//! The store asks [`decide`] under the row's lock and does what it says; the model tests ask it without a database.

use crate::domain::{
    outage::Outages,
    quota::{Quota, Verdict},
    session::{DeviceSummary, Network, Transport},
    token::TokenHash,
};

/// Retries of one generation that are answered, beyond which 429 (R2).
pub const MAX_RETRIES: i64 = 100;
/// Generations in a row retried from elsewhere that end the session (R16).
pub const MAX_STRAYS: i64 = 3;
/// A keyed retry gets a fresh access token when the first has less than this left (R2k), in milliseconds.
pub const FRESH_ACCESS_MS: i64 = 60_000;

/// The part of a session row that rotation reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// How often the token was rotated.
    pub generation: i64,
    /// The token that may rotate.
    pub current: TokenHash,
    /// Its parent.
    pub previous: Option<TokenHash>,
    /// When the parent was rotated, by database time.
    pub rotated_ms: Option<i64>,
    /// End of the access token given out with the current refresh token.
    pub access_expires_ms: Option<i64>,
    /// The current token, sealed for a holder of its parent (R6).
    pub sealed: Option<Sealed>,
    /// Retries answered in this generation.
    pub retries: i64,
    /// End by inactivity; moves on rotation only.
    pub idle_expires_ms: i64,
    /// End for good; never moves.
    pub expires_ms: i64,
    /// When it was ended.
    pub revoked_ms: Option<i64>,
    /// Whether it was opened under the global epoch in force.
    pub epoch: EpochState,
    /// How its tokens travel.
    pub transport: Transport,
    /// GCRA state of `refresh.session`.
    pub rate_tat_us: i64,
    /// Where the rotating call came from.
    pub rotated_by: Origin,
    /// Retries from elsewhere (R16).
    pub strays: Strays,
}

/// A session's epoch against the one in force (R13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochState {
    /// The same.
    Current,
    /// Ended by an epoch bump.
    Past,
}

/// The sealed successor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Nonce and ciphertext.
    pub bytes: Vec<u8>,
    /// Whether the idempotency key went into the seal (R2k).
    pub keying: Keying,
}

/// Whether a call carried an `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keying {
    /// It did.
    Keyed,
    /// It did not.
    Plain,
}

/// Where a call came from, as coarsely as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Coarse network.
    pub network: Option<Network>,
    /// Device summary.
    pub device: Option<DeviceSummary>,
}

impl Origin {
    /// Another network *and* another device (R16): one of both changes in ordinary life.
    #[must_use]
    pub fn is_elsewhere(&self, other: &Self) -> bool {
        self.network != other.network && self.device != other.device
    }
}

/// Generations in a row that were retried from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strays {
    /// How many.
    pub count: i64,
    /// The last of them.
    pub generation: i64,
}

/// A presented token whose HMAC is good.
pub struct Presented<'a> {
    /// Its hash.
    pub hash: TokenHash,
    /// Whether the call carried an `Idempotency-Key`.
    pub keying: Keying,
    /// How it travelled.
    pub transport: Transport,
    /// Where the call came from.
    pub origin: &'a Origin,
    /// Whether the token and the key of this call open a seal.
    pub opens: &'a (dyn Fn(&Sealed) -> bool + Sync),
    /// Whether this token was spent with the key of this call, less than `keyed_grace` ago.
    pub spent_with_this_key: bool,
}

/// The settings that rotation follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How long a lost reply may be asked for again, in milliseconds; 0 means never (R2).
    pub grace_ms: i64,
    /// The same with an `Idempotency-Key` (R2k).
    pub keyed_grace_ms: i64,
    /// Inactivity that ends a session.
    pub idle_ms: i64,
    /// Life of an access token.
    pub access_ttl_ms: i64,
    /// `refresh.session`.
    pub quota: Option<Quota>,
    /// Whether an exceeded quota refuses.
    pub shadow: Shadow,
}

impl RotationPolicy {
    /// How long a lost reply may be asked for again: a key never shortens it.
    #[must_use]
    pub fn grace_of(&self, keying: Keying) -> i64 {
        match keying {
            Keying::Plain => self.grace_ms,
            Keying::Keyed => self.keyed_grace_ms.max(self.grace_ms),
        }
    }
}

/// Whether a limit refuses or only counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shadow {
    /// Refuse.
    Enforced,
    /// Count only.
    Counted,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Spend the token for a new one (R1); the GCRA state to store.
    Rotate {
        /// New state of `refresh.session`.
        rate_tat_us: i64,
    },
    /// Answer with the successor given before (R2).
    Retry {
        /// When the access token of the answer ends.
        access_expires_ms: i64,
        /// R16's new state.
        strays: Strays,
        /// What is worth an event besides the retry.
        remark: Option<Remark>,
    },
    /// 409, nothing changes (R2k).
    Conflict,
    /// 429, nothing changes (R2's bucket, or `refresh.session`).
    Limited {
        /// Milliseconds to wait.
        retry_after_ms: i64,
    },
    /// End the session (R3).
    Replay(ReplayKind),
    /// 401 expired, nothing changes: the token is good but for its session's end.
    Expired,
    /// 401, nothing changes: the session is over.
    Ended,
    /// 401, nothing changes: the token travelled the wrong way (R14).
    WrongTransport,
}

/// Something about a retry that an operator wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remark {
    /// From another network and device than the rotation (R16).
    Elsewhere,
    /// The clock went back since the rotation (R5).
    ClockWentBack,
}

/// Why a use counts as a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayKind {
    /// Older than the parent of the current token.
    Spent,
    /// The parent, after its grace.
    LateParent,
    /// A holder of the parent kept in step for [`MAX_STRAYS`] generations (R16).
    Follower,
}

impl ReplayKind {
    /// The reason recorded with the session's end.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spent => "spent_token",
            Self::LateParent => "parent_after_grace",
            Self::Follower => "kept_in_step",
        }
    }
}

/// Decides what a presented token of this family gets at `now_ms` (database time, read under the row's lock).
#[must_use]
pub fn decide(
    family: &Family,
    presented: &Presented<'_>,
    policy: &RotationPolicy,
    outages: &Outages,
    now_ms: i64,
) -> Decision {
    if family.revoked_ms.is_some() || family.epoch == EpochState::Past {
        return Decision::Ended;
    }
    if presented.transport != family.transport {
        return Decision::WrongTransport;
    }
    let is_current = presented.hash == family.current;
    if now_ms >= family.idle_expires_ms || now_ms >= family.expires_ms {
        return if is_current { Decision::Expired } else { Decision::Ended };
    }
    if is_current {
        return rotate(family, policy, now_ms);
    }
    if family.previous == Some(presented.hash) {
        return parent(family, presented, policy, outages, now_ms);
    }
    if presented.spent_with_this_key { Decision::Conflict } else { Decision::Replay(ReplayKind::Spent) }
}

fn rotate(family: &Family, policy: &RotationPolicy, now_ms: i64) -> Decision {
    let Some(quota) = policy.quota else {
        return Decision::Rotate { rate_tat_us: family.rate_tat_us };
    };
    match (quota.ask(family.rate_tat_us, now_ms.saturating_mul(1_000)), policy.shadow) {
        (Verdict::Allow { tat_us }, _) => Decision::Rotate { rate_tat_us: tat_us },
        (Verdict::Deny { .. }, Shadow::Counted) => Decision::Rotate { rate_tat_us: family.rate_tat_us },
        (Verdict::Deny { retry_after_ms }, Shadow::Enforced) => Decision::Limited { retry_after_ms },
    }
}

fn parent(
    family: &Family,
    presented: &Presented<'_>,
    policy: &RotationPolicy,
    outages: &Outages,
    now_ms: i64,
) -> Decision {
    let rotated_ms = family.rotated_ms.unwrap_or(i64::MIN);
    let outage_ms = outages.within(rotated_ms, now_ms);
    let elapsed_ms = now_ms.saturating_sub(rotated_ms).max(0).saturating_sub(outage_ms);
    let within = |grace_ms: i64| grace_ms > 0 && elapsed_ms <= grace_ms;
    let late = Decision::Replay(ReplayKind::LateParent);
    // Without a seal the grace has ended: the seal is erased then.
    let Some(sealed) = &family.sealed else { return late };
    let answered = match sealed.keying {
        Keying::Plain => within(policy.grace_of(Keying::Plain)),
        Keying::Keyed if presented.keying == Keying::Keyed && (presented.opens)(sealed) => {
            within(policy.grace_of(Keying::Keyed))
        }
        Keying::Keyed if within(policy.grace_ms) => return Decision::Conflict,
        Keying::Keyed => false,
    };
    if !answered {
        return late;
    }
    if family.retries >= MAX_RETRIES {
        return Decision::Limited { retry_after_ms: policy.grace_ms.max(1_000) };
    }
    retry(family, presented, policy, sealed.keying, now_ms)
}

fn retry(family: &Family, presented: &Presented<'_>, policy: &RotationPolicy, keying: Keying, now_ms: i64) -> Decision {
    let elsewhere = presented.origin.is_elsewhere(&family.rotated_by);
    let strays = if elsewhere { stray(family.strays, family.generation) } else { family.strays };
    if elsewhere && strays.count >= MAX_STRAYS {
        return Decision::Replay(ReplayKind::Follower);
    }
    let first_ms = family.access_expires_ms.unwrap_or(now_ms);
    let access_expires_ms = if keying == Keying::Keyed && first_ms - now_ms < FRESH_ACCESS_MS {
        access_expiry(policy, family.expires_ms, now_ms)
    } else {
        first_ms
    };
    let went_back = family.rotated_ms.is_some_and(|rotated_ms| rotated_ms > now_ms);
    let remark = if elsewhere {
        Some(Remark::Elsewhere)
    } else if went_back {
        Some(Remark::ClockWentBack)
    } else {
        None
    };
    Decision::Retry { access_expires_ms, strays, remark }
}

/// Counts a generation once, and only if the one before was counted too.
fn stray(strays: Strays, generation: i64) -> Strays {
    if strays.count > 0 && strays.generation == generation {
        return strays;
    }
    let in_a_row = strays.count > 0 && strays.generation == generation - 1;
    Strays { count: if in_a_row { strays.count + 1 } else { 1 }, generation }
}

/// End of an access token made at `now_ms`: never after its session.
#[must_use]
pub fn access_expiry(policy: &RotationPolicy, session_expires_ms: i64, now_ms: i64) -> i64 {
    now_ms.saturating_add(policy.access_ttl_ms).min(session_expires_ms)
}

/// The new token's part of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Its hash.
    pub hash: TokenHash,
    /// Itself, sealed.
    pub sealed: Option<Sealed>,
}

impl Family {
    /// The row after [`Decision::Rotate`].
    #[must_use]
    pub fn rotated(
        &self,
        successor: Successor,
        by: Origin,
        rate_tat_us: i64,
        policy: &RotationPolicy,
        now_ms: i64,
    ) -> Self {
        Self {
            generation: self.generation + 1,
            current: successor.hash,
            previous: Some(self.current),
            rotated_ms: Some(now_ms),
            access_expires_ms: Some(access_expiry(policy, self.expires_ms, now_ms)),
            sealed: successor.sealed,
            retries: 0,
            idle_expires_ms: now_ms.saturating_add(policy.idle_ms).min(self.expires_ms),
            rate_tat_us,
            rotated_by: by,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod tests;
