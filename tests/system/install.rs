//! Installation, and what is there right after it.

use super::Lab;
use std::time::Duration;
use tests::client::Tokens;

const UNITS: [&str; 4] = ["authd.service", "authd-admin.socket", "authd-read.socket", "authd-public.socket"];

pub(super) fn package(lab: &mut Lab) {
    let machine = &lab.machine;
    for (number, package) in lab.packages.iter().enumerate() {
        std::fs::copy(package, machine.path(&format!("/root/{number}.deb"))).expect("the package was built");
    }
    machine.ok("dpkg --install /root/0.deb");
    for unit in UNITS {
        assert_eq!(machine.ok(&format!("systemctl is-enabled {unit}")).trim(), "enabled", "{unit}");
        machine.until(Duration::from_secs(20), &format!("systemctl is-active {unit}"), |state| state == "active");
    }
    assert_eq!(machine.ok("systemctl list-units --failed --plain --no-legend 'authd*'"), "");
    for file in [
        "/usr/share/man/man8/authd.8.gz",
        "/usr/share/man/man1/authctl.1.gz",
        "/usr/share/bash-completion/completions/authctl",
        "/usr/share/zsh/vendor-completions/_authctl",
        "/usr/share/fish/vendor_completions.d/authctl.fish",
        "/usr/share/doc/authd-server/copyright",
        "/usr/share/doc/authd-server/examples/single-host.conf",
    ] {
        assert!(machine.path(file).metadata().is_ok_and(|file| file.len() > 0), "{file}");
    }
    machine.ok("authd check");
    let verified = machine.run("cd /lib/systemd/system && systemd-analyze verify --man=no authd* 2>&1 | grep authd");
    assert_eq!(verified.stdout, "");
}

pub(super) fn sockets(lab: &mut Lab) {
    let machine = &lab.machine;
    let modes = machine.ok("stat --format '%a %U:%G %n' /run/authd /run/authd/* /var/lib/authd /etc/authd/authd.toml");
    let expected = "755 root:root /run/authd\n660 root:authd-admin /run/authd/admin.sock\n\
                    660 root:authd-read /run/authd/read.sock\n700 authd:authd /var/lib/authd\n\
                    644 root:root /etc/authd/authd.toml\n";
    assert_eq!(modes, expected);
    let abstract_ones = machine.run("grep '@' /proc/net/unix | grep --ignore-case auth");
    assert_eq!(abstract_ones.stdout, "");
    let pid = lab.property("MainPID");
    assert_eq!(machine.ok(&format!("stat --format %U /proc/{pid}")).trim(), "authd");
    assert!(lab.property("StatusText").starts_with("serving on 127.0.0.1:8480"), "{}", lab.property("StatusText"));
}

pub(super) fn doctor(lab: &mut Lab) {
    let ran = lab.machine.run("authctl doctor");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    lab.note("authctl doctor", &ran.stdout);
}

pub(super) fn login(lab: &mut Lab) {
    let tokens: Tokens = lab.with_client(|client| async move {
        client.register("ada@example.org").await;
        let tokens = client.login("ada@example.org").await;
        let tokens = client.refresh(&tokens).await;
        client.profile(&tokens.access).await.assert_status(200);
        client.verify(&tokens.access).await.assert_status(200);
        client.ready().await.assert_status(200);
        tokens
    });
    lab.tokens = Some(tokens);
}
