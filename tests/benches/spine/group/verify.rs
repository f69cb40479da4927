//! Verification of access tokens beside an empty handler, over the same connections by the same client.

use crate::{
    bare::{empty::Empty, signature},
    callers::{Each, Same},
    group::{Bench, Kind, ROUNDS, rest},
    http::{self, Conn},
    load::{Crew, Plan},
    measure::Series,
    subject::{Audit, Subject},
    table::{Aim, Row, Section},
};
use serde_json::json;
use std::num::NonZeroUsize;
use tests::{jwt::Jwt, own_key};

pub(crate) const PATH: &str = "/api/auth/verify";
const CONNECTIONS: usize = 16;
const COUNTED_MS: u64 = 1_500;
/// Tokens are made before they are presented; a shorter measurement needs fewer.
const UNSEEN_MS: u64 = 900;
const UNSEEN_TOKENS: usize = 40_000;

/// Measures.
pub(crate) async fn measure(bench: Bench) -> Vec<Section> {
    let subject = Subject::start(bench.database(Kind::Sqlite).await, Audit::Changes).await;
    let empty = Empty::start();
    let (mut empties, mut known, mut unseen, mut signatures) = <(Series, Series, Series, Series)>::default();
    let request = |number: usize| http::get(PATH, subject.access(number));
    let asking = |number: usize| Same::new(Conn::to(empty.address), request(number));
    let mut nothing = Crew::new((0..CONNECTIONS).map(asking).collect());
    let mut remembered = subject.getters(CONNECTIONS, PATH);
    for round in 0..ROUNDS {
        empties.push(nothing.work(Plan::full(COUNTED_MS)).await);
        known.push(remembered.work(Plan::full(COUNTED_MS)).await);
        let mut each = strangers(&subject, round).await;
        unseen.push(each.work(Plan::full(UNSEEN_MS)).await);
        signatures.push(signature::measure(UNSEEN_MS));
        rest().await;
    }
    let row = |what: &str, series: &Series| Row::rates(what, series, "empty axum handler", &empties);
    let rows = vec![
        row("tokens it remembers", &known).aim(Aim::AtLeast(0.6)),
        row("tokens never seen before", &unseen).aim(Aim::AtLeast(0.25)),
        Row::rates("tokens never seen before", &unseen, "bare Ed25519 verification, all cores", &signatures),
    ];
    vec![Section { title: format!("GET {PATH}: {CONNECTIONS} connections"), rows }]
}

/// Callers with tokens that nobody has presented yet.
async fn strangers(subject: &Subject, round: usize) -> Crew<Each> {
    let mut requests = tokens(subject, round).await;
    let share = requests.len().div_ceil(CONNECTIONS);
    let mut callers = Vec::new();
    for _ in 0..CONNECTIONS {
        let own = requests.split_off(requests.len().saturating_sub(share));
        callers.push(Each::new(Conn::to(subject.address()), own));
    }
    Crew::new(callers)
}

/// Good tokens that differ in their ids, signed with the daemon's own key: asking for as many would take minutes.
async fn tokens(subject: &Subject, round: usize) -> Vec<Vec<u8>> {
    let key = own_key::of(&subject.daemon).await;
    let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let make = |worker: usize| {
        let mut jwt = Jwt::of(subject.access(worker));
        let sign = |number: usize| {
            jwt.claims["jti"] = json!(format!("bench-{round}-{worker}-{number}"));
            http::get(PATH, &jwt.signed_by(&key))
        };
        (0..UNSEEN_TOKENS / workers).map(sign).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let make = &make;
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || make(worker))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("signing does not panic")).collect()
    })
}
