//! The key-encryption key: as a credential, encrypted to the machine, and every way it can be wrong.

use super::Lab;
use std::time::Duration;

const KEK: &str = "/etc/authd/kek";
const USE_IT: &str = "[key]\nencryption_key = \"/etc/authd/kek\"\n";
const SETTING: &str = "/etc/authd/conf.d/50-kek.toml";
/// For secrets to move from one key to the other.
const MOVED: Duration = Duration::from_secs(60);
const ENCRYPTED: &str = "[Service]\nLoadCredential=\nLoadCredentialEncrypted=kek:authd.kek\n";
const SOCKETS: &str = "authd-admin.socket authd-read.socket authd-public.socket";

/// A start that is refused with the exit code for a configuration, is not tried again, and says why.
fn is_refused(lab: &Lab, make: &str, reason: &str) {
    lab.machine.ok(&format!("{make} && systemctl stop {SOCKETS} authd.service && systemctl reset-failed"));
    let started = lab.machine.run("systemctl start authd.service");
    assert_ne!(started.code, Some(0), "{make}");
    assert_eq!(lab.property("ExecMainStatus"), "78", "{make}");
    assert_eq!(lab.property("ActiveState"), "failed", "{make}");
    let journal = lab.machine.ok("journalctl --unit authd --no-pager --lines 15");
    assert!(journal.contains(reason), "{make}: {journal}");
}

/// Accounts of before cannot be opened with another key: the data directory is new.
fn start_afresh(lab: &Lab) {
    lab.machine.ok(&format!("systemctl stop {SOCKETS} authd.service; rm -rf /var/lib/authd/*; systemctl start authd"));
    lab.machine.ok("test ! -e /var/lib/authd/kek && authctl status");
    lab.with_client(|client| async move { client.register("kek@example.org").await });
}

/// The key before is a credential too, until nothing is encrypted under it.
fn change(lab: &Lab) {
    lab.machine.ok("cd /etc/credstore && mv authd.kek authd.kek.old && (umask 077; authd generate-key > authd.kek) \
         && systemctl restart authd");
    lab.machine
        .until(MOVED, "authctl status --output json", |told| told.contains("remove key.previous_encryption_key"));
    lab.machine.ok("rm /etc/credstore/authd.kek.old && systemctl restart authd && authctl status");
    lab.with_client(|client| async move { client.login("kek@example.org").await });
}

pub(super) fn credential(lab: &mut Lab) {
    let machine = &lab.machine;
    machine.ok("mkdir -p -m 0700 /etc/credstore && (umask 077; authd generate-key > /etc/credstore/authd.kek)");
    start_afresh(lab);
    change(lab);

    machine.write("/etc/systemd/system/authd.service.d/kek.conf", ENCRYPTED);
    machine.ok("mkdir -p -m 0700 /etc/credstore.encrypted && systemd-creds encrypt --with-key=host --name=kek \
         /etc/credstore/authd.kek /etc/credstore.encrypted/authd.kek && rm /etc/credstore/authd.kek \
         && systemctl daemon-reload && systemctl restart authd && authctl status");

    machine.write(SETTING, USE_IT);
    is_refused(lab, "true", "there is no such file");
    let made = format!("authd generate-key > {KEK} && chown authd {KEK}");
    is_refused(lab, &format!("{made} && chmod 0644 {KEK}"), "so others can use it");
    let weak = format!("head -c 32 /dev/zero | base64 > {KEK} && chmod 0400 {KEK}");
    is_refused(lab, &weak, "is a placeholder");
    is_refused(lab, &format!("rm -f {KEK} && {made} && chmod 0400 {KEK}"), "put the right file there");

    machine.ok(&format!("rm {SETTING} {KEK}; systemctl reset-failed; systemctl start {SOCKETS} && systemctl start authd && authctl status"));
}
