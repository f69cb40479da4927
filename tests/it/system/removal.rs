//! Removal keeps what was configured, purge keeps the accounts, and nothing else stays.

use super::Lab;

pub(super) fn remove_and_purge(lab: &mut Lab) {
    let machine = &lab.machine;
    let files = machine.ok("dpkg --listfiles authd-server");
    // What administrators made is theirs.
    machine.ok("rm -r /etc/credstore.encrypted /etc/systemd/system/authd.service.d");
    machine.ok("dpkg --remove authd-server");
    machine.ok("test -e /etc/authd/authd.toml && test -e /var/lib/authd/authd.db");
    assert_eq!(
        machine.run("grep -x authd /proc/[0-9]*/comm; grep authd /proc/net/unix").stdout,
        "",
        "nothing of it runs"
    );

    let purged = machine.run("dpkg --purge authd-server");
    assert_eq!(purged.code, Some(0), "{purged:?}");
    assert!(purged.stderr.contains("/var/lib/authd are kept"), "{purged:?}");
    machine.ok("test -e /var/lib/authd/authd.db");
    for path in files.lines().filter(|path| path.contains("authd") || path.contains("authctl")) {
        assert!(!machine.path(path).exists(), "{path} stays");
    }
    let left = machine.ok("find /etc /usr /lib /run /var/lib/systemd -iname '*authd*'");
    assert_eq!(left, "");
    assert_eq!(machine.ok("systemctl list-units --all --plain --no-legend 'authd*'"), "");
}
