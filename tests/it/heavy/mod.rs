//! The heavy scenarios: a hundredth of their figures in an ordinary run, a fifth with `tests/run --full`, all of them
//! with `tests/run --soak`.

mod audit;
mod commits;
mod fuzz;
mod hangups;
mod keys;
mod kills;
mod moves;
mod overload;
mod pauses;
mod races;
mod replies;
mod storm;
mod timing;

use tests::{
    daemon::Daemon,
    options::{Database, Options},
    scale,
};

/// Says how to repeat a scenario; the test runner shows it when the scenario fails.
fn announce(figure: usize) {
    println!("{figure} times; {}", scale::again());
}

/// The instances there can be on these options' database: one on SQLite, two on PostgreSQL.
async fn instances(options: Options) -> Vec<Daemon> {
    let has_two = matches!(options.database, Database::Postgres(_));
    let mut instances = vec![Daemon::start(options).await];
    if has_two {
        instances.push(instances[0].second().await);
    }
    instances
}
