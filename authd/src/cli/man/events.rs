//! authd-events(7): every action of the audit log, and what of it the journal tells.

use crate::domain::audit::Action;
use shared::{
    notable::{NOTABLE, Notable, Severity, Told},
    roff::{escape, prose, tidy, title},
};
use std::fmt::Write as _;

const HEAD: &str = include_str!("authd-events.head.roff");
const TAIL: &str = include_str!("authd-events.tail.roff");

/// authd-events(7) in roff.
#[must_use]
pub fn events_page() -> String {
    let mut page = title("authd\\-events", 7, env!("CARGO_PKG_VERSION"), "authd") + HEAD;
    page += ".SH ACTIONS\nThe first word is the noun that `\\-\\-action` takes as \\(aqnoun.*\\(aq.\n"
        .replace('`', "")
        .as_str();
    let mut noun = "";
    for action in Action::ALL {
        let text = action.as_str();
        let (of, verb) = text.split_once('.').unwrap_or((text, ""));
        if of != noun {
            noun = of;
            let _ = writeln!(page, ".SS {}", escape(noun));
        }
        let kinds: Vec<&Notable> = NOTABLE.iter().filter(|kind| kind.action == text).collect();
        let _ = write!(page, ".TP\n.B {}.{}\n{}\n", escape(of), escape(verb), about(*action, &kinds));
    }
    page += ".SH NOTABLE\nThese are worth a notification.\n\
             .B \"authctl events\"\nshows them, and the journal has each with its\n.BR MESSAGE_ID ;\n\
             .B \"journalctl \\-x\"\nprints what to do.\n";
    for kind in NOTABLE {
        page += &notable(kind);
    }
    tidy(&(page + TAIL))
}

/// What an action is; a sentence of its own where no kind has one.
fn about(action: Action, kinds: &[&Notable]) -> String {
    match kinds {
        [kind] if kind.reason.is_none() => format!("{}.", prose(kind.title)),
        _ => format!("{}.", prose(said(action))),
    }
}

/// What happened, for actions that are nothing to be told of at once.
fn said(action: Action) -> &'static str {
    match action.as_str() {
        "user.created" => "An account was made, or its registration refused",
        "user.updated" => "Something of an account was changed, such as the cost of its password hash",
        "user.disabled" => "An account was taken out of use; its sessions ended",
        "user.enabled" => "An account was taken into use again",
        "user.unlocked" => "The failures of an account were forgotten",
        "user.deleted" => "An account was deleted, or its deletion refused",
        "user.imported" => "Accounts were imported",
        "user.exported" => "Accounts were exported",
        "password.changed" => "A password was changed, or the change refused; other sessions ended",
        "password.reset_issued" => "An operator issued a one-time reset",
        "password.reset" => "A password was reset, or the token refused",
        "login.succeeded" => "A login; the detail names its session",
        "login.denied" => "A login was refused; the reason names the rule",
        "session.opened" => "A session was opened",
        "session.refreshed" => "A refresh from another network or device, or a refused one (audit.refresh)",
        "session.retried" => "A refresh was repeated and got the same token again",
        "session.revoked" => "A session ended; the detail says why",
        "device.added" => "A device became known",
        "device.dropped" => "A device is not known any more",
        "limit.exceeded" => {
            "A limit or a ban refused; the reason names it. Repeats of a minute are counted into one event"
        }
        "address.ban_removed" => "A ban was lifted",
        "address.allow_removed" => "An allowance was lifted",
        "audit.read" => "Somebody read the audit log, or asked why. Repeats of a minute are counted into one event",
        "audit.purged" => "Old events were removed; a signed tombstone says how many and up to when",
        "audit.checkpointed" => "A signed checkpoint says how far the log has come",
        "audit.tampered" => "The log is not what was written: see `authctl audit verify`",
        "audit.lagging" => "Events wait longer than usual to be sealed",
        "key.rewrapped" => "A secret was encrypted again, under the key-encryption key in force",
        "database.backed_up" => "A backup was made",
        "database.move_begun" => "A move to another database began",
        "database.moved" => "Everything was moved to another database",
        "database.move_undone" => "A move to another database was given up",
        "config.reloaded" => "The configuration was read again",
        "clock.confirmed" => "An operator said that the time is right: old events may go by it",
        _ => "See the detail of the event",
    }
}

fn notable(kind: &Notable) -> String {
    let severity = match kind.severity {
        Severity::Notice => "notice",
        Severity::Warning => "warning",
    };
    let told = match kind.told {
        Told::FromLog => "told by every instance, from the audit log",
        Told::AtOnce => "told at once by the instance it happens to",
    };
    let reason = kind.reason.map(|reason| format!(" with the reason {reason}")).unwrap_or_default();
    let advice = prose(kind.advice);
    format!(
        ".TP\n.B {}\n{}.\nAction {}{}; {severity}; {told}.\n.br\nMESSAGE_ID={}\n.br\n{advice}\n",
        escape(kind.name),
        prose(kind.title),
        escape(kind.action),
        escape(&reason),
        kind.message_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_action_and_every_message_id() {
        let page = events_page();
        for action in Action::ALL {
            assert!(page.contains(&format!("\n.TP\n.B {}\n", escape(action.as_str()))), "{action:?}");
        }
        for kind in NOTABLE {
            assert!(page.contains(&format!("\nMESSAGE_ID={}\n", kind.message_id)), "{}", kind.name);
        }
    }

    #[test]
    fn every_action_is_explained_in_its_own_words() {
        let unsaid = Action::ALL.iter().filter(|action| {
            let kinds: Vec<&Notable> = NOTABLE.iter().filter(|kind| kind.action == action.as_str()).collect();
            about(**action, &kinds).starts_with("See the detail")
        });
        assert_eq!(unsaid.collect::<Vec<_>>(), Vec::<&Action>::new(), "say in `said` what these are");
    }
}
