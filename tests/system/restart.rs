//! Restart while two hundred requests a second come: none is refused and none is lost.

use super::{Lab, load};
use std::time::Duration;

const RESTARTS: usize = 3;

pub(super) fn under_load(lab: &mut Lab) {
    let pid = lab.property("MainPID");
    let tally = load::during(lab, || {
        for _ in 0..RESTARTS {
            lab.machine.ok("systemctl restart authd");
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    assert_ne!(lab.property("MainPID"), pid);
    load::judge(lab, &format!("{RESTARTS} restarts under load"), &tally);
}
