//! A million sessions: the first page of every list an operator can ask for, and the end of a tenth of them at once.

use crate::{
    group::{Bench, Kind},
    measure::times,
    subject::Subject,
    table::{Aim, Figure, Row, Section},
};
use serde_json::{Value, json};
use shared::admin::{Call, session};
use std::time::{Duration, Instant};
use tests::{
    client::Tokens,
    crowd::{self, Crowd},
};
use tokio::sync::watch;

const SESSIONS: u64 = 1_000_000;
const TO_END: u64 = SESSIONS / 10;
/// Two of the twenty /16 among which the sessions are spread.
const TENTH: &str = "10.2.0.0/15";
const CALLS: usize = 15;
const PAGE_AIM: Duration = Duration::from_millis(50);
const END_AIM: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

/// Measures both databases.
pub(crate) async fn measure(bench: Bench) -> Vec<Section> {
    vec![on(&bench, Kind::Sqlite).await, on(&bench, Kind::Postgres).await]
}

async fn on(bench: &Bench, kind: Kind) -> Section {
    let subject = Subject::empty(bench.database(kind).await).await;
    crowd::gather(&subject.daemon, Crowd { sessions: SESSIONS, relics: 100, ended_each: 1_000 }).await;
    let mut rows = pages(&subject, "").await;
    let begin = Instant::now();
    ask(&subject, session::stats::Stats::PATH, &json!({})).await;
    rows.push(Row::figures("session stats", Figure::Time(begin.elapsed()), "a second", Figure::Time(SECOND)));
    rows.extend(end(&subject).await);
    // What was fast among the living must be so when the newest have ended.
    rows.extend(pages(&subject, ", a tenth ended").await);
    Section { title: format!("{SESSIONS} sessions on {} (p99: the slowest of {CALLS})", kind.name()), rows }
}

async fn pages(subject: &Subject, when: &str) -> Vec<Row> {
    let filters = [
        ("all", json!({})),
        ("live", json!({ "state": "live" })),
        ("ended", json!({ "state": "ended" })),
        ("expired", json!({ "state": "expired" })),
        ("of an account", json!({ "user": "crowd500@example.org" })),
        ("of an account, live", json!({ "user": "crowd500@example.org", "state": "live" })),
        ("from a /24", json!({ "ip": "10.7.7.0/24" })),
        ("from a /20", json!({ "ip": "10.7.16.0/20" })),
        ("from a /8, live", json!({ "ip": "10.0.0.0/8", "state": "live" })),
        ("until an hour ago", json!({ "until": an_hour_ago() })),
        ("with a device", json!({ "device": "firefox" })),
        ("with a rare device", json!({ "device": "relic" })),
    ];
    let mut rows = Vec::new();
    for (name, filter) in filters {
        let mut took = Vec::new();
        for _ in 0..CALLS {
            let begin = Instant::now();
            ask(subject, session::List::PATH, &filter).await;
            took.push(begin.elapsed());
        }
        let times = times(took.into_iter());
        let row = Row::figures(format!("{name}{when}"), Figure::Time(times.p99), "aim", Figure::Time(PAGE_AIM));
        rows.push(row.times(times).aim(Aim::AtMost(1.0)));
    }
    rows
}

async fn ask(subject: &Subject, path: &str, body: &Value) -> Value {
    let answer = subject.daemon.admin().post(path, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{path} {body}: {answer}");
    answer.json()
}

fn an_hour_ago() -> String {
    let hour = Duration::from_secs(3_600);
    let then =
        std::time::SystemTime::now().checked_sub(hour).and_then(|then| then.duration_since(std::time::UNIX_EPOCH).ok());
    let ms = then.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
    shared::time::Timestamp(ms).to_string()
}

/// Ends a tenth while somebody refreshes.
async fn end(subject: &Subject) -> Vec<Row> {
    let client = subject.daemon.client();
    let mut tokens = client.register("witness@example.org").await;
    let (done, ended) = watch::channel(false);
    let witness = tokio::spawn(async move {
        let (mut slowest, mut refused) = (Duration::ZERO, 0_u32);
        while !*ended.borrow() {
            let begin = Instant::now();
            let answer = client.try_refresh(&tokens.refresh).await;
            match answer.status {
                200 => tokens = Tokens::of(&answer),
                _ => refused += 1,
            }
            slowest = slowest.max(begin.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (slowest, refused)
    });
    let begin = Instant::now();
    let request = json!({ "ip": TENTH, "expect": TO_END - TO_END / 1_000, "tolerance": 1 });
    let answer = ask(subject, session::Revoke::PATH, &request).await;
    let took = begin.elapsed();
    done.send_replace(true);
    let (slowest, refused) = witness.await.expect("a witness");
    let many = format!("end {} sessions", answer["revoked"]);
    let refused = format!("slowest refresh meanwhile ({refused} refused)");
    vec![
        Row::figures(many, Figure::Time(took), "aim", Figure::Time(END_AIM)).aim(Aim::AtMost(1.0)),
        Row::figures(refused, Figure::Time(slowest), "the whole of it", Figure::Time(took)),
    ]
}
