//! The time of a refused login does not tell whether there is an account, nor what its password costs to check
//! (ASVS 6.3.8): unknown names against wrong passwords of every kind of account, by turns.
//!
//! Its statistics mean something on a quiet machine only, with the hashing of production and nothing beside it:
//! `tests/run --soak heavy::timing`. An ordinary run sees that the floor is there.

use super::announce;
use serde_json::json;
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use std::time::Duration;
use tests::{client::PASSWORD, daemon::Daemon, fuzz::Chance, options::Options, scale, wait::timed, wire::Answer};

/// Interleaved attempts of each kind in the whole figure.
const ATTEMPTS: usize = 2_000;
/// Wrong passwords that one account takes before it is slowed down.
const EACH: usize = 4;
/// Figures below this share of the whole are too few to judge by.
const ENOUGH: usize = 200;
/// The chance that a time of one kind is longer than one of the other may differ from a half by so much.
const MOST_AUC: f64 = 0.53;
/// Medians may differ by so much, in milliseconds, or by a hundredth of a hash.
const MOST_MS: f64 = 0.3;

const PRODUCTION: &str = "[server]\nmode = \"production\"\n\n[password]\nmemory_kib = 19456\niterations = 2\n\
    failure_floor = \"auto\"\n";

/// A refused login, by what there is of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unknown,
    Wrong,
    Disabled,
    Passwordless,
    Imported,
}

const KINDS: [Kind; 5] = [Kind::Unknown, Kind::Wrong, Kind::Disabled, Kind::Passwordless, Kind::Imported];

/// Makes the accounts of a kind what they are.
fn change(kind: Kind) -> &'static str {
    match kind {
        Kind::Unknown | Kind::Wrong => "SELECT 1",
        Kind::Disabled => {
            "UPDATE account SET disabled_ms = 1 WHERE id IN
            (SELECT account_id FROM identifier WHERE canonical LIKE 'disabled%')"
        }
        Kind::Passwordless => {
            "DELETE FROM credential WHERE account_id IN
            (SELECT account_id FROM identifier WHERE canonical LIKE 'passwordless%')"
        }
        Kind::Imported => {
            "UPDATE credential SET cost = '$2b$10$',
            data = '$2b$10$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui' WHERE account_id IN
            (SELECT account_id FROM identifier WHERE canonical LIKE 'imported%')"
        }
    }
}

fn email(kind: Kind, attempt: usize) -> String {
    // Every unknown name is another one: they share no failures either.
    let number = if kind == Kind::Unknown { attempt } else { attempt / EACH };
    format!("{kind:?}{number}@example.org").to_lowercase()
}

async fn populate(daemon: &Daemon, attempts: usize) {
    let mut registrations = tokio::task::JoinSet::new();
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Unknown) {
        for account in 0..attempts.div_ceil(EACH) {
            let client = daemon.client();
            let body = json!({ "email": email(kind, account * EACH), "password": PASSWORD });
            registrations.spawn(async move {
                client.try_register(&body).await.assert_status(201);
            });
            // Each is as costly as in production: more would be refused on a busy machine.
            if registrations.len() >= 4 {
                registrations.join_next().await.expect("some are under way").expect("it is made");
            }
        }
    }
    registrations.join_all().await;
    let file = SqliteConnectOptions::new().filename(daemon.data_dir().join("authd.db"));
    let mut database = SqliteConnection::connect_with(&file).await.expect("its database");
    for kind in KINDS {
        database.execute(change(kind)).await.expect("the accounts are changed");
    }
}

async fn attempt(daemon: &Daemon, kind: Kind, number: usize) -> (Answer, Duration) {
    let client = daemon.client();
    let email = email(kind, number);
    timed(client.try_login(&email, "no-such-velvet-orbit-17")).await
}

/// What of an answer must not differ.
fn shown(answer: &Answer) -> String {
    let mut body = answer.json();
    body["request_id"] = json!(null);
    let mut headers: Vec<String> = ["content-type", "cache-control", "www-authenticate", "retry-after", "set-cookie"]
        .iter()
        .map(|name| format!("{name}: {:?}", answer.header(name)))
        .collect();
    headers.sort();
    format!("{} {headers:?} {body}", answer.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_logins_look_alike_and_take_the_same_time() {
    let attempts = scale::of(ATTEMPTS);
    announce(attempts);
    let mut daemon = Daemon::start(Options::sqlite().config(PRODUCTION)).await;
    populate(&daemon, attempts).await;
    // The costs in use are learnt at the start, and from time to time.
    daemon.restart().await;
    let mut own = Vec::new();
    for number in 0..8 {
        let client = daemon.client();
        let (answer, took) = timed(client.try_login(&email(Kind::Wrong, number * EACH % attempts), PASSWORD)).await;
        answer.assert_status(200);
        own.push(took.as_secs_f64() * 1e3);
    }
    let mut chance = Chance::new(scale::seed());
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); KINDS.len()];
    let mut looks = std::collections::BTreeSet::new();
    for number in 0..attempts {
        let mut turns: Vec<usize> = (0..KINDS.len()).collect();
        while !turns.is_empty() {
            let turn = turns.swap_remove(chance.below(turns.len()));
            let (answer, took) = attempt(&daemon, KINDS[turn], number).await;
            looks.insert(shown(&answer));
            times[turn].push(took.as_secs_f64() * 1e3);
        }
    }
    assert_eq!(looks.len(), 1, "{looks:#?}");
    judge(times, own);
}

fn judge(mut times: Vec<Vec<f64>>, mut own: Vec<f64>) {
    let (hash_ms, unknown) = (median(&mut own), times.remove(0));
    let unknown_ms = median(&mut unknown.clone());
    println!("a login takes {hash_ms:.2} ms; refused, an unknown name {unknown_ms:.2} ms");
    // The imported hashes are slower than those of production: everybody waits as long as they take.
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(least(&unknown) > 1.1 * least(&own), "{unknown:?} ms; logins take {own:?} ms");
    for (kind, others) in KINDS.into_iter().skip(1).zip(times) {
        let auc = auc(&unknown, &others);
        let apart_ms = (unknown_ms - median(&mut others.clone())).abs();
        println!("{kind:?}: AUC {auc:.3}, medians {apart_ms:.3} ms apart");
        if others.len() >= ENOUGH {
            assert!((auc - 0.5).abs() <= MOST_AUC - 0.5, "{kind:?}: AUC {auc}");
            assert!(apart_ms <= MOST_MS.max(hash_ms / 100.0), "{kind:?}: {apart_ms} ms apart");
        }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The chance that one of `others` is larger than one of `these` (the area under the ROC curve, from ranks).
fn auc(these: &[f64], others: &[f64]) -> f64 {
    let mut sorted = these.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = |value: &f64| sorted.partition_point(|this| this < value) as f64;
    let not_above = |value: &f64| sorted.partition_point(|this| this <= value) as f64;
    let wins: f64 = others.iter().map(|value| f64::midpoint(below(value), not_above(value))).sum();
    wins / (these.len() as f64 * others.len() as f64)
}
