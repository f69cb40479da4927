//! The package on a machine with a systemd of its own: installed, used, reloaded, upgraded under load, killed, removed.
//!
//! `tests/run --system` makes the machine and the packages and runs this; the steps stand in their order below.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a step that fails ends the run on the spot, and may look at the machine's clock"
)]

mod activation;
mod boot;
mod crash;
mod install;
mod journal;
mod keys;
mod load;
mod operators;
mod reload;
mod removal;
mod restart;
mod sandbox;
mod upgrade;

use std::{path::PathBuf, time::Instant};
use tests::{
    client::{Client, Tokens},
    machine::Machine,
};

/// Where the daemon of the machine listens.
const ADDRESS: &str = "127.0.0.1:8480";

/// What a step is called, and the step.
type Step = (&'static str, fn(&mut Lab));

/// In their order; each leaves a daemon that serves, but the last.
const STEPS: [Step; 20] = [
    ("install the package", install::package),
    ("own the sockets as promised", install::sockets),
    ("find nothing wrong with itself", install::doctor),
    ("register and log in", install::login),
    ("know every operator by the kernel's word", operators::ranks),
    ("know who became root to operate", operators::login_uid),
    ("refuse and record nobody at an open socket", operators::open_socket),
    ("write the journal", journal::fields_and_catalog),
    ("reload a good and a bad configuration", reload::good_and_bad),
    ("restart under load", restart::under_load),
    ("upgrade under load, and keep what was edited", upgrade::under_load),
    ("leave disabled what was disabled, through an upgrade", upgrade::of_disabled_socket),
    ("start for whoever comes", activation::by_connection),
    ("refuse whoever comes to a daemon that cannot start", activation::not_for_ever),
    ("come back after kill -9", crash::killed),
    ("come back from a halt", crash::halted),
    ("come back when the machine boots", boot::again),
    ("run in the sandbox of a single host", sandbox::single_host),
    ("take the key-encryption key as a credential, change it, and refuse a bad one", keys::credential),
    ("remove, install again, purge", removal::remove_and_purge),
];

/// The machine with what the steps share.
struct Lab {
    machine: Machine,
    /// The package, and the same with a higher revision.
    packages: [PathBuf; 2],
    /// Of the first account.
    tokens: Option<Tokens>,
    /// For the note of a release: title and text.
    notes: Vec<(String, String)>,
}

impl Lab {
    fn start() -> Self {
        let path = |name: &str| {
            PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: use tests/run --system")))
        };
        let dir = path("AUTHD_SYSTEM_DIR");
        let packages = [path("AUTHD_PACKAGE"), path("AUTHD_PACKAGE_NEXT")];
        let root = dir.join(format!("root-{}", std::process::id()));
        Self { machine: Machine::boot(&dir.join("base"), &root), packages, tokens: None, notes: Vec::new() }
    }

    /// Runs `work` in the machine's network with a client of its daemon.
    fn with_client<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce(Client) -> F + Send) -> T {
        self.machine.in_network(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work(Client::new(ADDRESS.parse().expect("an address"))))
        })
    }

    /// One property of the service, as systemd has it.
    fn property(&self, name: &str) -> String {
        self.machine.ok(&format!("systemctl show --property={name} --value authd.service")).trim().to_owned()
    }

    fn note(&mut self, title: &str, text: &str) {
        self.notes.push((title.to_owned(), text.trim_end().to_owned()));
    }

    /// Writes what a release note shows.
    fn write_notes(&self) {
        let path = PathBuf::from(std::env::var_os("AUTHD_SYSTEM_DIR").unwrap_or_default()).join("report.md");
        let text: String =
            self.notes.iter().map(|(title, text)| format!("## {title}\n\n```\n{text}\n```\n\n")).collect();
        std::fs::write(&path, text).expect("the directory of the machine can be written");
        println!("the journal, the status and the scores are in {}", path.display());
    }
}

fn main() {
    let started = Instant::now();
    let mut lab = Lab::start();
    println!("booted in {:.1} s", started.elapsed().as_secs_f64());
    for (number, (name, step)) in (1..).zip(STEPS) {
        let began = Instant::now();
        println!("{number:>2}. {name}");
        step(&mut lab);
        println!("    done in {:.1} s", began.elapsed().as_secs_f64());
    }
    lab.write_notes();
    println!("all {} steps passed in {:.0} s", STEPS.len(), started.elapsed().as_secs_f64());
}
