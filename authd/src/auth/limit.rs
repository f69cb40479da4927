//! Live limits: configured values, the operator's values above them, and what every instance does with both.

use crate::auth::{Auth, Operator, OperatorRefusal, evaluate::is_unknown_bucket, operator::bounded_life};
use crate::domain::{
    attack::AttackRule,
    audit::Action,
    hard::{CEILING, HardLimit, Lane},
    ladder::Ladder,
    limit::{LimitKey, Policy, PolicyName, PolicySet, PolicyValue},
    rotation::Shadow,
    setting::{NewSetting, Setting},
    spread::Spread,
    store_error::StoreError,
};
use ipnet::IpNet;
use shared::id::UserId;
use shared::{rate::Rate, time::Span};
use std::{
    net::IpAddr,
    sync::{Arc, PoisonError},
};

/// The setting of a value that holds until it is changed.
fn lasting(name: PolicyName) -> String {
    format!("limit.{}", name.as_str())
}

/// The setting of a value that holds for a time.
fn passing(name: PolicyName) -> String {
    format!("limit_for.{}", name.as_str())
}

/// What an operator wants of a policy; absent parts stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitChange {
    /// For rates; [`Rate::Off`] also for spreads and shares.
    pub rate: Option<Rate>,
    /// For rates and ladders; for counts the most in a row, for spreads how many, for shares the least attempts.
    pub burst: Option<u32>,
    /// For `login.hard`, whose `burst` is for unknown devices: the most in a row for known ones.
    pub known: Option<u32>,
    /// For ladders.
    pub first_delay: Option<Span>,
    /// For ladders.
    pub max_delay: Option<Span>,
    /// For shares.
    pub percent: Option<u32>,
    /// How long it holds.
    pub life: Option<Span>,
    /// Whether it refuses; absent: it does, also if it only counted before.
    pub shadow: Option<Shadow>,
}

/// The stored text of a live value: `rate=30/min burst=20 shadow`.
fn write(value: &PolicyValue, shadow: Shadow) -> String {
    let text = match value {
        PolicyValue::Rate { rate, burst } => format!("rate={rate} burst={burst}"),
        PolicyValue::Ladder(ladder) => format!(
            "burst={} first_delay_ms={} max_delay_ms={}",
            ladder.burst, ladder.first_delay_ms, ladder.max_delay_ms
        ),
        PolicyValue::Count { max } => format!("burst={max}"),
        PolicyValue::Spread(spread) => format!("burst={}", spread.most),
        PolicyValue::Share(rule) => format!("percent={} burst={}", rule.percent, rule.attempts),
        PolicyValue::Hard(limit) => format!("burst={} known={}", limit.of(Lane::Unknown), limit.of(Lane::Known)),
    };
    if shadow == Shadow::Counted { text + " shadow" } else { text }
}

/// Lays a stored text over the configured value; `None` when it does not fit it.
fn read(default: PolicyValue, text: &str) -> Option<(PolicyValue, Shadow)> {
    if let PolicyValue::Hard(limit) = default {
        return read_hard(limit, text).map(|limit| (PolicyValue::Hard(limit), Shadow::Enforced));
    }
    let (mut value, mut shadow) = (default, Shadow::Enforced);
    for word in text.split_ascii_whitespace() {
        let (name, given) = word.split_once('=').unwrap_or((word, ""));
        match (&mut value, name) {
            (_, "shadow") => shadow = Shadow::Counted,
            (PolicyValue::Rate { rate, .. }, "rate") => *rate = given.parse().ok()?,
            (PolicyValue::Rate { burst, .. } | PolicyValue::Count { max: burst }, "burst") => {
                *burst = given.parse().ok()?
            }
            (PolicyValue::Spread(Spread { most: burst, .. }), "burst")
            | (PolicyValue::Share(AttackRule { attempts: burst, .. }), "burst") => *burst = given.parse().ok()?,
            (PolicyValue::Share(rule), "percent") => rule.percent = given.parse().ok()?,
            (PolicyValue::Ladder(ladder), "burst") => ladder.burst = given.parse().ok()?,
            (PolicyValue::Ladder(ladder), "first_delay_ms") => ladder.first_delay_ms = given.parse().ok()?,
            (PolicyValue::Ladder(ladder), "max_delay_ms") => ladder.max_delay_ms = given.parse().ok()?,
            _ => return None,
        }
    }
    Some((value, shadow))
}

/// `login.hard` is never shadowed, and never exceeds its ceiling, whatever is stored.
fn read_hard(default: HardLimit, text: &str) -> Option<HardLimit> {
    let (mut unknown, mut known) = (default.of(Lane::Unknown), default.of(Lane::Known));
    for word in text.split_ascii_whitespace() {
        match word.split_once('=')? {
            ("burst", given) => unknown = given.parse().ok()?,
            ("known", given) => known = given.parse().ok()?,
            _ => return None,
        }
    }
    HardLimit::new(unknown, known)
}

fn changed_hard(current: HardLimit, change: &LimitChange) -> Result<PolicyValue, OperatorRefusal> {
    let invalid = |text: String| Err(OperatorRefusal::Invalid(text));
    if change.rate.is_some() || change.first_delay.is_some() || change.max_delay.is_some() {
        return invalid(takes(&PolicyValue::Hard(current)).to_owned());
    }
    if change.shadow == Some(Shadow::Counted) {
        return invalid("login.hard is never shadowed: without it nothing bounds guessing across restarts".to_owned());
    }
    let (unknown, known) = (current.of(Lane::Unknown), current.of(Lane::Known));
    let (unknown, known) = (change.burst.unwrap_or(unknown), change.known.unwrap_or(known));
    match HardLimit::new(unknown, known) {
        Some(limit) => Ok(PolicyValue::Hard(limit)),
        None => invalid(format!("{unknown} and {known}: each is at least 1, together they are at most {CEILING}")),
    }
}

fn changed(current: &Policy, change: &LimitChange) -> Result<PolicyValue, OperatorRefusal> {
    if let PolicyValue::Hard(limit) = current.value {
        return changed_hard(limit, change);
    }
    if change.known.is_some() {
        return Err(OperatorRefusal::Invalid("only login.hard has a number for known devices".to_owned()));
    }
    let (delays, shares) = (change.first_delay.is_some() || change.max_delay.is_some(), change.percent.is_some());
    let rates = matches!(change.rate, Some(Rate::Per { .. }));
    let value = match current.value {
        PolicyValue::Rate { rate, burst } if !delays && !shares => {
            let new = change.rate.unwrap_or(rate);
            // A rate without a burst of its own keeps the burst it had.
            PolicyValue::Rate { rate: new, burst: change.burst.unwrap_or(burst) }
        }
        PolicyValue::Ladder(ladder) if change.rate.is_none() && !shares => PolicyValue::Ladder(Ladder {
            burst: change.burst.unwrap_or(ladder.burst),
            first_delay_ms: change.first_delay.map_or(ladder.first_delay_ms, Span::as_millis),
            max_delay_ms: change.max_delay.map_or(ladder.max_delay_ms, Span::as_millis),
            forget_ms: ladder.forget_ms,
        }),
        PolicyValue::Count { max } if change.rate.is_none() && !delays && !shares => {
            PolicyValue::Count { max: change.burst.unwrap_or(max) }
        }
        PolicyValue::Spread(spread) if !rates && !delays && !shares => {
            let most = if change.rate == Some(Rate::Off) { 0 } else { change.burst.unwrap_or(spread.most) };
            PolicyValue::Spread(Spread { most, ..spread })
        }
        PolicyValue::Share(rule) if !rates && !delays => PolicyValue::Share(AttackRule {
            percent: if change.rate == Some(Rate::Off) { 100 } else { change.percent.unwrap_or(rule.percent) },
            attempts: change.burst.unwrap_or(rule.attempts),
        }),
        value => {
            return Err(OperatorRefusal::Invalid(takes(&value).to_owned()));
        }
    };
    let off = change.rate == Some(Rate::Off);
    let sound = match value {
        PolicyValue::Rate { burst, .. } | PolicyValue::Count { max: burst } => (1..=1_000_000).contains(&burst),
        PolicyValue::Spread(spread) => off || (1..=1_000).contains(&spread.most),
        PolicyValue::Share(rule) => (1..=100).contains(&rule.percent) && (1..=1_000_000).contains(&rule.attempts),
        PolicyValue::Ladder(ladder) => {
            (1..=100).contains(&ladder.burst)
                && (1..=ladder.max_delay_ms).contains(&ladder.first_delay_ms)
                && ladder.max_delay_ms <= ladder.forget_ms
        }
        PolicyValue::Hard(_) => true,
    };
    if sound {
        Ok(value)
    } else {
        Err(OperatorRefusal::Invalid(
            "burst must be at least 1 (ladders: at most 100, spreads: 1000), percent 1 to 100, first delay at most the \
            longest delay, that at most a day"
                .to_owned(),
        ))
    }
}

/// What can be changed of a policy.
fn takes(value: &PolicyValue) -> &'static str {
    match value {
        PolicyValue::Rate { .. } => "this policy is a rate: it takes one like 30/min, or off, and --burst",
        PolicyValue::Ladder(_) => "this policy is a ladder: it takes --burst, --first-delay and --max-delay",
        PolicyValue::Count { .. } => "this policy is a count: it takes --burst",
        PolicyValue::Hard(_) => {
            "login.hard takes --burst for unknown devices and --known for known ones, at most 100 together"
        }
        PolicyValue::Spread(_) => "this policy is a number of accounts: it takes --burst, or off",
        PolicyValue::Share(_) => "this policy is a share of all logins: it takes --percent and --burst, or off",
    }
}

impl Auth {
    /// The policies in force, for all instances together.
    #[must_use]
    pub fn limits(&self) -> Arc<PolicySet> {
        self.limits.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the stored settings and puts limits into force; every instance does so each second.
    ///
    /// # Errors
    /// [`StoreError`]; the values in force stay.
    pub async fn poll_settings(&self) -> Result<(), StoreError> {
        let stored = self.parts.settings.all().await?;
        self.put_in_force(&stored);
        self.follow_epoch(&stored);
        self.follow_mode(&stored);
        self.follow_rules(&stored).await
    }

    fn put_in_force(&self, stored: &[Setting]) {
        let (configured, now_ms) = (self.settings().limits.clone(), self.now_ms());
        let set = PolicySet::new(|name| {
            let Some(base) = configured.get(name).cloned() else {
                return Policy::configured(PolicyValue::Count { max: 0 });
            };
            let named = |name: String| stored.iter().find(|setting| setting.name == name);
            let holds = |live: &&Setting| live.expires_ms.is_none_or(|end_ms| end_ms > now_ms);
            // What was set for a time lies above what was set for good, which returns by itself.
            let live = named(passing(name)).filter(holds).or_else(|| named(lasting(name)).filter(holds));
            let Some(live) = live else { return base };
            let Some((value, shadow)) = read(base.default, &live.value) else { return base };
            Policy {
                value,
                shadow,
                changed: Some((live.changed_ms, live.changed_by.clone())),
                expires_ms: live.expires_ms,
                ..base
            }
        });
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        self.install_limits();
    }

    /// The value of a policy with this change.
    ///
    /// # Errors
    /// [`OperatorRefusal::Invalid`].
    pub(super) fn wished(&self, name: PolicyName, change: &LimitChange) -> Result<PolicyValue, OperatorRefusal> {
        changed(self.limits().get(name).ok_or(OperatorRefusal::NotFound)?, change)
    }

    /// Changes a policy for all instances: here at once, elsewhere within a second.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn set_limit(
        &self,
        operator: &Operator,
        name: PolicyName,
        change: LimitChange,
    ) -> Result<(), OperatorRefusal> {
        let set = self.limits();
        let current = set.get(name).ok_or(OperatorRefusal::NotFound)?;
        let (value, life_ms) = (changed(current, &change)?, bounded_life(change.life)?);
        let text = write(&value, change.shadow.unwrap_or(Shadow::Enforced));
        let event = self.operator_event(operator, Action::LimitChanged).about("limit", name.as_str());
        let before = write(&current.value, current.shadow);
        let event = event.with("from", before).with("to", &text).with("for", change.life.unwrap_or_default());
        if operator.is_dry_run() {
            return Ok(());
        }
        let put = |name, life_ms| NewSetting { name, value: text.clone(), changed_by: operator.name(), life_ms };
        let (put, removed) = match life_ms {
            Some(life_ms) => (put(passing(name), Some(life_ms)), Vec::new()),
            None => (put(lasting(name), None), vec![passing(name)]),
        };
        self.parts.settings.change(Some(put), removed, event).await?;
        Ok(self.poll_settings().await?)
    }

    /// Returns a policy to its configured value.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn reset_limit(&self, operator: &Operator, name: PolicyName) -> Result<(), OperatorRefusal> {
        let event = self.operator_event(operator, Action::LimitReset).about("limit", name.as_str());
        if operator.is_dry_run() {
            return Ok(());
        }
        self.parts.settings.change(None, vec![passing(name), lasting(name)], event).await?;
        Ok(self.poll_settings().await?)
    }

    /// Forgets what was counted for one key, here and in the shared count: an address, an account, a session. `false`
    /// when nothing was known of it.
    ///
    /// # Errors
    /// [`OperatorRefusal::Invalid`] for a key that the policy cannot have; [`OperatorRefusal::Storage`] when the event
    /// cannot be written.
    pub async fn forget_limit_key(
        &self,
        operator: &Operator,
        name: PolicyName,
        key: &str,
    ) -> Result<bool, OperatorRefusal> {
        let key = match key_of(name, key).map_err(OperatorRefusal::Invalid)? {
            NamedKey::Key(key) => key,
            NamedKey::Account(account) => LimitKey::id(self.resolve_user(account).await?.id.as_str()),
        };
        let event = self.operator_event(operator, Action::LimitReset).about("limit", name.as_str());
        let event = event.with("key", key.as_str());
        // Known devices of an address or network have a budget of their own.
        let has_known = matches!(name, PolicyName::LoginIp | PolicyName::LoginNet) && !key.is_of_known_devices();
        let known = has_known.then(|| key.clone().of_known_devices());
        let keys: Vec<LimitKey> = std::iter::once(key).chain(known).collect();
        if !operator.is_dry_run() {
            self.parts.audit.append(vec![event]).await?;
        }
        let mut was_held = false;
        for key in &keys {
            was_held |= match operator.is_dry_run() {
                true => self.parts.limiter.wait_ms(name, key).await > 0,
                false => self.parts.limiter.forget(name, key).await,
            };
        }
        Ok(was_held)
    }
}

/// A key as an operator names it.
#[derive(Debug, PartialEq, Eq)]
enum NamedKey<'a> {
    /// What is counted.
    Key(LimitKey),
    /// An account that has to be looked up.
    Account(&'a str),
}

/// What an operator means by `text`: an address, or a key as `limit top` shows it.
fn key_of(name: PolicyName, text: &str) -> Result<NamedKey<'_>, String> {
    let policy = name.as_str();
    let key = match name {
        PolicyName::LoginHard => {
            return Err("what login.hard counted is forgotten by: authctl user unlock USER".to_owned());
        }
        PolicyName::RefreshSession => {
            return Err(format!(
                "{policy} is counted in the session itself; give it room for a while: \
                                authctl limit set {policy} 600/h --for 1h"
            ));
        }
        PolicyName::LoginGlobal | PolicyName::RegisterGlobal => {
            return Err(format!("{policy} counts everybody together: there is no key to forget"));
        }
        PolicyName::LoginIp | PolicyName::RegisterIp | PolicyName::RefreshIp | PolicyName::LoginSpray => {
            address_key(text, LimitKey::address)
        }
        PolicyName::LoginNet | PolicyName::LoginSprayNet => address_key(text, LimitKey::network),
        PolicyName::AdminUid => text
            .replacen("uid ", "", 1)
            .replacen("uid:", "", 1)
            .parse::<u32>()
            .ok()
            .map(|uid| LimitKey::id(&format!("uid {uid}"))),
        PolicyName::LoginAccount if UserId::parse(text).is_err() && !is_unknown_bucket(text) => {
            return Ok(NamedKey::Account(text));
        }
        PolicyName::LoginAccount
        | PolicyName::LoginDevice
        | PolicyName::LoginDeviceFailures
        | PolicyName::ReauthSession => Some(LimitKey::id(text)),
    };
    key.map(NamedKey::Key).ok_or_else(|| {
        format!("{policy} has no key `{text}`: name an address, or a key as `authctl limit top` shows it")
    })
}

/// The key around an address, or around the network that such a key is; known devices have keys of their own.
fn address_key(text: &str, around: fn(IpAddr) -> LimitKey) -> Option<LimitKey> {
    let (plain, is_of_known) = text.strip_suffix(" known").map_or((text, false), |plain| (plain, true));
    let key = match plain.parse::<IpAddr>() {
        Ok(ip) => around(ip),
        Err(_) => {
            let network = plain.parse::<IpNet>().ok()?.trunc();
            Some(around(network.addr())).filter(|key| key.as_str() == network.to_string())?
        }
    };
    Some(if is_of_known { key.of_known_devices() } else { key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_as_it_is_shown_or_by_an_address_and_nothing_else_is_taken() {
        let named = |name, text| match key_of(name, text) {
            Ok(NamedKey::Key(key)) => Some(key.as_str().to_owned()),
            Ok(NamedKey::Account(text)) => Some(format!("account {text}")),
            Err(_) => None,
        };
        for (name, text, wanted) in [
            (PolicyName::LoginIp, "192.0.2.9", Some("192.0.2.9")),
            (PolicyName::LoginIp, "::ffff:192.0.2.9", Some("192.0.2.9")),
            (PolicyName::LoginIp, "192.0.2.9 known", Some("192.0.2.9 known")),
            (PolicyName::LoginIp, "2001:db8:1:2::3", Some("2001:db8:1:2::/64")),
            (PolicyName::LoginSpray, "2001:db8:1:2::/64", Some("2001:db8:1:2::/64")),
            (PolicyName::LoginIp, "192.0.2.0/24", None),
            (PolicyName::LoginIp, "ada@example.org", None),
            (PolicyName::LoginNet, "192.0.2.9", Some("192.0.2.0/24")),
            (PolicyName::LoginNet, "192.0.2.0/24", Some("192.0.2.0/24")),
            (PolicyName::LoginSprayNet, "2001:db8:1::/48", Some("2001:db8:1::/48")),
            (PolicyName::LoginNet, "192.0.0.0/16", None),
            (PolicyName::AdminUid, "uid:1000", Some("uid 1000")),
            (PolicyName::AdminUid, "1000", Some("uid 1000")),
            (PolicyName::AdminUid, "ada", None),
            (PolicyName::LoginAccount, "ada@example.org", Some("account ada@example.org")),
            (PolicyName::LoginAccount, "unknown:7", Some("unknown:7")),
            (PolicyName::RefreshSession, "ses_1", None),
            (PolicyName::LoginGlobal, "all", None),
            (PolicyName::LoginHard, "ada@example.org", None),
        ] {
            assert_eq!(named(name, text).as_deref(), wanted, "{} {text}", name.as_str());
        }
    }

    const LADDER: PolicyValue =
        PolicyValue::Ladder(Ladder { burst: 5, first_delay_ms: 1_000, max_delay_ms: 900_000, forget_ms: 86_400_000 });

    #[test]
    fn a_stored_value_reads_back() {
        let rate = PolicyValue::Rate { rate: "10/15min".parse().unwrap(), burst: 7 };
        let spread = PolicyValue::Spread(Spread { most: 9, window_ms: 1, lock_ms: 2 });
        let share = PolicyValue::Share(AttackRule { percent: 70, attempts: 300 });
        for value in [rate, LADDER, PolicyValue::Count { max: 5 }, spread, share] {
            for shadow in [Shadow::Enforced, Shadow::Counted] {
                assert_eq!(read(value, &write(&value, shadow)), Some((value, shadow)));
            }
        }
        assert_eq!(read(LADDER, "rate=1/s"), None);
    }

    #[test]
    fn login_hard_is_neither_raised_above_its_ceiling_nor_shadowed() {
        let hard = Policy::configured(PolicyValue::Hard(HardLimit::default()));
        let change = |burst, known, shadow| LimitChange { burst, known, shadow, ..LimitChange::default() };
        for refused in [
            change(Some(86), None, None),
            change(None, Some(16), None),
            change(Some(0), None, None),
            change(None, None, Some(Shadow::Counted)),
            LimitChange { rate: Some(Rate::Off), ..LimitChange::default() },
        ] {
            assert!(changed(&hard, &refused).is_err(), "{refused:?}");
        }
        let lower = PolicyValue::Hard(HardLimit::new(60, 40).unwrap());
        assert_eq!(changed(&hard, &change(Some(60), Some(40), None)).ok(), Some(lower));
        assert_eq!(read(hard.value, &write(&lower, Shadow::Enforced)), Some((lower, Shadow::Enforced)));
        for stored in ["burst=99 known=15", "burst=85 shadow", "shadow", "rate=1/s"] {
            assert_eq!(read(hard.value, stored), None, "{stored}");
        }
    }

    #[test]
    fn a_change_of_another_kind_or_without_sense_is_refused() {
        let policy = Policy::configured(LADDER);
        let rate = LimitChange { rate: Some(Rate::Off), ..LimitChange::default() };
        assert!(changed(&policy, &rate).is_err());
        let none = LimitChange { burst: Some(0), ..LimitChange::default() };
        assert!(changed(&policy, &none).is_err());
        let more = LimitChange { burst: Some(9), ..LimitChange::default() };
        assert!(matches!(changed(&policy, &more), Ok(PolicyValue::Ladder(Ladder { burst: 9, .. }))));
    }
}
