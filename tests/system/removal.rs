//! Removal keeps what was configured and the data, purge keeps the accounts, and nothing else stays.

use super::{Lab, upgrade::EDITED};

/// Everything the machine has of authd, but its data, the list of accounts and what was brought to it.
const LEFT: &str = "find / /run /tmp /dev/shm -xdev \\( -iname '*authd*' -o -iname '*authctl*' -o -user authd \
     -o -group authd -o -group authd-admin -o -group authd-read \\) ! -path '/var/lib/authd*'";

pub(super) fn remove_and_purge(lab: &mut Lab) {
    let machine = &lab.machine;
    remove(lab);
    machine.ok("dpkg --install /root/1.deb && authctl status");
    lab.with_client(|client| async move { client.login("kek@example.org").await });

    remove(lab);
    // What administrators made is theirs.
    machine.ok("rm -r /etc/credstore.encrypted /etc/systemd/system/authd.service.d && systemctl daemon-reload");
    let purged = machine.run("dpkg --purge authd-server");
    assert_eq!(purged.code, Some(0), "{purged:?}");
    assert!(purged.stderr.contains("/var/lib/authd are kept"), "{purged:?}");
    machine.ok("test -e /var/lib/authd/authd.db && getent passwd authd && getent group authd-admin authd-read");
    assert_eq!(machine.ok(LEFT), "");
    assert_eq!(machine.ok("systemctl list-units --all --plain --no-legend 'authd*'"), "");
}

/// Nothing runs then, and nothing that somebody wrote is lost.
fn remove(lab: &Lab) {
    lab.machine.ok("dpkg --remove authd-server");
    lab.machine.ok(&format!("grep -x '{EDITED}' /etc/authd/authd.toml && test -e /var/lib/authd/authd.db"));
    let running = lab.machine.run("grep -x authd /proc/[0-9]*/comm; grep authd /proc/net/unix");
    assert_eq!(running.stdout, "");
}
