//! The answer in a sentence, and what to do next.

use super::{Advice, Known, Standing, Subject, seconds, sentence};
use crate::domain::{
    address_rule::{AddressRule, Ruling, shown},
    audit::StoredEvent,
    hard::Lane,
    limit::PolicyName,
    session::{Session, SessionState},
};
use shared::{mode::Mode, time::Timestamp};

type Verdict = (String, Option<&'static str>);

/// The answer in a sentence, and the rule that decided.
pub(super) fn verdict(known: &Known) -> Verdict {
    match &known.subject {
        Subject::Session(session) => of_session(known, session),
        Subject::Account(standing) => of_account(known, standing),
        Subject::Address { text, sessions, .. } => of_address(known, text, *sessions),
        Subject::Request(id) => of_request(known, id),
    }
}

fn of_session(known: &Known, session: &Session) -> Verdict {
    let at = |at_ms: i64| Timestamp(at_ms);
    match session.state {
        SessionState::Live => {
            let closed = match known.mode {
                Mode::Normal | Mode::NoLogin => "",
                Mode::ReadOnly | Mode::Lockdown => ", but the mode refuses refreshes",
            };
            let text = format!(
                "the session is alive{closed}: it ends at {} unless it is refreshed, for good at {}",
                at(session.idle_expires_ms),
                at(session.expires_ms),
            );
            (text, (!closed.is_empty()).then_some("mode"))
        }
        SessionState::Expired if session.expires_ms <= session.idle_expires_ms => {
            (format!("the session reached its absolute end at {}", at(session.expires_ms)), Some("session.absolute"))
        }
        SessionState::Expired => {
            let (end, seen) = (at(session.idle_expires_ms), at(session.last_seen_ms));
            (format!("the session was not refreshed after {seen} and ended idle at {end}"), Some("session.idle"))
        }
        SessionState::Ended => {
            let (text, rule) = sentence::end(session.end_reason.as_deref().unwrap_or("unknown"));
            let when = session.ended_ms.map(|ended_ms| format!(", at {}", at(ended_ms))).unwrap_or_default();
            let replayed = last(known, |event| event.action == "session.replayed");
            let from = replayed.and_then(|event| event.network.as_ref());
            let from = from.map(|network| format!(", from {network}")).unwrap_or_default();
            (format!("{text}{when}{from}"), rule)
        }
    }
}

fn of_account(known: &Known, standing: &Standing) -> Verdict {
    let Standing { account, sessions, off, ladder_wait_ms } = standing;
    let off = |lane| off.contains(&lane);
    if let Some(disabled_ms) = account.disabled_ms {
        return (format!("the account is disabled since {}", Timestamp(disabled_ms)), Some("R11"));
    }
    match known.mode {
        Mode::NoLogin | Mode::ReadOnly | Mode::Lockdown => {
            return (format!("nobody can log in: the mode is {}", known.mode), Some("mode"));
        }
        Mode::Normal => {}
    }
    match (off(Lane::Unknown), off(Lane::Known)) {
        (true, true) => {
            ("password login is off for every device after too many failures in a row".to_owned(), Some("login.hard"))
        }
        (true, false) => {
            let text =
                "password login is off for unknown devices after too many failures in a row; a known device gets in";
            (text.to_owned(), Some("login.hard"))
        }
        (false, true) => {
            ("password login is off for known devices after too many failures in a row".to_owned(), Some("login.hard"))
        }
        (false, false) if *ladder_wait_ms > 0 => {
            let wait = seconds(*ladder_wait_ms);
            let text = format!(
                "logins from unknown devices are refused for another {wait}, also with the right password; a known \
                 device gets in"
            );
            (text, Some(PolicyName::LoginAccount.as_str()))
        }
        (false, false) => {
            let text = format!("nothing holds the account back; it has {}", live(*sessions));
            match last(known, |event| event.action == "login.denied") {
                Some(event) => {
                    let told = sentence::of(event);
                    (format!("{text}; the last refusal, at {}: {}", Timestamp(event.at_ms), told.text), told.rule)
                }
                None => (text, None),
            }
        }
    }
}

fn of_address(known: &Known, text: &str, sessions: u64) -> Verdict {
    if let Some(rule) = &known.rule {
        return (ruling(rule), Some(rule.ruling.as_str()));
    }
    if let Some(limited) = known.limited.iter().max_by_key(|limited| limited.wait_ms) {
        let (policy, wait) = (limited.policy.as_str(), super::wait(limited.wait_ms));
        return (format!("{} is at the limit {policy}{wait}", limited.key.as_str()), Some(policy));
    }
    match last(known, |event| event.outcome == "denied") {
        Some(event) => {
            let told = sentence::of(event);
            let text = format!(
                "nothing holds {text} back now; the last refusal of its network, at {}: {}",
                Timestamp(event.at_ms),
                told.text
            );
            (text, told.rule)
        }
        None => (format!("nothing holds {text} back; last seen from its network: {}", live(sessions)), None),
    }
}

fn of_request(known: &Known, id: &str) -> Verdict {
    let decisive = last(known, |event| event.outcome != "ok").or_else(|| known.events.last());
    match decisive {
        Some(event) => {
            let told = sentence::of(event);
            (told.text, told.rule)
        }
        None => (format!("no event is of request {id}"), None),
    }
}

fn live(sessions: u64) -> String {
    match sessions {
        0 => "no live session".to_owned(),
        1 => "1 live session".to_owned(),
        many => format!("{many} live sessions"),
    }
}

/// What a ban or an allowance says.
pub(super) fn ruling(rule: &AddressRule) -> String {
    let network = shown(rule.network);
    let what = match rule.ruling {
        Ruling::Ban => "is banned",
        Ruling::Allow => "is exempt from the limits of addresses",
    };
    let by = rule.created_by.replacen("uid ", "uid:", 1);
    let until = rule.expires_ms.map(|end_ms| format!(", until {}", Timestamp(end_ms))).unwrap_or_default();
    let why = rule.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{network} {what} since {} by {by}{why}{until}", Timestamp(rule.created_ms))
}

fn last(known: &Known, is_it: impl Fn(&StoredEvent) -> bool) -> Option<&StoredEvent> {
    known.events.iter().rev().find(|event| is_it(event))
}

/// What to do next, the most likely first.
pub(super) fn next(known: &Known) -> Vec<Advice> {
    let advice = |command: String, purpose| Advice { command, purpose };
    let mut next = match &known.subject {
        Subject::Session(session) => after_session(session),
        Subject::Account(standing) => after_account(known, standing),
        Subject::Address { text, .. } => after_address(known, text),
        Subject::Request(_) => after_request(known),
    };
    if known.mode != Mode::Normal {
        next.insert(0, advice("authctl mode show".to_owned(), "who set the mode, and until when"));
    }
    next
}

fn after_session(session: &Session) -> Vec<Advice> {
    let (id, user) = (&session.id, &session.account);
    let events = Advice { command: format!("authctl audit list --target {id}"), purpose: "every event of the session" };
    let account = Advice { command: format!("authctl why {user}"), purpose: "how its account stands" };
    let end = |purpose| Advice { command: format!("authctl user logout {user}"), purpose };
    match (session.state, session.end_reason.as_deref()) {
        (SessionState::Live, _) => {
            vec![Advice { command: format!("authctl session revoke {id}"), purpose: "end it" }, events, account]
        }
        (_, Some("replay")) => vec![
            end("if it was not the app that kept an old token: end all sessions of the account"),
            Advice {
                command: format!("authctl user reset-password {user}"),
                purpose: "and have its owner set a new password",
            },
            events,
        ],
        (_, Some("epoch_bump")) => {
            let bump = "authctl audit list --action mode.changed".to_owned();
            vec![Advice { command: bump, purpose: "who did it, and why" }, account]
        }
        (SessionState::Expired, _) => {
            let show = "authctl config show --origin".to_owned();
            vec![
                Advice { command: show, purpose: "session.idle and session.absolute say how long sessions live" },
                account,
            ]
        }
        (SessionState::Ended, _) => vec![events, account],
    }
}

fn after_account(known: &Known, standing: &Standing) -> Vec<Advice> {
    let id = &standing.account.id;
    let advice = |command: String, purpose| Advice { command, purpose };
    let mut next = Vec::new();
    if standing.account.disabled_ms.is_some() {
        next.push(advice(format!("authctl user enable {id}"), "take it into use again"));
    } else if !standing.off.is_empty() || standing.ladder_wait_ms > 0 {
        next.push(advice(format!("authctl user unlock {id}"), "forget the failures, once it is sure who made them"));
        next.push(advice(format!("authctl user reset-password {id}"), "or have its owner set a new password"));
    }
    let ended = last(known, |event| matches!(event.action.as_str(), "session.revoked" | "session.replayed"));
    if let Some(session) = ended.and_then(|event| event.target_id.as_ref()) {
        next.push(advice(format!("authctl why {session}"), "how its last session ended"));
    }
    next.push(advice(format!("authctl audit list --target {id}"), "every event about the account"));
    next.push(advice(format!("authctl session list --user {id}"), "its sessions, ended ones included"));
    next
}

fn after_address(known: &Known, text: &str) -> Vec<Advice> {
    let advice = |command: String, purpose| Advice { command, purpose };
    let mut next = Vec::new();
    match &known.rule {
        Some(rule) => {
            let (noun, network) = (rule.ruling.as_str(), shown(rule.network));
            next.push(advice(format!("authctl {noun} remove {network}"), "lift it"));
        }
        None => {
            next.extend(known.limited.iter().map(|limited| {
                let (policy, key) = (limited.policy.as_str(), limited.key.as_str().split(' ').next().unwrap_or(text));
                advice(format!("authctl limit reset {policy} --key {key}"), "forget what was counted")
            }));
            next.push(advice(format!("authctl ban add {text} --for 6h"), "keep it out, if it attacks"));
        }
    }
    next.push(advice(format!("authctl audit list --ip {text}"), "every event from its network"));
    next.push(advice(format!("authctl session list --ip {text}"), "sessions last seen from its network"));
    next
}

fn after_request(known: &Known) -> Vec<Advice> {
    let Some(event) = known.events.last() else { return Vec::new() };
    let subject = event.target_kind.as_deref().zip(event.target_id.as_ref());
    let of_target = subject
        .filter(|(kind, _)| ["session", "user"].contains(kind))
        .map(|(_, id)| Advice { command: format!("authctl why {id}"), purpose: "how what it was about stands" });
    let of_network = event.network.as_ref().map(|network| Advice {
        command: format!("authctl why {network}"),
        purpose: "what holds for the network it came from",
    });
    of_target.into_iter().chain(of_network).collect()
}
