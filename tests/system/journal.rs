//! What the journal of the machine has, by its fields and for people.

use super::Lab;
use serde_json::Value;
use std::time::Duration;

/// Events are told to the journal a moment after they are written.
const TOLD: Duration = Duration::from_secs(10);

/// Every entry of the unit that matches; there is one at least.
fn entries(lab: &Lab, matches: &str) -> Vec<Value> {
    let line = format!("journalctl --unit authd --quiet --output json {matches}");
    let text = lab.machine.until(TOLD, &line, |text| !text.is_empty());
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

pub(super) fn fields_and_catalog(lab: &mut Lab) {
    let started = entries(lab, "AUTHD_EVENT=daemon.started");
    assert_eq!(started.len(), 1, "{started:?}");
    assert_eq!(started[0]["MESSAGE_ID"], "6e704245a4ff41e3a7949b80dcb0b82e");
    let refused = entries(lab, "AUTHD_EVENT=admin.refused AUTHD_ACTOR_UID=2003");
    assert!(refused.iter().all(|entry| entry["MESSAGE_ID"] == "f5ec52ed0108447592e1bc7656670b14"), "{refused:?}");
    let tokens = lab.tokens.clone().expect("somebody logged in");
    let of_user = entries(lab, &format!("AUTHD_USER_ID={}", tokens.user));
    let with = |field: &str| of_user.iter().any(|entry| entry[field].is_string());
    assert!(["AUTHD_REQUEST_ID", "AUTHD_CLIENT_IP", "AUTHD_SESSION_ID"].into_iter().all(with), "{of_user:?}");
    let explained = lab.machine.ok("journalctl --unit authd --catalog --no-pager AUTHD_EVENT=admin.refused");
    assert!(explained.contains("Somebody was refused on an admin socket"), "{explained}");
    assert!(explained.contains("uid 2003") && explained.contains("man:authd(8)"), "{explained}");
    let all = lab.machine.ok("journalctl --unit authd --no-pager --output json");
    for secret in [&tokens.access, &tokens.refresh] {
        assert!(!all.contains(secret.as_str()));
    }
    let excerpt = lab.machine.ok("journalctl --unit authd --no-pager --catalog --lines 25");
    lab.note("journalctl --unit authd --catalog", &excerpt);
    let fields = "MESSAGE,MESSAGE_ID,AUTHD_EVENT,AUTHD_ACTOR_UID,PRIORITY";
    let line =
        format!("journalctl --unit authd --output json-pretty --output-fields {fields} AUTHD_EVENT=admin.refused");
    let shown = lab.machine.ok(&format!("{line} --lines 1"));
    lab.note(&line, &shown);
}
