//! A daemon that dies or hangs is started again.

use super::Lab;
use std::time::Duration;

const BACK: Duration = Duration::from_secs(30);

/// Does something to the daemon and waits until another runs and is ready.
fn replaced(lab: &Lab, line: &str) {
    let restarts = || lab.property("NRestarts").parse::<u32>().expect("a number");
    let (pid, before) = (lab.property("MainPID"), restarts());
    lab.machine.ok(&format!("kill -{line} {pid}"));
    lab.machine.until(BACK, "systemctl show --property=MainPID --value authd.service", |now| now != pid && now != "0");
    lab.machine.until(BACK, "systemctl is-active authd.service", |state| state == "active");
    lab.with_client(|client| async move { client.ready().await.assert_status(200).clone() });
    assert_eq!(restarts(), before + 1);
}

pub(super) fn killed(lab: &mut Lab) {
    replaced(lab, "KILL");
    let tokens = lab.tokens.clone().expect("somebody logged in");
    let refreshed = lab.with_client(|client| async move { client.refresh(&tokens).await });
    lab.tokens = Some(refreshed);
}

/// The watchdog of the unit, with less patience for the test.
pub(super) fn halted(lab: &mut Lab) {
    assert_eq!(lab.property("WatchdogUSec"), "30s");
    lab.machine.write("/etc/systemd/system/authd.service.d/watchdog.conf", "[Service]\nWatchdogSec=3s\n");
    lab.machine.ok("systemctl daemon-reload && systemctl restart authd");
    replaced(lab, "STOP");
    lab.machine.ok("journalctl --unit authd --no-pager | grep 'Watchdog timeout'");
    lab.machine.ok("rm -r /etc/systemd/system/authd.service.d && systemctl daemon-reload && systemctl restart authd");
}
