//! Refreshes beside commits of the bare transaction, with the same durability and concurrency.

use crate::{
    bare::{self, postgres::Transaction},
    callers::Refresher,
    group::{Bench, Kind, ROUNDS, rest},
    load::{Caller, Crew, Plan},
    measure::Series,
    subject::{Audit, Subject},
    table::{Aim, Row, Section},
};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tests::options::Database;

const COUNTED_MS: u64 = 1_200;
const CONNECTIONS: [usize; 3] = [1, 16, MOST];
const MOST: usize = 64;
/// How long the sealer of the audit log may take to follow, between two measurements.
const SEALED_WITHIN: Duration = Duration::from_secs(5);

/// Measures both databases.
pub(crate) async fn measure(bench: Bench) -> Vec<Section> {
    vec![on(&bench, Kind::Sqlite).await, on(&bench, Kind::Postgres).await]
}

async fn on(bench: &Bench, kind: Kind) -> Section {
    let mut pair = Pair {
        changes: Subject::start(bench.database(kind).await, Audit::Changes).await,
        all: Subject::start(bench.database(kind).await, Audit::All).await,
    };
    let rows = match pair.changes.daemon.database().clone() {
        Database::Sqlite => sqlite(bench, &mut pair).await,
        Database::Postgres(url) => postgres(bench, &mut pair, &url).await,
    };
    Section { title: format!("refreshes on {}, by connections and audit.refresh", kind.name()), rows }
}

async fn sqlite(bench: &Bench, pair: &mut Pair) -> Vec<Row> {
    let dir = TempDir::new().expect("a temporary directory");
    let copy = dir.path().join("bare.db");
    bare::sqlite::copy(&file(&pair.changes), &copy).await;
    let mut bare = bare::sqlite::rotators(&bench.bare, &copy, MOST).await;
    let mut crews = pair.crews();
    let mut rows = Vec::new();
    for count in CONNECTIONS {
        let (mut grouped, mut changes, mut all) = Default::default();
        for _ in 0..ROUNDS {
            turn(&mut bare, count, &mut grouped).await;
            turn(&mut crews.changes, count, &mut changes).await;
            turn(&mut crews.all, count, &mut all).await;
            pair.until_sealed().await;
        }
        let aim = if count == MOST { Aim::AtLeast(0.5) } else { Aim::Nothing };
        for (audit, series) in [(Audit::Changes, &changes), (Audit::All, &all)] {
            rows.push(Row::rates(what(count, audit), series, "bare commits in groups", &grouped).aim(aim));
        }
    }
    rows
}

async fn postgres(bench: &Bench, pair: &mut Pair, url: &str) -> Vec<Row> {
    bare::postgres::copy_sessions(url).await;
    let mut bare = bare::postgres::rotators(&bench.bare, url, MOST).await;
    let mut crews = pair.crews();
    let mut rows = Vec::new();
    for count in CONNECTIONS {
        let (mut threes, mut singles, mut changes, mut all) = Default::default();
        for _ in 0..ROUNDS {
            bare.callers().for_each(|caller| caller.send(Transaction::Three));
            turn(&mut bare, count, &mut threes).await;
            turn(&mut crews.changes, count, &mut changes).await;
            bare.callers().for_each(|caller| caller.send(Transaction::Single));
            turn(&mut bare, count, &mut singles).await;
            turn(&mut crews.all, count, &mut all).await;
            pair.until_sealed().await;
        }
        let [three, single] = if count == 16 { [0.95, 0.65].map(Aim::AtLeast) } else { [Aim::Nothing; 2] };
        for (audit, series) in [(Audit::Changes, &changes), (Audit::All, &all)] {
            rows.push(Row::rates(what(count, audit), series, "bare BEGIN, UPDATE, COMMIT", &threes).aim(three));
            rows.push(Row::rates(what(count, audit), series, "bare UPDATE alone", &singles).aim(single));
        }
    }
    rows
}

async fn turn<C: Caller>(crew: &mut Crew<C>, count: usize, series: &mut Series) {
    series.push(crew.work_with(count, Plan::full(COUNTED_MS)).await);
    rest().await;
}

fn what(count: usize, audit: Audit) -> String {
    format!("{count:>2}, {}", audit.name())
}

/// A daemon for each setting, on databases of their own.
struct Pair {
    changes: Subject,
    all: Subject,
}

/// Who refreshes at them.
struct Crews {
    changes: Crew<Refresher>,
    all: Crew<Refresher>,
}

impl Pair {
    fn crews(&self) -> Crews {
        Crews { changes: self.changes.refreshers(MOST, 0), all: self.all.refreshers(MOST, 0) }
    }

    /// Waits until the sealer has followed, so that its work is not measured with the next load.
    async fn until_sealed(&self) {
        let end = Instant::now() + SEALED_WITHIN;
        while unsealed(&self.all).await > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn unsealed(subject: &Subject) -> i64 {
    match subject.daemon.database() {
        Database::Sqlite => bare::sqlite::unsealed(&file(subject)).await,
        Database::Postgres(url) => bare::postgres::unsealed(url).await,
    }
}

/// The database's file.
pub(crate) fn file(subject: &Subject) -> PathBuf {
    subject.daemon.data_dir().join("authd.db")
}
