//! The benchmark of the spine: what authd does, divided by what bounds it, measured in the same run.
//!
//! `tests/run --bench [FILTER…]` builds and runs it; a filter names groups: logins, refresh, verify, reads, storm,
//! memory, start, limiter, many. How to read the table:
//!
//! - Each row is a load on the real daemon (`target/release/authd`, hashing as in production, limits off) and its
//!   limit: the same work with nothing around it, on the same machine and by the same clients. Both columns are rates,
//!   times or amounts of memory; the ratio is the first over the second. Rates alone say more about the machine.
//! - Daemon, database and client share the processors. A limit that needs no HTTP client (hashing, bare transactions)
//!   has them to itself; that is part of what is asked.
//! - Load and limit are measured by turns, three times for seconds; the ratio is the median of the turns, p50 and p99
//!   are those of all the load's answers together, in milliseconds.
//! - `aim` is what the project wants of the ratio. A row that misses it is marked and nothing else happens: the program
//!   fails only when it cannot measure. Answers that were not the expected ones never count; they are listed below
//!   their row.
#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot measure ends on the spot")]
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the machine's clock")]

mod bare;
mod callers;
mod group;
mod http;
mod load;
mod machine;
mod measure;
mod subject;
mod table;

use group::{Bench, limiter, logins, many, memory, reads, refresh, start, storm, verify};
use std::{future::Future, pin::Pin, process::ExitCode, time::Instant};
use table::Section;

type Measured = Pin<Box<dyn Future<Output = Vec<Section>> + Send>>;

/// A group of rows: its name for the filter, and how it is measured.
type Group = (&'static str, fn(Bench) -> Measured);

const GROUPS: [Group; 9] = [
    ("logins", |bench| Box::pin(logins::measure(bench))),
    ("refresh", |bench| Box::pin(refresh::measure(bench))),
    ("verify", |bench| Box::pin(verify::measure(bench))),
    ("reads", |bench| Box::pin(reads::measure(bench))),
    ("storm", |bench| Box::pin(storm::measure(bench))),
    ("memory", |bench| Box::pin(memory::measure(bench))),
    ("start", |bench| Box::pin(start::measure(bench))),
    ("limiter", |bench| Box::pin(limiter::measure(bench))),
    ("many", |bench| Box::pin(many::measure(bench))),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == bare::empty::ARGUMENT) {
        bare::empty::serve();
        return ExitCode::SUCCESS;
    }
    // Cargo adds options of its own.
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let groups: Vec<Group> = GROUPS.into_iter().filter(|(name, _)| chosen(name)).collect();
    if groups.is_empty() {
        eprintln!("no group has such a name; there are: {}", GROUPS.map(|(name, _)| name).join(", "));
        return ExitCode::FAILURE;
    }
    // The client is one thread: what it costs is taken from what it measures.
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bare = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let done = client.block_on(run(groups, Bench::new(bare.handle().clone())));
    bare.shutdown_background();
    done
}

async fn run(groups: Vec<Group>, bench: Bench) -> ExitCode {
    machine::describe().await;
    let begin = Instant::now();
    let (mut sections, mut done) = (Vec::new(), ExitCode::SUCCESS);
    for (name, measure) in groups {
        eprintln!("{:>4} s  {name} …", begin.elapsed().as_secs());
        match tokio::spawn(measure(bench.clone())).await {
            Ok(measured) => sections.extend(measured),
            Err(_) => {
                eprintln!("{name} could not be measured");
                done = ExitCode::FAILURE;
            }
        }
    }
    table::print(&sections);
    println!("Measured in {} s.", begin.elapsed().as_secs());
    done
}
