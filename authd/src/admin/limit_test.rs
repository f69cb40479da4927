//! `limit/test`: what a limit would have done to the attempts of the past.

use super::{
    Admin,
    call::Caller,
    limit::{policy_name, setting},
    problem::Denied,
};
use crate::{
    auth::{Extent, LimitChange},
    domain::{limit::PolicyName, replay::Effect},
};
use shared::{
    admin::limit::{TestRequest, Trial, Worst},
    time::{Span, Timestamp},
};
use std::{sync::Arc, time::Duration};

/// How far back when the request does not say.
const DAY: Span = Span(Duration::from_secs(86_400));

/// `limit/test`
pub(super) async fn test(admin: Arc<Admin>, by: Caller, request: TestRequest) -> Result<Trial, Denied> {
    let name = policy_name(&request.policy)?;
    let change = LimitChange {
        rate: request.rate,
        burst: request.burst,
        first_delay: request.first_delay,
        max_delay: request.max_delay,
        ..LimitChange::default()
    };
    let trial = admin.auth.try_limit(&by.reader(), name, change, request.replay.unwrap_or(DAY)).await?;
    let worst = |(key, effect): (String, Effect)| Worst {
        key,
        attempts: effect.attempts,
        refused: effect.refused,
        refused_logins: effect.refused_logins,
    };
    Ok(Trial {
        policy: name.as_str().to_owned(),
        tried: setting(&trial.value),
        since: Timestamp(trial.since_ms),
        until: Timestamp(trial.until_ms),
        cut: trial.extent == Extent::Cut,
        events: trial.events,
        attempts: trial.all.attempts,
        refused: trial.all.refused,
        refused_logins: trial.all.refused_logins,
        worst: trial.worst.into_iter().map(worst).collect(),
        notes: notes(name),
    })
}

/// What the audit does not know.
fn notes(name: PolicyName) -> Vec<String> {
    let by_key = match name {
        PolicyName::LoginIp => {
            "the audit knows networks (/24, /48), not addresses: each counts as one address, so this is the most that \
            could be refused"
        }
        PolicyName::LoginAccount => "attempts refused by address before an account was looked up are not in it",
        _ => "networks are recorded as the policy counts them (/24, /48)",
    };
    let spread = "refusals of one account in one minute that came from several networks are not in it: their event \
        names none";
    let spread = (name != PolicyName::LoginAccount).then(|| spread.to_owned());
    let counted = "refusals of one kind and minute are one event with their count, written when the minute is over: \
        they are spread over it, and those of the present minute are missing";
    [by_key.to_owned(), counted.to_owned()].into_iter().chain(spread).collect()
}
