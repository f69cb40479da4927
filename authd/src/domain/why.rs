//! Why something is as it is: facts about a session, an account, a request or an address, turned into an ordered story
//! with the rule that decided and what to do next.

mod rules;
mod sentence;
mod verdict;

pub use rules::RULES;

use crate::domain::{
    account::Account, address_rule::AddressRule, audit::StoredEvent, hard::Lane, refusals::Limited, session::Session,
};
use shared::{id::EventId, mode::Mode, time::Timestamp};

/// What somebody asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A session.
    Session(Box<Session>),
    /// An account.
    Account(Box<Standing>),
    /// An address or a network, as operators write it, with the coarse network that events know.
    Address {
        /// As it was asked.
        text: String,
        /// `192.0.2.0/24`.
        network: String,
        /// Live sessions last seen from the network.
        sessions: u64,
    },
    /// A request, by its id.
    Request(String),
}

/// How an account stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// It.
    pub account: Account,
    /// Live sessions.
    pub sessions: u64,
    /// Lanes that `login.hard` has turned off.
    pub off: Vec<Lane>,
    /// Milliseconds until the ladder lets the next unknown device try; 0: now.
    pub ladder_wait_ms: i64,
}

/// Everything that is known about the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What was asked about.
    pub subject: Subject,
    /// The present, in Unix milliseconds.
    pub now_ms: i64,
    /// Events that name it, oldest first.
    pub events: Vec<StoredEvent>,
    /// Limits that it is at on the instance that answers.
    pub limited: Vec<Limited>,
    /// The ban or allowance that counts for it.
    pub rule: Option<AddressRule>,
    /// The mode in force.
    pub mode: Mode,
}

/// One thing that happened or holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When, in Unix milliseconds; `None`: it holds now.
    pub at_ms: Option<i64>,
    /// What, in words.
    pub what: String,
    /// The rule behind it: an `R` number of authd-security(7), a policy, a setting.
    pub rule: Option<&'static str>,
    /// The event that says so.
    pub event: Option<EventId>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// A command that can be typed as it stands.
    pub command: String,
    /// What for.
    pub purpose: &'static str,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The answer in a sentence.
    pub verdict: String,
    /// The rule that decided, if one did.
    pub rule: Option<&'static str>,
    /// What led to it, oldest first; what holds now comes last.
    pub steps: Vec<Step>,
    /// What to do next, the most likely first.
    pub next: Vec<Advice>,
}

/// Tells the story of what is known.
#[must_use]
pub fn explain(known: &Known) -> Story {
    let mut steps = told_once(known.events.iter().map(step));
    steps.extend(holding(known));
    let (verdict, rule) = verdict::verdict(known);
    Story { verdict, rule, steps, next: verdict::next(known) }
}

/// The steps without what is repeated: of several that say the same, the first is told, with how many there were.
fn told_once(steps: impl Iterator<Item = Step>) -> Vec<Step> {
    let mut told: Vec<(Step, u32, Option<i64>)> = Vec::new();
    for step in steps {
        match told.last_mut() {
            Some((last, count, until_ms)) if last.what == step.what => (*count, *until_ms) = (*count + 1, step.at_ms),
            _ => told.push((step, 1, None)),
        }
    }
    let again = |(step, count, until_ms): (Step, u32, Option<i64>)| match until_ms {
        Some(until_ms) => {
            let what = format!("{}; {count} times, the last at {}", step.what, Timestamp(until_ms));
            Step { what, ..step }
        }
        None => step,
    };
    told.into_iter().map(again).collect()
}

fn step(event: &StoredEvent) -> Step {
    let told = sentence::of(event);
    Step { at_ms: Some(event.at_ms), what: told.text, rule: told.rule, event: Some(event.id.clone()) }
}

/// What holds now and is in no event.
fn holding(known: &Known) -> Vec<Step> {
    let holds = |what: String, rule| Step { at_ms: None, what, rule, event: None };
    let limits = known.limited.iter().map(|limited| {
        let (name, key) = (limited.policy.as_str(), limited.key.as_str());
        let refused = limited.refused.saturating_add(limited.would_refuse);
        let text = format!(
            "{name} is at its limit for {key}: {refused} refused in the last 10 minutes{}",
            wait(limited.wait_ms)
        );
        holds(text, Some(name))
    });
    let rule = known.rule.iter().map(|rule| holds(verdict::ruling(rule), Some(rule.ruling.as_str())));
    let mode = (known.mode != Mode::Normal).then(|| holds(format!("the mode is {}", known.mode), Some("mode")));
    limits.chain(rule).chain(mode).collect()
}

/// `, the next in 12s`; nothing where nobody waits.
fn wait(wait_ms: i64) -> String {
    if wait_ms > 0 { format!(", the next is let through in {}", seconds(wait_ms)) } else { String::new() }
}

/// A wait in whole seconds, rounded up: `12s`, `1h30m`.
fn seconds(wait_ms: i64) -> String {
    let whole = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1_000);
    shared::time::Span(std::time::Duration::from_secs(whole)).to_string()
}

#[cfg(test)]
mod tests;
