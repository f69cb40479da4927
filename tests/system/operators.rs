//! Who operators are under the real unit, and what becomes of everybody else.

use super::Lab;
use serde_json::Value;

/// The operators' accounts on the machine, and their uids.
const ADMIN: (&str, u64) = ("ada", 2001);
const READER: (&str, u64) = ("bob", 2002);
const STRANGER: (&str, u64) = ("eve", 2003);
const NOBODY: (&str, u64) = ("nobody", 65_534);

/// The events of an action, newest first.
fn events(lab: &Lab, action: &str) -> Vec<Value> {
    let text = lab.machine.ok(&format!("authctl audit list --action {action} --limit 50 --output json"));
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    answer["data"].as_array().cloned().unwrap_or_default()
}

pub(super) fn ranks(lab: &mut Lab) {
    let machine = &lab.machine;
    for ((user, uid), groups) in [(ADMIN, "authd-admin"), (READER, "authd-read"), (STRANGER, "users")] {
        machine.ok(&format!("useradd --uid {uid} --groups {groups} {user}"));
    }
    let code = |user: &str, line: &str| lab.machine.run_as(user, line).code;
    machine.ok("authctl status");
    for (user, read, change) in
        [(ADMIN.0, Some(0), Some(0)), (READER.0, Some(0), Some(77)), (STRANGER.0, Some(77), Some(77))]
    {
        assert_eq!(code(user, "authctl session list"), read, "{user} reads");
        let end = "authctl limit set refresh.session off --reason load --yes";
        assert_eq!(code(user, end), change, "{user} changes");
    }
    assert_eq!(code(NOBODY.0, "authctl session list"), Some(77));
    let changed = events(lab, "limit.changed");
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!((&changed[0]["actor"]["uid"], &changed[0]["reason"]), (&ADMIN.1.into(), &"load".into()), "{changed:?}");
    // All addresses of the load to come are one.
    machine.ok("authctl allow add 127.0.0.0/8 --reason load --yes");
    assert_eq!(events(lab, "address.allowed")[0]["actor"]["uid"], 0);
}

/// Whoever logged in as somebody and became root is both.
pub(super) fn login_uid(lab: &mut Lab) {
    let (_, login) = ADMIN;
    let line = "authctl ban add 192.0.2.1 --reason drill --yes";
    lab.machine.ok(&format!("echo {login} > /proc/self/loginuid && {line}"));
    let actor = &events(lab, "address.banned")[0]["actor"];
    assert_eq!((&actor["uid"], &actor["login_uid"]), (&0.into(), &login.into()), "{actor}");
}

/// Somebody made the socket everybody's: the kernel's word counts, not the mode.
pub(super) fn open_socket(lab: &mut Lab) {
    lab.machine.ok("chmod 0777 /run/authd/admin.sock /run/authd/read.sock");
    for (user, _) in [NOBODY, STRANGER] {
        for socket in ["admin", "read"] {
            let ran = lab.machine.run_as(user, &format!("authctl --socket /run/authd/{socket}.sock session list"));
            assert_eq!(ran.code, Some(77), "{user}: {ran:?}");
            assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran:?}");
        }
    }
    // The daemon's own user may look and reload, nothing else.
    let own = |line: &str| lab.machine.run_as("authd", &format!("authctl --socket /run/authd/admin.sock {line}")).code;
    assert_eq!((own("status"), own("session list")), (Some(0), Some(77)));
    lab.machine.ok("chmod 0660 /run/authd/admin.sock /run/authd/read.sock");
    let refused = events(lab, "admin.refused");
    for (user, uid) in [NOBODY, STRANGER] {
        let of_user = refused.iter().filter(|event| event["actor"]["uid"] == uid && event["outcome"] == "denied");
        assert!(of_user.count() >= 2, "{user}: {refused:?}");
    }
}
