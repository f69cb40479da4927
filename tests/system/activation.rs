//! A connection starts the service, but not for ever one that cannot start.

use super::{ADDRESS, Lab, install};
use std::{net::TcpStream, time::Duration};

const SETTLED: Duration = Duration::from_secs(30);
const BROKEN: &str = "/etc/authd/conf.d/50-broken.toml";

pub(super) fn by_connection(lab: &mut Lab) {
    let stop = || {
        lab.machine.ok("systemctl stop authd.service");
        assert_eq!(lab.property("ActiveState"), "inactive");
    };
    stop();
    lab.with_client(|client| async move { client.login("ada@example.org").await });
    stop();
    lab.machine.ok("authctl status");
    lab.machine.until(SETTLED, "systemctl is-active authd.service", |state| state == "active");
}

/// Whoever waits is refused when systemd gives up, and the start after the fault was put right serves again.
pub(super) fn not_for_ever(lab: &mut Lab) {
    lab.machine.write(BROKEN, "[log]\nlevel = \"loud\"\n");
    assert_ne!(lab.machine.run("systemctl restart authd").code, Some(0));
    let waiting = lab.machine.in_network(|| TcpStream::connect(ADDRESS).expect("the socket is open"));
    lab.machine.until(SETTLED, "systemctl is-active authd-public.socket", |state| state == "failed");
    drop(waiting);
    let refused = lab.machine.in_network(|| TcpStream::connect(ADDRESS).map(drop));
    assert!(refused.is_err(), "nobody waits for a daemon that does not come");
    assert_eq!(lab.property("ExecMainStatus"), "78");

    lab.machine.ok(&format!("rm {BROKEN}"));
    lab.machine.until(SETTLED, "systemctl start authd; systemctl is-active authd", |state| state == "active");
    install::sockets(lab);
    lab.with_client(|client| async move { client.login("ada@example.org").await });
}
