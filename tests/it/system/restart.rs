//! Restart and upgrade while two hundred requests a second come: none is refused and none is lost.

use super::{
    Lab,
    load::{self, Tally},
};
use std::time::Duration;

const RESTARTS: usize = 3;
/// A line that an administrator wrote into the configuration that the package brought.
const EDITED: &str = "echo '# edited by hand' >> /etc/authd/authd.toml";

fn judge(lab: &mut Lab, title: &str, tally: &Tally) {
    println!("    {tally}");
    assert!(tally.failures.is_empty(), "{tally}\n{}", tally.failures.join("\n"));
    assert!(tally.answered > 500 && tally.reopened > 0, "{tally:?}");
    lab.note(title, &tally.to_string());
}

pub(super) fn under_load(lab: &mut Lab) {
    let pid = lab.property("MainPID");
    let tally = load::during(lab, || {
        for _ in 0..RESTARTS {
            lab.machine.ok("systemctl restart authd");
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    assert_ne!(lab.property("MainPID"), pid);
    judge(lab, &format!("{RESTARTS} restarts under load"), &tally);
}

pub(super) fn upgrade_under_load(lab: &mut Lab) {
    let installed = || lab.machine.ok("dpkg-query --show --showformat '${Version}' authd-server");
    let (old, pid) = (installed(), lab.property("MainPID"));
    lab.machine.ok(EDITED);
    let tally = load::during(lab, || {
        lab.machine.ok("dpkg --install /root/1.deb </dev/null");
    });
    assert!(installed() > old, "{old}");
    assert_ne!(lab.property("MainPID"), pid, "the new program runs");
    lab.machine.ok("tail -n 1 /etc/authd/authd.toml | grep 'edited by hand'");
    judge(lab, "upgrade of the package under load", &tally);
    let status = lab.machine.run("systemctl status --no-pager --lines 8 authd.service authd-public.socket").stdout;
    lab.note("systemctl status authd.service authd-public.socket", &status);
}
