//! How little the service may do, in both profiles.

use super::Lab;

const DROP_IN: &str = "/etc/systemd/system/authd.service.d/single-host.conf";

/// The last line of `systemd-analyze security`, and its figure in tenths.
fn exposure(lab: &Lab) -> (String, u32) {
    let table = lab.machine.run("systemd-analyze security --no-pager authd.service").stdout;
    let line = table.lines().find(|line| line.contains("Overall exposure")).unwrap_or_else(|| panic!("{table}"));
    let figure = line.split_whitespace().find_map(|word| word.parse::<f64>().ok()).expect("a figure");
    (line.trim().to_owned(), (figure * 10.0).round() as u32)
}

/// The network a process is in.
fn network(lab: &Lab, pid: &str) -> String {
    lab.machine.ok(&format!("readlink /proc/{pid}/ns/net"))
}

pub(super) fn single_host(lab: &mut Lab) {
    let (ordinary, figure) = exposure(lab);
    assert!(figure <= 15, "{ordinary}");
    lab.machine.ok(&format!(
        "mkdir -p $(dirname {DROP_IN}) && cp /usr/share/doc/authd-server/examples/single-host.conf {DROP_IN} \
         && systemctl daemon-reload && systemctl restart authd"
    ));
    let (single, figure) = exposure(lab);
    assert!(figure <= 5, "{single}");
    lab.note("systemd-analyze security, ordinary and single host", &format!("{ordinary}\n{single}"));
    assert_ne!(network(lab, &lab.property("MainPID")), network(lab, "1"), "it has a network of its own");
    lab.with_client(|client| async move {
        client.login("ada@example.org").await;
    });
    lab.machine.ok("authctl status && systemctl reload authd");
    lab.machine.ok(&format!("rm {DROP_IN} && systemctl daemon-reload && systemctl restart authd"));
}
