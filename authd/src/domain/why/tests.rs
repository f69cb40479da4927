use super::*;
use crate::domain::{
    address_rule::{Ruling, parse_network},
    limit::{LimitKey, PolicyName},
    session::{EndReason, Network, SessionState, Transport},
};
use shared::id::{SessionId, UserId};

const NOW_MS: i64 = 1_700_000_000_000;

fn event(at_ms: i64, action: &str, outcome: &str, reason: Option<&str>) -> StoredEvent {
    StoredEvent {
        id: EventId::new(at_ms, [7; 10]),
        seq: None,
        at_ms,
        action: action.to_owned(),
        outcome: outcome.to_owned(),
        reason: reason.map(str::to_owned),
        actor_kind: "anonymous".to_owned(),
        actor_id: None,
        actor_uid: None,
        actor_login_uid: None,
        actor_pid: None,
        target_kind: None,
        target_id: None,
        network: Some("192.0.2.0/24".to_owned()),
        device: None,
        request_id: None,
        detail: Vec::new(),
    }
}

fn session(state: SessionState, end: Option<EndReason>) -> Session {
    Session {
        id: SessionId::new(1, [1; 10]),
        account: UserId::new(1, [1; 10]),
        email: None,
        state,
        created_ms: NOW_MS - 9_000,
        last_seen_ms: NOW_MS - 8_000,
        idle_expires_ms: NOW_MS - 1_000,
        expires_ms: NOW_MS + 1_000,
        ended_ms: end.map(|_| NOW_MS - 5_000),
        end_reason: end.map(|end| end.as_str().to_owned()),
        generation: 2,
        device: None,
        network: Some(Network::stored("198.51.100.0/24".to_owned())),
        transport: Transport::Body,
        amr: vec!["pwd".to_owned()],
    }
}

fn known(subject: Subject, events: Vec<StoredEvent>) -> Known {
    Known { subject, now_ms: NOW_MS, events, limited: Vec::new(), rule: None, mode: Mode::Normal }
}

fn standing(off: Vec<Lane>, ladder_wait_ms: i64) -> Standing {
    let account = Account {
        id: UserId::new(1, [1; 10]),
        email: None,
        email_verified_ms: None,
        username: None,
        epoch: 0,
        created_ms: 0,
        last_login_ms: None,
        disabled_ms: None,
    };
    Standing { account, sessions: 3, off, ladder_wait_ms }
}

#[test]
fn a_replay_names_its_rule_its_time_and_its_network() {
    let events = vec![
        event(NOW_MS - 9_000, "session.opened", "ok", None),
        event(NOW_MS - 5_000, "session.replayed", "denied", Some("spent_token")),
    ];
    let subject = Subject::Session(Box::new(session(SessionState::Ended, Some(EndReason::Replay))));
    let story = explain(&known(subject, events));
    assert_eq!(story.rule, Some("R3"));
    assert!(story.verdict.contains("2023-11-14T22:13:15") && story.verdict.contains("192.0.2.0/24"), "{story:?}");
    assert_eq!(story.steps.iter().map(|step| step.rule).collect::<Vec<_>>(), [None, Some("R3")]);
    assert!(story.next.first().is_some_and(|advice| advice.command.starts_with("authctl user logout usr_")));
}

#[test]
fn every_reason_a_session_can_end_for_has_a_rule_of_its_own_words() {
    for end in EndReason::ALL {
        let subject = Subject::Session(Box::new(session(SessionState::Ended, Some(end))));
        let story = explain(&known(subject, Vec::new()));
        assert!(story.rule.is_some() && !story.verdict.contains('('), "{end:?}: {story:?}");
    }
}

#[test]
fn idle_and_absolute_ends_are_told_apart() {
    let rule = |session: Session| explain(&known(Subject::Session(Box::new(session)), Vec::new())).rule;
    let idle = session(SessionState::Expired, None);
    let absolute = Session { idle_expires_ms: NOW_MS - 500, expires_ms: NOW_MS - 500, ..idle.clone() };
    assert_eq!((rule(idle), rule(absolute)), (Some("session.idle"), Some("session.absolute")));
}

#[test]
fn an_account_on_the_ladder_says_how_long_and_who_gets_in() {
    let story = explain(&known(Subject::Account(Box::new(standing(vec![], 11_400))), Vec::new()));
    assert_eq!(story.rule, Some("login.account"));
    assert!(story.verdict.contains("12s") && story.verdict.contains("known device gets in"), "{story:?}");
    assert!(story.next.iter().any(|advice| advice.command.starts_with("authctl user unlock usr_")));
    let off = explain(&known(Subject::Account(Box::new(standing(vec![Lane::Unknown], 0))), Vec::new()));
    assert_eq!(off.rule, Some("login.hard"));
}

#[test]
fn an_account_that_nothing_holds_back_tells_of_its_last_refusal() {
    let events = vec![event(NOW_MS - 100, "login.denied", "denied", Some("credentials"))];
    let story = explain(&known(Subject::Account(Box::new(standing(vec![], 0))), events));
    assert_eq!(story.rule, Some("password"));
    assert!(story.verdict.contains("nothing holds") && story.verdict.contains("password was wrong"), "{story:?}");
}

#[test]
fn what_repeats_itself_is_told_once_with_how_often() {
    let denied = |at_ms| event(at_ms, "login.denied", "denied", Some("credentials"));
    let events =
        vec![denied(NOW_MS - 9), denied(NOW_MS - 8), denied(NOW_MS), event(NOW_MS, "login.succeeded", "ok", None)];
    let steps = explain(&known(Subject::Account(Box::new(standing(vec![], 0))), events)).steps;
    assert_eq!(steps.iter().map(|step| step.at_ms).collect::<Vec<_>>(), [Some(NOW_MS - 9), Some(NOW_MS)]);
    assert!(steps.first().is_some_and(|step| step.what.contains("3 times, the last at 2023")), "{steps:?}");
}

#[test]
fn a_ban_decides_before_a_limit() {
    let subject = Subject::Address { text: "192.0.2.7".to_owned(), network: "192.0.2.0/24".to_owned(), sessions: 0 };
    let limited = Limited {
        policy: PolicyName::LoginIp,
        key: LimitKey::id("192.0.2.7"),
        since_ms: NOW_MS,
        last_ms: NOW_MS,
        wait_ms: 2_000,
        refused: 4,
        would_refuse: 0,
    };
    let ban = AddressRule {
        network: parse_network("192.0.2.0/24").unwrap(),
        ruling: Ruling::Ban,
        reason: Some("spraying".to_owned()),
        created_ms: NOW_MS,
        created_by: "uid 0".to_owned(),
        expires_ms: None,
    };
    let at_limit = Known { limited: vec![limited], ..known(subject, Vec::new()) };
    assert_eq!(explain(&at_limit).rule, Some("login.ip"));
    let banned = explain(&Known { rule: Some(ban), ..at_limit });
    assert_eq!(banned.rule, Some("ban"));
    assert!(banned.verdict.contains("spraying") && banned.verdict.contains("uid:0"), "{banned:?}");
    assert_eq!(banned.next.first().map(|advice| advice.command.as_str()), Some("authctl ban remove 192.0.2.0/24"));
}

#[test]
fn a_request_is_told_by_what_was_refused_in_it() {
    let events = vec![
        event(NOW_MS, "session.refreshed", "denied", Some("unknown_token")),
        event(NOW_MS, "daemon.started", "ok", None),
    ];
    assert_eq!(explain(&known(Subject::Request("r1".to_owned()), events)).rule, Some("R4"));
}

#[test]
fn every_policy_that_refuses_has_words() {
    for policy in PolicyName::ALL {
        let only_alarms = matches!(policy, PolicyName::LoginGlobal | PolicyName::RegisterGlobal);
        assert!(only_alarms || sentence::refusal(policy.as_str()).is_some(), "{}", policy.as_str());
    }
}

#[test]
fn a_mode_that_refuses_logins_is_the_answer_for_an_account() {
    let facts = known(Subject::Account(Box::new(standing(vec![], 0))), Vec::new());
    let story = explain(&Known { mode: Mode::NoLogin, ..facts });
    assert_eq!(story.rule, Some("mode"));
    assert_eq!(story.next.first().map(|advice| advice.command.as_str()), Some("authctl mode show"));
}
