//! Profile and session list beside the bare read, over as many connections to the database as the daemon uses.

use crate::{
    bare::{self, PROFILE, SESSIONS},
    group::{Bench, Kind, ROUNDS, refresh::file},
    load::{Caller, Crew, Plan},
    measure::Series,
    subject::{Audit, Subject},
    table::{Row, Section},
};
use tests::options::Database;

const CONNECTIONS: usize = 16;
const COUNTED_MS: u64 = 1_000;
/// The daemon's own numbers.
const SQLITE_READERS: usize = 4;
const POSTGRES_POOL: usize = 16;

/// Measures both databases.
pub(crate) async fn measure(bench: Bench) -> Vec<Section> {
    vec![on(&bench, Kind::Sqlite).await, on(&bench, Kind::Postgres).await]
}

async fn on(bench: &Bench, kind: Kind) -> Section {
    let subject = Subject::start(bench.database(kind).await, Audit::Changes).await;
    let mut rows = Vec::new();
    for (path, statement) in [("/api/user/profile", PROFILE), ("/api/auth/sessions", SESSIONS)] {
        let accounts = |count: usize| -> Vec<String> {
            subject.people.iter().take(count).map(|person| person.tokens.user.clone()).collect()
        };
        let ours = subject.getters(CONNECTIONS, path);
        rows.push(match subject.daemon.database() {
            Database::Sqlite => {
                let accounts = accounts(SQLITE_READERS);
                let readers = bare::sqlite::readers(&bench.bare, &file(&subject), statement, &accounts).await;
                row(path, ours, readers).await
            }
            Database::Postgres(url) => {
                let accounts = accounts(POSTGRES_POOL);
                row(path, ours, bare::postgres::readers(&bench.bare, url, statement, &accounts).await).await
            }
        });
    }
    Section { title: format!("reads on {}: {CONNECTIONS} connections", kind.name()), rows }
}

async fn row<O: Caller, L: Caller>(path: &str, mut ours: Crew<O>, mut bare: Crew<L>) -> Row {
    let (mut served, mut read) = (Series::default(), Series::default());
    for _ in 0..ROUNDS {
        read.push(bare.work(Plan::full(COUNTED_MS)).await);
        served.push(ours.work(Plan::full(COUNTED_MS)).await);
    }
    Row::rates(format!("GET {path}"), &served, "bare read of one statement", &read)
}
