//! Limit policies, their values and keys, and the trait that counts.

use crate::domain::{
    attack::AttackRule, hard::HardLimit, ladder::Ladder, quota::Quota, refusals::Refusals, rotation::Shadow,
    spread::Spread,
};
use shared::rate::Rate;
use std::{net::IpAddr, sync::Arc};

/// The policies of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyName {
    /// Login attempts per address.
    LoginIp,
    /// Login attempts per network.
    LoginNet,
    /// Failures per account.
    LoginAccount,
    /// Attempts per known device.
    LoginDevice,
    /// Failures in a row per known device.
    LoginDeviceFailures,
    /// Evaluations per account since the last right password; counted in the database.
    LoginHard,
    /// Registrations per address.
    RegisterIp,
    /// Rotations per session; counted in the session row.
    RefreshSession,
    /// Replayed and unknown refresh tokens per address.
    RefreshIp,
    /// Wrong passwords inside a session.
    ReauthSession,
    /// Accounts failing from one address.
    LoginSpray,
    /// Accounts failing from one network.
    LoginSprayNet,
    /// The share of logins that fail.
    LoginGlobal,
    /// All registrations.
    RegisterGlobal,
    /// Calls of the admin API per user id.
    AdminUid,
}

impl PolicyName {
    /// All policies, in the order operators see them.
    pub const ALL: [Self; 15] = [
        Self::LoginIp,
        Self::LoginNet,
        Self::LoginAccount,
        Self::LoginDevice,
        Self::LoginDeviceFailures,
        Self::LoginHard,
        Self::RegisterIp,
        Self::RefreshSession,
        Self::RefreshIp,
        Self::ReauthSession,
        Self::LoginSpray,
        Self::LoginSprayNet,
        Self::LoginGlobal,
        Self::RegisterGlobal,
        Self::AdminUid,
    ];

    /// The name operators use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoginIp => "login.ip",
            Self::LoginNet => "login.net",
            Self::LoginAccount => "login.account",
            Self::LoginDevice => "login.device",
            Self::LoginDeviceFailures => "login.device_failures",
            Self::LoginHard => "login.hard",
            Self::RegisterIp => "register.ip",
            Self::RefreshSession => "refresh.session",
            Self::RefreshIp => "refresh.ip",
            Self::ReauthSession => "reauth.session",
            Self::LoginSpray => "login.spray",
            Self::LoginSprayNet => "login.spray_net",
            Self::LoginGlobal => "login.global",
            Self::RegisterGlobal => "register.global",
            Self::AdminUid => "admin.uid",
        }
    }

    /// The policy of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }
}

/// The value of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyValue {
    /// GCRA.
    Rate {
        /// How many in how long.
        rate: Rate,
        /// How many at once.
        burst: u32,
    },
    /// The lockout ladder.
    Ladder(Ladder),
    /// So many in a row.
    Count {
        /// The last that is allowed.
        max: u32,
    },
    /// So many different ones in a while.
    Spread(Spread),
    /// A share of all; it raises an alarm and refuses nobody by itself.
    Share(AttackRule),
    /// So many in a row in each of two lanes, counted in the database.
    Hard(HardLimit),
}

impl PolicyValue {
    /// `rate`, `ladder`, `count` (also of two lanes), `spread` or `share`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rate { .. } => "rate",
            Self::Ladder(_) => "ladder",
            Self::Count { .. } | Self::Hard(_) => "count",
            Self::Spread(_) => "spread",
            Self::Share(_) => "share",
        }
    }
}

/// A policy in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its value.
    pub value: PolicyValue,
    /// Whether it refuses.
    pub shadow: Shadow,
    /// The configured value, to which a reset returns.
    pub default: PolicyValue,
    /// When it was changed live, and by whom.
    pub changed: Option<(i64, String)>,
    /// When the live value ends.
    pub expires_ms: Option<i64>,
}

impl Policy {
    /// The policy as configured.
    #[must_use]
    pub fn configured(value: PolicyValue) -> Self {
        Self { value, shadow: Shadow::Enforced, default: value, changed: None, expires_ms: None }
    }

    /// The share of one of `instances` that count locally: rates and ladders are divided, rounded up. What is counted
    /// in the database is whole, and so is a count within one session.
    #[must_use]
    pub fn share_of(&self, instances: u32) -> Self {
        let share = |burst: u32| burst.div_ceil(instances.max(1));
        let value = match self.value {
            PolicyValue::Rate { rate: Rate::Per { count, period_ms }, burst } => PolicyValue::Rate {
                rate: Rate::Per { count, period_ms: period_ms.saturating_mul(u64::from(instances.max(1))) },
                burst: share(burst),
            },
            PolicyValue::Ladder(ladder) => PolicyValue::Ladder(Ladder { burst: share(ladder.burst), ..ladder }),
            PolicyValue::Spread(spread) => PolicyValue::Spread(Spread { most: share(spread.most), ..spread }),
            PolicyValue::Share(rule) => PolicyValue::Share(AttackRule { attempts: share(rule.attempts), ..rule }),
            PolicyValue::Rate { .. } | PolicyValue::Count { .. } | PolicyValue::Hard(_) => self.value,
        };
        Self { value, ..self.clone() }
    }

    /// A rate of which one `part`-th is left, as an alarm leaves it; other kinds stay.
    #[must_use]
    fn tightened(&self, part: u32) -> Self {
        let value = match self.value {
            PolicyValue::Rate { rate: Rate::Per { count, period_ms }, burst } => PolicyValue::Rate {
                rate: Rate::Per { count, period_ms: period_ms.saturating_mul(u64::from(part)) },
                burst: burst.div_ceil(part.max(1)),
            },
            other => other,
        };
        Self { value, ..self.clone() }
    }

    /// GCRA numbers of a rate; `None` for `off` and for other kinds.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        match self.value {
            PolicyValue::Rate { rate, burst } => Quota::new(rate, burst),
            PolicyValue::Ladder(_)
            | PolicyValue::Count { .. }
            | PolicyValue::Hard(_)
            | PolicyValue::Spread(_)
            | PolicyValue::Share(_) => None,
        }
    }
}

/// All policies in force: an immutable snapshot, replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySet {
    policies: Vec<(PolicyName, Policy)>,
    /// What an alarm has tightened, as it stays for known devices.
    for_known: Vec<(PolicyName, Policy)>,
}

impl PolicySet {
    /// A set from a value for every policy.
    #[must_use]
    pub fn new(value: impl Fn(PolicyName) -> Policy) -> Self {
        Self { policies: PolicyName::ALL.into_iter().map(|name| (name, value(name))).collect(), for_known: Vec::new() }
    }

    /// The policy of this name; `new` gave every name one.
    #[must_use]
    pub fn get(&self, name: PolicyName) -> Option<&Policy> {
        self.policies.iter().find(|(has, _)| *has == name).map(|(_, policy)| policy)
    }

    /// The policy by which this key is counted: what alarms tighten, they leave to known devices as it was.
    #[must_use]
    pub fn of(&self, name: PolicyName, key: &LimitKey) -> Option<&Policy> {
        let kept = self.for_known.iter().find(|(has, _)| *has == name && key.is_of_known_devices());
        kept.map(|(_, policy)| policy).or_else(|| self.get(name))
    }

    /// The set that one of `instances` counts by; `refresh.session` is counted in the database and stays whole, and so
    /// does `admin.uid`: every instance has sockets of its own.
    #[must_use]
    pub fn share_of(&self, instances: u32) -> Self {
        let share = |(name, policy): &(PolicyName, Policy)| match name {
            PolicyName::RefreshSession | PolicyName::AdminUid => (*name, policy.clone()),
            _ => (*name, policy.share_of(instances)),
        };
        Self {
            policies: self.policies.iter().map(share).collect(),
            for_known: self.for_known.iter().map(share).collect(),
        }
    }

    /// The set with a quarter of these rates, but for known devices.
    #[must_use]
    pub fn tightened(&self, names: &[PolicyName]) -> Self {
        const PART: u32 = 4;
        let tighten = |(name, policy): &(PolicyName, Policy)| match names.contains(name) {
            true => (*name, policy.tightened(PART)),
            false => (*name, policy.clone()),
        };
        let is_new = |name: &PolicyName| names.contains(name) && self.for_known.iter().all(|(has, _)| has != name);
        let kept = self.policies.iter().filter(|(name, _)| is_new(name)).chain(&self.for_known);
        Self { policies: self.policies.iter().map(tighten).collect(), for_known: kept.cloned().collect() }
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(PolicyName, Policy)> {
        self.policies.iter()
    }
}

/// What a bucket is counted by; made by the constructors only, so that every spelling of one thing shares a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LimitKey(String);

/// What the keys of known devices end with.
const KNOWN: &str = " known";

impl LimitKey {
    /// One address: an IPv4 /32, an IPv6 /64; IPv4-mapped addresses count as IPv4.
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self(v4.to_string()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(format!("{}/64", std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
        }
    }

    /// The network around an address: /24 or /48.
    #[must_use]
    pub fn network(ip: IpAddr) -> Self {
        Self(crate::domain::session::Network::of(ip).as_str().to_owned())
    }

    /// The same address or network for logins from known devices: floods of strangers do not use it up.
    #[must_use]
    pub fn of_known_devices(self) -> Self {
        Self(self.0 + KNOWN)
    }

    /// Whether it is one of known devices.
    #[must_use]
    pub fn is_of_known_devices(&self) -> bool {
        self.0.ends_with(KNOWN)
    }

    /// An id of this installation: an account, a session, a bucket of unknown identifiers.
    #[must_use]
    pub fn id(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number that stands for it where many keys have to be told apart in little room.
    #[must_use]
    pub fn number(&self) -> u64 {
        use sha2::{Digest, Sha256};
        Sha256::digest(self.0.as_bytes()).first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

/// What a limiter says to one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Go on.
    Allowed,
    /// Refuse with 429.
    Denied {
        /// Milliseconds to wait, at least one.
        retry_after_ms: i64,
    },
}

/// A place held for a password check under `login.account`, `login.device_failures` or `reauth.session`. Give it back
/// with [`Limiter::settle`]; one that is dropped frees its place by itself after 30 s.
#[derive(Debug)]
#[must_use = "settle it with what was learnt"]
pub struct Reservation {
    /// The policy.
    pub policy: PolicyName,
    /// The key.
    pub key: LimitKey,
    /// Which of the places under that key.
    pub ticket: u64,
}

/// What a limiter says to one more password check.
#[derive(Debug)]
pub enum Reserved {
    /// Check it, then settle.
    Place(Reservation),
    /// Refuse with 429.
    Denied {
        /// Milliseconds to wait, at least one.
        retry_after_ms: i64,
    },
    /// Refuse with 503: the budget stayed used up by checks that did not end in time.
    Overloaded,
}

/// What a settled check means for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Nothing more.
    Counted,
    /// A [`PolicyValue::Count`] has reached its most.
    Exhausted,
}

/// Whether instances count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// They are not meant to.
    Off,
    /// They do.
    On,
    /// They should, and each counts its share for itself.
    Down {
        /// Since when, Unix milliseconds.
        since_ms: i64,
    },
}

/// Counts. Reads the policies from the snapshot in force at each call.
#[async_trait::async_trait]
pub trait Limiter: Send + Sync {
    /// Replaces the snapshot. So many instances count: one that counts alone takes its share.
    fn install(&self, policies: &Arc<PolicySet>, instances: u32);

    /// The snapshot by which this instance counts alone.
    fn policies(&self) -> Arc<PolicySet>;

    /// Whether instances count together.
    fn sharing(&self) -> Sharing {
        Sharing::Off
    }

    /// Takes one unit of a rate.
    async fn take(&self, policy: PolicyName, key: &LimitKey) -> Admission;

    /// Holds a place for a password check; waits at most `wait_ms` when the budget is used up by checks under way.
    async fn reserve(&self, policy: PolicyName, key: LimitKey, wait_ms: i64) -> Reserved;

    /// Gives a place back.
    async fn settle(&self, place: Reservation, outcome: crate::domain::ladder::Outcome) -> Settled;

    /// Gives a place under a [`PolicyValue::Spread`] back; a failure counts once for each `subject`.
    async fn settle_about(&self, place: Reservation, outcome: crate::domain::ladder::Outcome, subject: u64);

    /// Whom this instance has refused in the last minutes, and how many since its start.
    fn refusals(&self) -> Arc<Refusals>;

    /// Milliseconds until `key` may try again under this policy; 0 when it may now. Takes nothing.
    async fn wait_ms(&self, policy: PolicyName, key: &LimitKey) -> i64;

    /// Forgets one key; `false` when nothing was known of it.
    async fn forget(&self, policy: PolicyName, key: &LimitKey) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_local_budgets_and_leave_the_rest_whole() {
        let rate = PolicyValue::Rate { rate: "30/min".parse().unwrap(), burst: 5 };
        let set = PolicySet::new(|_| Policy::configured(rate));
        let half = PolicyValue::Rate { rate: "30/2min".parse().unwrap(), burst: 3 };
        assert_eq!(set.share_of(2).get(PolicyName::LoginIp).unwrap().value, half);
        assert_eq!(set.share_of(2).get(PolicyName::RefreshSession).unwrap().value, rate);
        assert_eq!(set.share_of(1), set);
        let ladder = |burst| PolicyValue::Ladder(Ladder { burst, first_delay_ms: 1, max_delay_ms: 2, forget_ms: 3 });
        let spread = |most| PolicyValue::Spread(Spread { most, window_ms: 1, lock_ms: 2 });
        let share = |attempts| PolicyValue::Share(AttackRule { percent: 60, attempts });
        let count = PolicyValue::Count { max: 5 };
        for (name, whole, part) in [
            (PolicyName::LoginAccount, ladder(5), ladder(2)),
            (PolicyName::LoginSpray, spread(10), spread(4)),
            (PolicyName::LoginSprayNet, spread(100), spread(34)),
            (PolicyName::LoginGlobal, share(200), share(67)),
            (PolicyName::ReauthSession, count, count),
        ] {
            let set = PolicySet::new(|_| Policy::configured(whole));
            assert_eq!(set.share_of(3).get(name).unwrap().value, part, "{name:?}");
        }
    }

    #[test]
    fn an_alarm_leaves_a_quarter_of_the_rates_it_names() {
        let rate = |text: &str, burst| PolicyValue::Rate { rate: text.parse().unwrap(), burst };
        let set = PolicySet::new(|_| Policy::configured(rate("30/min", 20)));
        let tight = set.tightened(&[PolicyName::LoginIp]);
        assert_eq!(tight.get(PolicyName::LoginIp).unwrap().value, rate("30/4min", 5));
        assert_eq!(tight.get(PolicyName::RefreshIp).unwrap().value, rate("30/min", 20));
    }

    #[test]
    fn an_alarm_leaves_known_devices_what_they_had() {
        let rate = |text: &str, burst| PolicyValue::Rate { rate: text.parse().unwrap(), burst };
        let set = PolicySet::new(|_| Policy::configured(rate("30/min", 20)));
        let tight = set.tightened(&[PolicyName::LoginIp]).tightened(&[PolicyName::RegisterIp]);
        let address = LimitKey::address("192.0.2.1".parse().unwrap());
        let value = |set: &PolicySet, key: &LimitKey| set.of(PolicyName::LoginIp, key).unwrap().value;
        assert_eq!(value(&tight, &address), rate("30/4min", 5));
        let known = address.of_known_devices();
        assert_eq!(value(&tight, &known), rate("30/min", 20));
        assert_eq!(value(&tight.share_of(2), &known), rate("30/2min", 10));
        assert_eq!(value(&set, &known), rate("30/min", 20));
    }

    #[test]
    fn every_spelling_of_an_address_is_one_key() {
        let key = |text: &str| LimitKey::address(text.parse().unwrap());
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_eq!(key("2001:db8:1:2:3::"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::"), key("2001:db8:1:3::"));
    }
}
