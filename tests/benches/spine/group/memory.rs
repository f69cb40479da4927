//! Memory the daemon holds (`VmRSS`): before the first hash, in a storm, and after many.

use crate::{
    bare::hash,
    callers::{Guesser, Refresher, Same},
    group::{Bench, Kind, storm::GUESSERS, verify},
    load::{Crew, Plan},
    subject::Subject,
    table::{Aim, Figure, Row, Section},
};
use std::time::Duration;
use tests::process::resident_kib;

const STORMS: usize = 10;
/// Connections that verify, and as many that refresh.
const CLIENTS: usize = 8;
const STORM_MS: u64 = 1_200;
const MIB: u64 = 1_024;
/// Aimed at for the daemon before it hashes.
const IDLE_KIB: u64 = 25 * MIB;
/// Granted in a storm beside the workers' buffers.
const STORM_KIB: u64 = 30 * MIB;

/// Measures.
pub(crate) async fn measure(bench: Bench) -> Vec<Section> {
    let mut subject = Subject::empty(bench.database(Kind::Sqlite).await).await;
    let pid = subject.daemon.pid();
    let idle = resident_kib(pid);
    subject.register().await;
    let mut crews = Crews {
        guessers: subject.guessers(GUESSERS),
        verifiers: subject.getters(CLIENTS, verify::PATH),
        refreshers: subject.refreshers(CLIENTS, 0),
    };
    let (mut peaks, mut after) = (Vec::new(), Vec::new());
    for _ in 0..STORMS {
        peaks.push(crews.storm(pid).await);
        after.push(resident_kib(pid));
    }
    let peak = peaks.iter().copied().max().unwrap_or_default();
    let workers = u64::try_from(hash::workers()).unwrap_or(1);
    let granted = idle + workers * u64::from(hash::COST.0) + STORM_KIB;
    let (first, last) = (after.first().copied().unwrap_or_default(), after.last().copied().unwrap_or_default());
    let ratio = |what: &str, measured, limit_is: &str, limit| {
        Row::figures(what, Figure::Kib(measured), limit_is, Figure::Kib(limit))
    };
    let rows = vec![
        ratio("ready, before the first hash", idle, "aim", IDLE_KIB).aim(Aim::AtMost(1.0)),
        ratio("most in a storm", peak, "idle + workers × m_cost + 30 MiB", granted).aim(Aim::AtMost(1.0)),
        ratio(&format!("after storm {STORMS}"), last, "after the first storm", first).aim(Aim::AtMost(1.05)),
    ];
    vec![Section {
        title: format!("resident memory, SQLite; a storm is {GUESSERS} wrong logins, verify and refresh"),
        rows,
    }]
}

struct Crews {
    guessers: Crew<Guesser>,
    verifiers: Crew<Same>,
    refreshers: Crew<Refresher>,
}

impl Crews {
    /// One storm; the most memory held meanwhile.
    async fn storm(&mut self, pid: i32) -> u64 {
        let plan = Plan::full(STORM_MS);
        let loads =
            async { tokio::join!(self.guessers.work(plan), self.verifiers.work(plan), self.refreshers.work(plan)) };
        let mut loads = std::pin::pin!(loads);
        let mut most = 0;
        loop {
            tokio::select! {
                _ = &mut loads => return most,
                () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(resident_kib(pid)),
            }
        }
    }
}
