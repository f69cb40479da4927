//! What operators want to hear of at once: the events that `authctl events` shows and the journal has an id for.
//!
//! Names and ids are a contract: monitoring is written against them. The catalog of the journal is made from this list.

use std::fmt::Write as _;

/// A kind of event worth a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notable {
    /// Its name: `AUTHD_EVENT` in the journal.
    pub name: &'static str,
    /// The audit action.
    pub action: &'static str,
    /// Only with this reason.
    pub reason: Option<&'static str>,
    /// `MESSAGE_ID` in the journal, 32 hexadecimal digits.
    pub message_id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// How the journal learns of it.
    pub told: Told,
    /// One line.
    pub title: &'static str,
    /// What to do; `@FIELD@` stands for a field of the journal entry.
    pub advice: &'static str,
}

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Notice,
    /// Somebody should look.
    Warning,
}

/// How the journal learns of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// From the audit log, on every instance.
    FromLog,
    /// When it happens, on the instance it happens to: the log may be away.
    AtOnce,
}

/// All kinds.
pub const NOTABLE: &[Notable] = &[
    Notable {
        name: "session.replayed",
        action: "session.replayed",
        reason: None,
        message_id: "47eaa0992cb6416d86dc283cf0480ff9",
        severity: Severity::Warning,
        told: Told::FromLog,
        title: "A spent refresh token was presented; its session was ended",
        advice: "Two parties hold tokens of session @AUTHD_SESSION_ID@: its user and somebody who copied them,\n\
         or an app that keeps old tokens. The session is ended and its user has to log in again. Look\n\
         at what else the account did with `authctl audit list --target @AUTHD_SESSION_ID@`; if it was\n\
         not the app, end all sessions of the account with `authctl user logout` and have its password\n\
         changed.",
    },
    Notable {
        name: "login.locked",
        action: "limit.exceeded",
        reason: Some("login.hard"),
        message_id: "1509bb0a9bf143318a118783593942a4",
        severity: Severity::Warning,
        told: Told::FromLog,
        title: "Password login of an account is off after too many failures in a row",
        advice: "Somebody has been guessing. The account is opened by a login with a known device, by a\n\
         one-time reset (`authctl user reset-password`) or by `authctl user unlock`. Raising a limit\n\
         does not open it.",
    },
    Notable {
        name: "admin.refused",
        action: "admin.refused",
        reason: None,
        message_id: "f5ec52ed0108447592e1bc7656670b14",
        severity: Severity::Warning,
        told: Told::FromLog,
        title: "Somebody was refused on an admin socket",
        advice: "A process of uid @AUTHD_ACTOR_UID@ tried to use a socket of authd without the right to. Add\n\
         its user to a group of admin.admin_groups, admin.read_groups or admin.metrics_groups if it\n\
         should have it; find out who it is if not.",
    },
    Notable {
        name: "key.staged",
        action: "key.staged",
        reason: None,
        message_id: "59ba1b0d5c904158a909406c2e416788",
        severity: Severity::Notice,
        told: Told::FromLog,
        title: "A signing key was staged",
        advice: "It is published now and signs once every verifier can know it. Nothing has to be done.",
    },
    Notable {
        name: "key.activated",
        action: "key.activated",
        reason: None,
        message_id: "5d32fe61985f44e7aa095ee82bb29976",
        severity: Severity::Notice,
        told: Told::FromLog,
        title: "A signing key signs now",
        advice: "The key before it stays published until the last token it signed has expired. Nothing has to\n\
         be done.",
    },
    Notable {
        name: "key.retired",
        action: "key.retired",
        reason: None,
        message_id: "9a1e40b458154a9999e2d15364c7a500",
        severity: Severity::Notice,
        told: Told::FromLog,
        title: "A signing key was retired",
        advice: "No token that it signed is valid any more. Nothing has to be done.",
    },
    Notable {
        name: "key.revoked",
        action: "key.revoked",
        reason: None,
        message_id: "68b4aef73eaa4e179d8a4eace693ae2d",
        severity: Severity::Warning,
        told: Told::FromLog,
        title: "A signing key was withdrawn",
        advice: "Tokens that it signed are refused. Verifiers that do not fetch the key set again accept them\n\
         until they do: check the gateways, and why the key was withdrawn with `authctl audit list\n\
         --action key.revoked`.",
    },
    Notable {
        name: "limit.changed",
        action: "limit.changed",
        reason: None,
        message_id: "142c83647806457793e783e7eb04b39b",
        severity: Severity::Notice,
        told: Told::FromLog,
        title: "A limit was changed",
        advice: "Uid @AUTHD_ACTOR_UID@ changed it while the daemon runs; `authctl limit list` shows all values\n\
         in force.",
    },
    Notable {
        name: "limit.reset",
        action: "limit.reset",
        reason: None,
        message_id: "3b041641178844f2a60df25453fe2e85",
        severity: Severity::Notice,
        told: Told::FromLog,
        title: "A limit is as configured again, or has forgotten a key",
        advice: "Uid @AUTHD_ACTOR_UID@ did it; `authctl limit list` shows all values in force.",
    },
    Notable {
        name: "mode.changed",
        action: "mode.changed",
        reason: None,
        message_id: "00a154d85ed84bccb5c719c2add9ca88",
        severity: Severity::Warning,
        told: Told::FromLog,
        title: "The daemon works in another mode",
        advice: "`authctl status` says what it refuses now.",
    },
    Notable {
        name: "config.rejected",
        action: "config.rejected",
        reason: None,
        message_id: "c0290103855d4f5599ec8712e8e3574f",
        severity: Severity::Warning,
        told: Told::FromLog,
        title: "A new configuration was rejected",
        advice: "Nothing has changed, and a restart would fail. `authctl config check` says what is wrong.",
    },
    Notable {
        name: "daemon.started",
        action: "daemon.started",
        reason: None,
        message_id: "6e704245a4ff41e3a7949b80dcb0b82e",
        severity: Severity::Notice,
        told: Told::FromLog,
        title: "The daemon has started",
        advice: "Nothing has to be done.",
    },
    Notable {
        name: "daemon.stopped",
        action: "daemon.stopped",
        reason: None,
        message_id: "de1b1471320a48eab7a788d106762832",
        severity: Severity::Notice,
        told: Told::FromLog,
        title: "The daemon has stopped",
        advice: "If nobody asked for it, the lines before this one say why.",
    },
    Notable {
        name: "attack.began",
        action: "attack.began",
        reason: None,
        message_id: "952a9a8650724a8f98551562f9b564f5",
        severity: Severity::Warning,
        told: Told::FromLog,
        title: "An alarm has begun: logins that fail, or registrations, beyond what is usual",
        advice: "Limit @AUTHD_ABOUT@ is passed on an instance, which leaves addresses a quarter of their rates\n\
         until it is over. `authctl limit top` shows who is refused; `authctl ban` keeps an address or\n\
         a network out.",
    },
    Notable {
        name: "attack.ended",
        action: "attack.ended",
        reason: None,
        message_id: "bf2d9d867f2b40f491d1c4d7d73ed2d0",
        severity: Severity::Notice,
        told: Told::FromLog,
        title: "An alarm is over",
        advice: "The rates of addresses are whole again. Nothing has to be done.",
    },
    Notable {
        name: "address.banned",
        action: "address.banned",
        reason: None,
        message_id: "5e8a45a766864e28a5dc5526d2856c65",
        severity: Severity::Notice,
        told: Told::FromLog,
        title: "An address or a network was banned",
        advice: "Uid @AUTHD_ACTOR_UID@ banned @AUTHD_ABOUT@; `authctl ban list` shows all bans, `authctl ban\n\
         remove` lifts one.",
    },
    Notable {
        name: "address.allowed",
        action: "address.allowed",
        reason: None,
        message_id: "18c875b3d229407caebb07bf580dde0c",
        severity: Severity::Warning,
        told: Told::FromLog,
        title: "An address or a network is exempt from the limits of addresses",
        advice: "Uid @AUTHD_ACTOR_UID@ allowed @AUTHD_ABOUT@; `authctl allow list` shows all allowances. Limits\n\
         of accounts hold there too.",
    },
    Notable {
        name: "breaker.opened",
        action: "breaker.opened",
        reason: None,
        message_id: "ad4f44547bf24b97924b1a9874c3aca3",
        severity: Severity::Warning,
        told: Told::AtOnce,
        title: "A circuit breaker opened: its dependency is not called",
        advice: "The @AUTHD_ABOUT@ did not answer several times in a row, or an operator holds the breaker open\n\
         (`authctl breaker list` says which). Without the database changes answer 503; without Redis\n\
         each instance counts limits for itself. It closes by itself unless it is held.",
    },
    Notable {
        name: "breaker.closed",
        action: "breaker.closed",
        reason: None,
        message_id: "6c8fc762209d46c48e9e3679a1e0a4f5",
        severity: Severity::Notice,
        told: Told::AtOnce,
        title: "A circuit breaker closed: its dependency is called again",
        advice: "The @AUTHD_ABOUT@ answers again, or an operator closed the breaker. Nothing has to be done.",
    },
    Notable {
        name: "clock.stepped",
        action: "clock.stepped",
        reason: None,
        message_id: "4350cc1721e54f21acd552a09ddbef12",
        severity: Severity::Warning,
        told: Told::FromLog,
        title: "The clock was moved",
        advice: "Check the time synchronisation of this machine and of the database's.",
    },
    Notable {
        name: "storage.lost",
        action: "storage.lost",
        reason: None,
        message_id: "9ed89eddd6844325b600e6129ec04ece",
        severity: Severity::Warning,
        told: Told::AtOnce,
        title: "The database does not answer",
        advice: "Logins, refreshes and changes are answered 503; tokens are still verified from memory. Check\n\
         the database and the way to it; authd notices its return by itself. `authctl status` says\n\
         since when it is away.",
    },
    Notable {
        name: "storage.returned",
        action: "storage.returned",
        reason: None,
        message_id: "627bf3225fac4cb6a34acb115ee347dd",
        severity: Severity::Notice,
        told: Told::AtOnce,
        title: "The database answers again",
        advice: "What was refused meanwhile is being written into the audit log. Nothing has to be done.",
    },
    Notable {
        name: "audit.tampered",
        action: "audit.tampered",
        reason: None,
        message_id: "b6f1a3c09d7e4b52a8c4e1f07d93265a",
        severity: Severity::Warning,
        told: Told::FromLog,
        title: "Somebody without the audit key wrote into the audit log",
        advice: "Event @AUTHD_ABOUT@ has a wrong MAC: whoever wrote or changed it can write to the database and does\n\
         not have the key. Find out who can. `authctl audit verify` says what else was touched;\n\
         `authctl audit show @AUTHD_ABOUT@` shows the event.",
    },
    Notable {
        name: "audit.lagging",
        action: "audit.lagging",
        reason: None,
        message_id: "3e0d58b7c24f4d9c9a61f2b8e07d4c13",
        severity: Severity::Warning,
        told: Told::AtOnce,
        title: "Events of the audit log are not sealed",
        advice: "Events are kept, but have had no place in the chain for more than ten seconds. The log of authd\n\
         says why the job `seal` fails; `authctl audit verify` says whether somebody touched the chain.",
    },
];

/// The kind of an event, if it is worth a notification.
#[must_use]
pub fn of(action: &str, reason: Option<&str>) -> Option<&'static Notable> {
    NOTABLE.iter().find(|kind| kind.action == action && kind.reason.is_none_or(|wanted| reason == Some(wanted)))
}

/// The catalog of the journal: `systemd/authd.catalog`.
#[must_use]
pub fn catalog() -> String {
    let mut text = String::from(
        "# Explanations for journalctl --catalog, installed as /usr/lib/systemd/catalog/authd.catalog.\n\
         # Written from the list of notable events: run `AUTHD_BLESS=1 tests/run catalog` after changing it.\n",
    );
    for kind in NOTABLE {
        let Notable { message_id, name, title, advice, .. } = kind;
        let _ = write!(
            text,
            "\n-- {message_id}\nSubject: {title}\nDefined-By: authd\nDocumentation: man:authd(8)\n\n{advice}\n\n\
             The event is called {name}; `authctl events` has those before it.\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_unique_and_ids_are_what_the_journal_takes() {
        for (place, kind) in NOTABLE.iter().enumerate() {
            let is_hex = |text: &str| text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            assert!(is_hex(kind.message_id), "{}", kind.name);
            for other in NOTABLE.iter().skip(place + 1) {
                assert!(kind.name != other.name && kind.message_id != other.message_id, "{}", kind.name);
            }
        }
    }

    #[test]
    fn a_kind_with_a_reason_is_that_reason_alone() {
        assert_eq!(of("limit.exceeded", Some("login.hard")).map(|kind| kind.name), Some("login.locked"));
        assert_eq!(of("limit.exceeded", Some("login.ip")), None);
        assert_eq!(of("session.replayed", Some("anything")).map(|kind| kind.name), Some("session.replayed"));
        assert_eq!(of("login.succeeded", None), None);
    }
}
