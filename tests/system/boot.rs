//! A machine that boots has its daemon, which nobody starts.

use super::{Lab, install};
use std::time::Duration;

const SERVING: Duration = Duration::from_secs(30);

pub(super) fn again(lab: &mut Lab) {
    lab.machine.reboot();
    lab.machine.until(SERVING, "systemctl is-active authd.service", |state| state == "active");
    install::sockets(lab);
    assert_eq!(lab.machine.ok("systemctl list-units --failed --plain --no-legend 'authd*'"), "");
    let cycles = lab.machine.run("journalctl --no-pager | grep --ignore-case 'ordering cycle'");
    assert_eq!(cycles.stdout, "");
    let tokens = lab.tokens.take().expect("somebody logged in");
    lab.tokens = Some(lab.with_client(|client| async move { client.refresh(&tokens).await }));
}
