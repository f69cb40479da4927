//! `systemctl reload`: done when it is done, and failed when nothing was changed.

use super::Lab;
use serde_json::json;
use std::time::Duration;

const FILE: &str = "/etc/authd/conf.d/50-test.toml";

/// How a registration is answered.
fn registration(lab: &Lab) -> u16 {
    lab.with_client(|client| async move {
        let body = json!({ "email": "late@example.org", "password": "x" });
        client.try_register(&body).await.status
    })
}

pub(super) fn good_and_bad(lab: &mut Lab) {
    let pid = lab.property("MainPID");
    assert_eq!(registration(lab), 400, "a weak password");
    lab.machine.write(FILE, "[registration]\nopen = false\n");
    lab.machine.ok("systemctl reload authd");
    assert_eq!(registration(lab), 403, "in force when the reload returns");

    lab.machine.write(FILE, "[registration]\nopen = true\n[log]\nlevel = \"loud\"\n");
    let failed = lab.machine.run("systemctl reload authd");
    assert_ne!(failed.code, Some(0), "{failed:?}");
    assert_eq!(registration(lab), 403, "nothing of a bad configuration counts");
    assert_eq!(lab.property("ActiveState"), "active");
    let journal = lab.machine.ok("journalctl --unit authd --no-pager --lines 20");
    assert!(journal.contains("log.level") && journal.contains("50-test.toml"), "{journal}");
    let line = "journalctl --unit authd --quiet --output cat AUTHD_EVENT=config.rejected";
    lab.machine.until(Duration::from_secs(10), line, |told| told.contains("rejected"));

    lab.machine.ok(&format!("rm {FILE} && systemctl reload authd"));
    assert_eq!(registration(lab), 400);
    assert_eq!(lab.property("MainPID"), pid, "no reload restarts");
    assert!(lab.property("ActiveState") == "active" && lab.property("SubState") == "running");
}
