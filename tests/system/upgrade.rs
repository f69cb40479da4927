//! Upgrade of the package: no request is refused or lost meanwhile, and what administrators decided stays.

use super::{Lab, load};

/// A line that an administrator wrote into the configuration that the package brought.
pub(super) const EDITED: &str = "# edited by hand";

pub(super) fn under_load(lab: &mut Lab) {
    let installed = || lab.machine.ok("dpkg-query --show --showformat '${Version}' authd-server");
    let (old, pid) = (installed(), lab.property("MainPID"));
    lab.machine.ok(&format!("echo '{EDITED}' >> /etc/authd/authd.toml"));
    let tally = load::during(lab, || {
        lab.machine.ok("dpkg --install /root/1.deb </dev/null");
    });
    assert!(installed() > old, "{old}");
    assert_ne!(lab.property("MainPID"), pid, "the new program runs");
    lab.machine.ok(&format!("tail -n 1 /etc/authd/authd.toml | grep -x '{EDITED}'"));
    load::judge(lab, "upgrade of the package under load", &tally);
    let status = lab.machine.run("systemctl status --no-pager --lines 8 authd.service authd-public.socket").stdout;
    lab.note("systemctl status authd.service authd-public.socket", &status);
}

/// Without its public socket authd listens itself, and goes on doing so.
pub(super) fn of_disabled_socket(lab: &mut Lab) {
    let serves = || {
        assert_eq!(lab.machine.run("systemctl is-enabled authd-public.socket").stdout, "disabled\n");
        assert_eq!(lab.machine.run("systemctl is-active authd-public.socket").stdout, "inactive\n");
        lab.with_client(|client| async move { client.login("ada@example.org").await });
    };
    lab.machine.ok("systemctl disable --now authd-public.socket && systemctl restart authd");
    serves();
    let pid = lab.property("MainPID");
    lab.machine.ok("dpkg --install /root/1.deb");
    assert_ne!(lab.property("MainPID"), pid);
    serves();
    lab.machine.ok("systemctl stop authd && systemctl enable --now authd-public.socket && systemctl start authd");
}
