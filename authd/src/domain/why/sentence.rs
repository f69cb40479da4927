//! One event as a sentence, with the rule behind it.

use crate::domain::audit::StoredEvent;

/// A sentence and its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) text: String,
    pub(super) rule: Option<&'static str>,
}

/// What the event says.
pub(super) fn of(event: &StoredEvent) -> Told {
    let reason = event.reason.as_deref().unwrap_or_default();
    let (what, rule) = match event.action.as_str() {
        "session.revoked" => end(fact(event, "end_reason").unwrap_or(reason)),
        "session.replayed" => replay(reason),
        action => match refusal(reason).filter(|_| event.outcome == "denied") {
            Some((why, rule)) => (format!("{}: {why}", refused(action)), Some(rule)),
            None => happened(action, event),
        },
    };
    Told { text: format!("{what}{}", circumstances(event)), rule }
}

pub(super) fn fact<'a>(event: &'a StoredEvent, name: &str) -> Option<&'a str> {
    event.detail.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// Why a session ended, and by which rule.
pub(super) fn end(reason: &str) -> (String, Option<&'static str>) {
    let (text, rule) = match reason {
        "logout" => ("its user logged out", "R15"),
        "user_revoked" => ("its user ended it from another session", "R7"),
        "operator_revoked" => ("an operator ended it", "R7"),
        "replay" => ("a spent refresh token was presented, so two parties hold its tokens", "R3"),
        "evicted" => {
            ("its account has as many sessions as it may have, and this one was used least", "session.max_per_account")
        }
        "password_changed" => ("the password was changed", "R11"),
        "password_reset" => ("the password was reset", "R11"),
        "disabled" => ("the account was disabled", "R11"),
        "deleted" => ("the account was deleted", "R11"),
        "reauth_failures" => ("the password was given wrong too often inside it", "reauth.session"),
        "superseded" => ("the registration that opened it was repeated", "Idempotency-Key"),
        "epoch_bump" => ("an operator ended every session opened before", "R13"),
        other => return (format!("the session ended ({other})"), None),
    };
    (format!("the session ended: {text}"), Some(rule))
}

/// How a token came back that was spent.
fn replay(kind: &str) -> (String, Option<&'static str>) {
    let (text, rule) = match kind {
        "parent_after_grace" => ("the token before the current one came back after its grace", "R3"),
        "kept_in_step" => ("somebody elsewhere kept in step with its tokens, three times in a row", "R16"),
        _ => ("a refresh token that was spent before came back", "R3"),
    };
    (format!("{text}: the session was ended"), Some(rule))
}

/// Why something was refused: the word in the event, what it means, the rule.
pub(super) fn refusal(reason: &str) -> Option<(&'static str, &'static str)> {
    Some(match reason {
        "credentials" => {
            ("the password was wrong, or there is no such account, or it has none or is disabled", "password")
        }
        "account_changed" => ("the account was changed while its password was checked", "R11"),
        "session_limit" => ("the account has as many sessions as it may have", "session.max_per_account"),
        "duplicate_email" => ("the e-mail address has an account", "register"),
        "duplicate_username" => ("the user name has an account", "register"),
        "unknown_token" => ("the token is of no session that is known", "R4"),
        "session_expired" => ("the session had reached its idle or absolute end", "R1"),
        "session_ended" => ("the session had ended before", "R3"),
        "transport" => ("the token came by cookie and belongs into the body, or the reverse", "R14"),
        "idempotency_key" => ("the first call carried another Idempotency-Key, or its answer is used up", "R2k"),
        "ban" => ("the address is banned", "ban"),
        "login.ip" => ("too many attempts from the address", "login.ip"),
        "login.net" => ("too many attempts from the network", "login.net"),
        "login.account" => {
            ("after failures from unknown devices the account has to wait; a known device gets in", "login.account")
        }
        "login.device" => ("too many attempts from this known device", "login.device"),
        "login.device_failures" => {
            ("too many wrong passwords in a row from this known device", "login.device_failures")
        }
        "login.hard" => ("too many wrong passwords in a row: this lane of the account is off", "login.hard"),
        "login.spray" => ("too many accounts failed from the address", "login.spray"),
        "login.spray_net" => ("too many accounts failed from the network", "login.spray_net"),
        "reauth.session" => ("too many wrong passwords inside the session", "reauth.session"),
        "refresh.session" => ("the session refreshes too often", "refresh.session"),
        "refresh.ip" => ("too many spent or unknown tokens from the address", "refresh.ip"),
        "register.ip" => ("too many registrations from the address", "register.ip"),
        "admin.uid" => ("too many calls of this user id", "admin.uid"),
        _ => return None,
    })
}

fn refused(action: &str) -> &'static str {
    match action {
        "login.denied" => "login refused",
        "session.refreshed" => "refresh refused",
        "user.created" => "registration refused",
        "password.changed" => "password change refused",
        "password.reset" => "password reset refused",
        "user.deleted" => "deletion refused",
        "limit.exceeded" => "over the limit",
        "admin.refused" => "refused on an admin socket",
        _ => "refused",
    }
}

/// What succeeded, or was refused for a reason in somebody's own words.
fn happened(action: &str, event: &StoredEvent) -> (String, Option<&'static str>) {
    let (text, rule) = match action {
        "login.succeeded" => ("login", None),
        "session.opened" => ("a session was opened", None),
        "session.refreshed" => (moved(event), Some("R1")),
        "session.retried" => retried(event),
        "user.created" => ("the account was made", None),
        "user.disabled" => ("the account was disabled", Some("R11")),
        "user.enabled" => ("the account was enabled", None),
        "user.unlocked" => ("the account was unlocked", Some("login.hard")),
        "user.deleted" => ("the account was deleted", Some("R11")),
        "password.changed" => ("the password was changed", Some("R11")),
        "password.reset_issued" => ("a one-time reset was issued", None),
        "password.reset" => ("the password was reset", Some("R11")),
        "device.added" => ("a device became known", None),
        "device.dropped" => ("a device is not known any more", Some("login.device_failures")),
        "address.banned" => ("banned", Some("ban")),
        "address.ban_removed" => ("the ban was lifted", Some("ban")),
        "address.allowed" => ("exempt from the limits of addresses", Some("allow")),
        "address.allow_removed" => ("not exempt any more", Some("allow")),
        "limit.reset" => ("what was counted was forgotten", None),
        other => return (format!("{other} ({})", event.outcome), None),
    };
    (text.to_owned(), rule)
}

fn moved(event: &StoredEvent) -> &'static str {
    match (fact(event, "network_before"), fact(event, "device_before")) {
        (Some(_), Some(_)) => "refreshed from another network and with another device",
        (Some(_), None) => "refreshed from another network",
        (None, Some(_)) => "refreshed with another device",
        (None, None) => "refreshed",
    }
}

fn retried(event: &StoredEvent) -> (&'static str, Option<&'static str>) {
    match fact(event, "remark") {
        Some("elsewhere") => {
            ("a refresh was repeated from another network and device, and got the same token", Some("R16"))
        }
        Some(_) => ("a refresh was repeated after the clock went back, and got the same token", Some("R5")),
        None => ("a refresh was repeated, its reply lost, and got the same token", Some("R2")),
    }
}

/// ` from 192.0.2.0/24, device Firefox, 4 times, by uid 0 ("asked for by phone", OPS-17)`.
fn circumstances(event: &StoredEvent) -> String {
    let mut text = String::new();
    let mut add = |part: String| text.push_str(&part);
    if let Some(network) = &event.network {
        add(format!(", from {network}"));
    }
    if let Some(device) = &event.device {
        add(format!(", device {device}"));
    }
    if let Some(count) = fact(event, "count") {
        add(format!(", {count} times in a minute"));
    }
    if let Some(uid) = event.actor_uid {
        let words = event.reason.iter().map(String::as_str).chain(fact(event, "ticket")).collect::<Vec<_>>().join(", ");
        let words = if words.is_empty() { words } else { format!(" ({words})") };
        add(format!(", by uid {uid}{words}"));
    }
    text
}
