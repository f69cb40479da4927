//! What 64 clients with wrong passwords do to everybody else.

use crate::{
    bare::hash,
    callers::{Guesser, Refresher, Same},
    group::{Bench, Kind, ROUNDS, rest, verify},
    load::{Caller, Crew, Plan},
    measure::Series,
    subject::{Audit, Subject},
    table::{Aim, Row, Section},
};

/// Clients with wrong passwords, half of them for accounts that do not exist.
pub(crate) const GUESSERS: usize = 64;
const LIGHT_MS: u64 = 2_000;
const FULL_MS: u64 = 1_200;
/// Connections of a load that takes all it can.
const FULL: usize = 16;
/// Connections of each light load, and calls a second on each.
const LIGHT: usize = 4;
const LIGHT_VERIFY: u32 = 100;
const LIGHT_REFRESH: u32 = 50;

/// Measures both databases.
pub(crate) async fn measure(bench: Bench) -> Vec<Section> {
    vec![on(&bench, Kind::Sqlite).await, on(&bench, Kind::Postgres).await]
}

async fn on(bench: &Bench, kind: Kind) -> Section {
    let subject = Subject::start(bench.database(kind).await, Audit::Changes).await;
    let mut crews = Crews {
        guessers: subject.guessers(GUESSERS),
        light_verify: subject.getters(LIGHT, verify::PATH),
        light_refresh: subject.refreshers(LIGHT, 0),
        full_verify: subject.getters(FULL, verify::PATH),
        full_refresh: subject.refreshers(FULL, LIGHT),
    };
    let (mut idle, mut storm, mut raw) = (Seen::default(), Seen::default(), Series::default());
    for _ in 0..ROUNDS {
        crews.idle(&mut idle).await;
        raw.push(hash::measure(LIGHT_MS));
        crews.storm(&mut storm).await;
        rest().await;
    }
    let title = format!("{GUESSERS} wrong logins at once, on {}: the others beside their idle figures", kind.name());
    Section { title, rows: rows(&idle, &storm, &raw) }
}

fn rows(idle: &Seen, storm: &Seen, raw: &Series) -> Vec<Row> {
    let light = format!("idle, {LIGHT} × {LIGHT_VERIFY} + {LIGHT} × {LIGHT_REFRESH} /s");
    let full = format!("idle, {FULL} connections");
    let raw_is = format!("raw Argon2id, {} threads", hash::workers());
    vec![
        Row::p99("verify p99", &storm.light_verify, &light, &idle.light_verify).aim(Aim::AtMost(1.5)),
        Row::p99("refresh p99 (and ≤ 15 ms)", &storm.light_refresh, &light, &idle.light_refresh)
            .aim(Aim::AtMostAnd(3.0, 15.0)),
        Row::rates("verify, as many as go", &storm.full_verify, &full, &idle.full_verify).aim(Aim::AtLeast(0.9)),
        Row::rates("refresh, as many as go", &storm.full_refresh, &full, &idle.full_refresh).aim(Aim::AtLeast(0.7)),
        Row::rates("logins beside light loads", &storm.beside_light, &raw_is, raw).aim(Aim::AtLeast(0.9)),
        Row::rates("logins beside full verify", &storm.beside_verify, &raw_is, raw).aim(Aim::AtLeast(0.3)),
        Row::rates("logins beside full refresh", &storm.beside_refresh, &raw_is, raw),
    ]
}

/// The loads.
struct Crews {
    guessers: Crew<Guesser>,
    light_verify: Crew<Same>,
    light_refresh: Crew<Refresher>,
    full_verify: Crew<Same>,
    full_refresh: Crew<Refresher>,
}

/// What they saw.
#[derive(Default)]
struct Seen {
    light_verify: Series,
    light_refresh: Series,
    full_verify: Series,
    full_refresh: Series,
    beside_light: Series,
    beside_verify: Series,
    beside_refresh: Series,
}

impl Crews {
    async fn idle(&mut self, seen: &mut Seen) {
        let plan = Plan::full(LIGHT_MS);
        let (verified, refreshed) = tokio::join!(
            self.light_verify.work(plan.paced(LIGHT_VERIFY)),
            self.light_refresh.work(plan.paced(LIGHT_REFRESH))
        );
        seen.light_verify.push(verified);
        seen.light_refresh.push(refreshed);
        seen.full_verify.push(self.full_verify.work(Plan::full(FULL_MS)).await);
        seen.full_refresh.push(self.full_refresh.work(Plan::full(FULL_MS)).await);
    }

    async fn storm(&mut self, seen: &mut Seen) {
        let plan = Plan::full(LIGHT_MS);
        let (guessed, verified, refreshed) = tokio::join!(
            self.guessers.work(plan),
            self.light_verify.work(plan.paced(LIGHT_VERIFY)),
            self.light_refresh.work(plan.paced(LIGHT_REFRESH)),
        );
        seen.beside_light.push(guessed);
        seen.light_verify.push(verified);
        seen.light_refresh.push(refreshed);
        beside(&mut self.guessers, &mut seen.beside_verify, &mut self.full_verify, &mut seen.full_verify).await;
        beside(&mut self.guessers, &mut seen.beside_refresh, &mut self.full_refresh, &mut seen.full_refresh).await;
    }
}

/// Guessers and others at once.
async fn beside<C: Caller>(
    guessers: &mut Crew<Guesser>,
    guessed: &mut Series,
    others: &mut Crew<C>,
    answered: &mut Series,
) {
    let plan = Plan::full(FULL_MS);
    let (guesses, answers) = tokio::join!(guessers.work(plan), others.work(plan));
    guessed.push(guesses);
    answered.push(answers);
}
