//! Calls about limits.

use super::{
    Admin,
    call::{Caller, intent},
    problem::Denied,
};
use crate::{
    auth::{LimitChange, OperatorRefusal},
    domain::{
        hard::Lane,
        limit::{Policy, PolicyName, PolicyValue},
        refusals::{self, Sum},
        rotation::Shadow,
    },
};
use shared::{
    admin::{
        Empty, MAX_PAGE, Page,
        limit::{Changed, Kind, Limit, Limited, ResetRequest, SetRequest, Setting, ShowRequest, Shown, TopRequest},
        page_size,
    },
    rate::Rate,
    time::{Span, Timestamp},
};
use std::{sync::Arc, time::Duration};

/// `limit/list`
pub(super) async fn list(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Page<Limit>, Denied> {
    let policies = admin.auth.limits();
    let in_force = admin.auth.limits_in_force();
    let one = |(name, policy): &(PolicyName, Policy)| {
        let limit = limit(*name, policy, admin.auth.refused(*name));
        Limit { tightened: tightened(policy, in_force.get(*name)), ..limit }
    };
    Ok(Page::whole(policies.iter().map(one).collect()))
}

/// `limit/show`
pub(super) async fn show(admin: Arc<Admin>, _: Caller, request: ShowRequest) -> Result<Shown, Denied> {
    let name = policy_name(&request.policy)?;
    let most = usize::try_from(MAX_PAGE).unwrap_or(usize::MAX);
    let limited = admin.auth.limited(name).into_iter().take(most).map(limited).collect();
    Ok(Shown { limit: current(&admin, name)?, limited })
}

/// `limit/top`
pub(super) async fn top(admin: Arc<Admin>, _: Caller, request: TopRequest) -> Result<Page<Limited>, Denied> {
    let most = usize::try_from(page_size(request.limit)).unwrap_or(usize::MAX);
    Ok(Page::whole(admin.auth.most_limited(most).into_iter().map(limited).collect()))
}

fn limited(one: refusals::Limited) -> Limited {
    Limited {
        policy: one.policy.as_str().to_owned(),
        key: one.key.as_str().replacen("uid ", "uid:", 1),
        wait: span(one.wait_ms),
        since: Timestamp(one.since_ms),
        last: Timestamp(one.last_ms),
        refused: one.refused,
        would_refuse: one.would_refuse,
    }
}

pub(super) fn policy_name(text: &str) -> Result<PolicyName, Denied> {
    Ok(PolicyName::parse(text).ok_or_else(|| OperatorRefusal::none_called("policy", text))?)
}

fn current(admin: &Admin, name: PolicyName) -> Result<Limit, Denied> {
    Ok(admin
        .auth
        .limits()
        .get(name)
        .map(|policy| Limit {
            tightened: tightened(policy, admin.auth.limits_in_force().get(name)),
            ..limit(name, policy, admin.auth.refused(name))
        })
        .ok_or(OperatorRefusal::NotFound)?)
}

/// `limit/set`
pub(super) async fn set(admin: Arc<Admin>, by: Caller, request: SetRequest) -> Result<Changed, Denied> {
    let operator = by.operator(intent!(request))?;
    let name = policy_name(&request.policy)?;
    let previous = current(&admin, name)?;
    let change = LimitChange {
        rate: request.rate,
        burst: request.burst,
        known: request.known,
        first_delay: request.first_delay,
        max_delay: request.max_delay,
        percent: request.percent,
        life: request.lasting,
        shadow: Some(if request.shadow { Shadow::Counted } else { Shadow::Enforced }),
    };
    admin.auth.set_limit(&operator, name, change).await?;
    let limit = if operator.is_dry_run() {
        preview(&previous, &request, admin.auth.parts.clock.now_ms())
    } else {
        current(&admin, name)?
    };
    Ok(Changed { limit, previous, forgotten: None })
}

/// The policy as the request would leave it.
fn preview(previous: &Limit, request: &SetRequest, now_ms: i64) -> Limit {
    let end_ms = |life: Span| now_ms.saturating_add(life.as_millis());
    Limit {
        rate: request.rate.or(previous.rate),
        burst: request.burst.or(previous.burst),
        known: request.known.or(previous.known),
        first_delay: request.first_delay.or(previous.first_delay),
        max_delay: request.max_delay.or(previous.max_delay),
        percent: request.percent.or(previous.percent),
        expires_at: request.lasting.map(|life| Timestamp(end_ms(life))),
        shadow: request.shadow,
        tightened: None,
        ..previous.clone()
    }
}

/// `limit/reset`
pub(super) async fn reset(admin: Arc<Admin>, by: Caller, request: ResetRequest) -> Result<Changed, Denied> {
    let operator = by.operator(intent!(request))?;
    let name = policy_name(&request.policy)?;
    let previous = current(&admin, name)?;
    match &request.key {
        Some(key) if key.is_empty() => return Err(Denied::Malformed("`key` is empty: leave it out".to_owned())),
        Some(key) => {
            let forgotten = Some(admin.auth.forget_limit_key(&operator, name, key).await?);
            return Ok(Changed { limit: current(&admin, name)?, previous, forgotten });
        }
        None => admin.auth.reset_limit(&operator, name).await?,
    }
    let limit = if operator.is_dry_run() { as_configured(&previous) } else { current(&admin, name)? };
    Ok(Changed { limit, previous, forgotten: None })
}

fn as_configured(limit: &Limit) -> Limit {
    let Setting { rate, burst, known, first_delay, max_delay, percent, .. } = limit.default.clone();
    Limit {
        rate,
        burst,
        known,
        first_delay,
        max_delay,
        percent,
        changed_at: None,
        changed_by: None,
        expires_at: None,
        shadow: false,
        tightened: None,
        ..limit.clone()
    }
}

/// What an alarm leaves of a policy.
fn tightened(set: &Policy, in_force: Option<&Policy>) -> Option<Setting> {
    in_force.filter(|policy| policy.value != set.value).map(|policy| setting(&policy.value))
}

fn limit(name: PolicyName, policy: &Policy, sum: Sum) -> Limit {
    let Setting { rate, burst, known, first_delay, max_delay, percent, window, lock } = setting(&policy.value);
    Limit {
        policy: name.as_str().to_owned(),
        kind: match policy.value {
            PolicyValue::Rate { .. } => Kind::Rate,
            PolicyValue::Ladder(_) => Kind::Ladder,
            PolicyValue::Count { .. } | PolicyValue::Hard(_) => Kind::Count,
            PolicyValue::Spread(_) => Kind::Spread,
            PolicyValue::Share(_) => Kind::Share,
        },
        rate,
        burst,
        known,
        first_delay,
        max_delay,
        percent,
        window,
        lock,
        default: setting(&policy.default),
        changed_at: policy.changed.as_ref().map(|(at_ms, _)| Timestamp(*at_ms)),
        changed_by: policy.changed.as_ref().map(|(_, who)| who.replacen("uid ", "uid:", 1)),
        expires_at: policy.expires_ms.map(Timestamp),
        shadow: policy.shadow == Shadow::Counted,
        tightened: None,
        refused: sum.refused,
        would_refuse: sum.would_refuse,
    }
}

fn span(ms: i64) -> Span {
    Span(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

pub(super) fn setting(value: &PolicyValue) -> Setting {
    match value {
        PolicyValue::Rate { rate, burst } => Setting { rate: Some(*rate), burst: Some(*burst), ..Setting::default() },
        PolicyValue::Ladder(ladder) => Setting {
            burst: Some(ladder.burst),
            first_delay: Some(span(ladder.first_delay_ms)),
            max_delay: Some(span(ladder.max_delay_ms)),
            ..Setting::default()
        },
        PolicyValue::Count { max } => Setting { burst: Some(*max), ..Setting::default() },
        PolicyValue::Hard(limit) => {
            Setting { burst: Some(limit.of(Lane::Unknown)), known: Some(limit.of(Lane::Known)), ..Setting::default() }
        }
        PolicyValue::Spread(spread) => Setting {
            rate: (spread.most == 0).then_some(Rate::Off),
            burst: Some(spread.most),
            window: Some(span(spread.window_ms)),
            lock: Some(span(spread.lock_ms)),
            ..Setting::default()
        },
        PolicyValue::Share(rule) => Setting {
            rate: (rule.percent >= 100).then_some(Rate::Off),
            burst: Some(rule.attempts),
            percent: Some(rule.percent),
            ..Setting::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login_ip() -> Limit {
        let value = PolicyValue::Rate { rate: "30/min".parse().unwrap(), burst: 20 };
        let live = PolicyValue::Rate { rate: "5/min".parse().unwrap(), burst: 2 };
        let policy = Policy {
            value: live,
            shadow: Shadow::Counted,
            default: value,
            changed: Some((7, "uid 0".to_owned())),
            expires_ms: Some(9),
        };
        limit(PolicyName::LoginIp, &policy, Sum { refused: 3, would_refuse: 4 })
    }

    #[test]
    fn a_policy_shows_what_is_live_and_where_it_returns_to() {
        let limit = login_ip();
        assert_eq!((limit.rate.unwrap().to_string(), limit.burst), ("5/min".to_owned(), Some(2)));
        assert_eq!(limit.default.rate.unwrap().to_string(), "30/min");
        assert_eq!(limit.changed_by.as_deref(), Some("uid:0"));
        assert!(limit.shadow);
        assert_eq!((limit.refused, limit.would_refuse), (3, 4));
    }

    #[test]
    fn a_dry_run_shows_what_would_be() {
        let request = SetRequest { burst: Some(9), lasting: "1m".parse().ok(), ..SetRequest::default() };
        let would = preview(&login_ip(), &request, 1_000);
        assert_eq!((would.burst, would.expires_at, would.shadow), (Some(9), Some(Timestamp(61_000)), false));
        assert_eq!(would.rate, login_ip().rate);
        let reset = as_configured(&login_ip());
        assert_eq!((reset.burst, reset.shadow, reset.expires_at), (Some(20), false, None));
    }
}
