//! Logins beside raw hashing.

use crate::{
    bare::hash,
    group::{Bench, Kind, ROUNDS},
    load::Plan,
    measure::Series,
    subject::{Audit, Subject},
    table::{Aim, Row, Section},
};

/// Clients: enough that no worker waits for one.
const CLIENTS: usize = 16;
const COUNTED_MS: u64 = 2_500;

/// Measures.
pub(crate) async fn measure(bench: Bench) -> Vec<Section> {
    let subject = Subject::start(bench.database(Kind::Sqlite).await, Audit::Changes).await;
    let (mut raw, mut right, mut wrong) = (Series::default(), Series::default(), Series::default());
    let (mut logins, mut guesses) = (subject.logins(CLIENTS), subject.guessers(CLIENTS));
    let plan = Plan::full(COUNTED_MS);
    for _ in 0..ROUNDS {
        raw.push(hash::measure(COUNTED_MS));
        right.push(logins.work(plan).await);
        wrong.push(guesses.work(plan).await);
    }
    let raw_is = format!("raw Argon2id, {} threads", hash::workers());
    let row = |what: &str, series: &Series| Row::rates(what, series, &raw_is, &raw).aim(Aim::AtLeast(0.95));
    let rows = vec![row("right passwords", &right), row("wrong ones, unknown users too", &wrong)];
    vec![Section { title: format!("logins: {CLIENTS} connections, SQLite"), rows }]
}
