//! Clients that hang up at any point of any request (R9): the daemon keeps nothing of them, and its database
//! connections stay good.

use super::announce;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::{sync::Arc, time::Duration};
use tests::{
    client::{Client, PASSWORD, Tokens},
    clock::SeededRandom,
    daemon::Daemon,
    options::{Database, Options},
    process::{connections_to, descriptors, resident_kib, threads},
    proxy::postgres::PostgresProxy,
    raw::Raw,
    scale,
    wait::{together, until},
};

/// One connection for everything: if it is poisoned, nothing works any more.
const POOL_OF_ONE: &str = "[database]\nmax_connections = 1\nacquire_timeout = \"2s\"";
/// Clients at a time.
const LANES: usize = 16;
/// How long somebody may stay who has sent a request: about as long as the daemon needs for it.
const LONGEST_STAY_US: u64 = 8_000;
/// How long the database takes to say something, to one in ten clients: these hang up in the middle of
/// transactions.
const SLOWNESS: Duration = Duration::from_millis(1);
/// What memory may grow by: sessions that ended are remembered, buffers stay where they were allocated. Twenty thousand
/// connections that nobody let go of would need ten times as much.
const GROWTH_KIB: u64 = 32 * 1024;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Refresh,
    Login,
    Register,
    Logout,
    Verify,
    Sessions,
    Profile,
}

const KINDS: [Kind; 7] =
    [Kind::Refresh, Kind::Login, Kind::Register, Kind::Logout, Kind::Verify, Kind::Sessions, Kind::Profile];

#[derive(Debug, Clone, Copy)]
enum Point {
    Connected,
    Head,
    Body,
    Sent,
    Answer,
}

const POINTS: [Point; 5] = [Point::Connected, Point::Head, Point::Body, Point::Sent, Point::Answer];

/// Somebody with an account who hangs up a lot.
struct Guest {
    client: Client,
    dice: SeededRandom,
    name: String,
    tokens: Tokens,
    turn: usize,
}

impl Guest {
    async fn new(client: Client, lane: usize) -> Self {
        let name = format!("guest{lane}");
        let tokens = client.register(&format!("{name}@example.org")).await;
        // Logins are done to another account: too many of them would end this one's session.
        client.register(&format!("{name}-visits@example.org")).await;
        let dice = SeededRandom::new(scale::seed().wrapping_add(lane as u64));
        Self { client, dice, name, tokens, turn: 0 }
    }

    fn visitor(&self) -> String {
        format!("{}-visits@example.org", self.name)
    }

    async fn bytes(&self, kind: Kind) -> Vec<u8> {
        let post = |target: &str, body: serde_json::Value| format_request("POST", target, None, &body.to_string());
        let get = |target: &str| format_request("GET", target, Some(&self.tokens.access), "");
        match kind {
            Kind::Refresh => post("/api/auth/refresh", json!({ "refresh_token": self.tokens.refresh })),
            Kind::Login => post("/api/auth/login", json!({ "email": self.visitor(), "password": PASSWORD })),
            Kind::Register => {
                let email = format!("{}-{}@example.org", self.name, self.turn);
                post("/api/auth/register", json!({ "email": email, "password": PASSWORD }))
            }
            Kind::Logout => {
                let leaving = self.client.login(&self.visitor()).await;
                post("/api/auth/logout", json!({ "refresh_token": leaving.refresh }))
            }
            Kind::Verify => get("/api/auth/verify"),
            Kind::Sessions => get("/api/auth/sessions"),
            Kind::Profile => get("/api/user/profile"),
        }
    }

    async fn hang_up(&mut self) {
        self.turn += 1;
        let kind = KINDS[self.dice.below(KINDS.len())];
        let point = POINTS[self.dice.below(POINTS.len())];
        let bytes = self.bytes(kind).await;
        let body = bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("a head ends") + 4;
        let (sent, heard) = match point {
            Point::Connected => (0, 0),
            Point::Head => (1 + self.dice.below(body - 1), 0),
            Point::Body => (body + self.dice.below(bytes.len() - body + 1), 0),
            Point::Sent => (bytes.len(), 0),
            Point::Answer => (bytes.len(), 1 + self.dice.below(100)),
        };
        let mut connection = Raw::connect(self.client.address()).await;
        connection.send(&bytes[..sent]).await;
        connection.hear_some(heard).await;
        if matches!(point, Point::Sent) {
            // Not to wait for anything: the daemon is to be anywhere in its work.
            tokio::time::sleep(Duration::from_micros(self.dice.next() % LONGEST_STAY_US)).await;
        }
        if self.dice.below(2) == 0 {
            connection.reset();
        }
        if matches!(kind, Kind::Refresh) {
            // Whether it was rotated or not: the client's token is good for the next one.
            self.tokens = self.client.refresh(&self.tokens).await;
        }
    }

    /// One request of every kind, to its end.
    async fn stay(&mut self) {
        self.turn += 1;
        self.tokens = self.client.refresh(&self.tokens).await;
        let visitor = self.client.login(&self.visitor()).await;
        self.client.register(&format!("{}-{}@example.org", self.name, self.turn)).await;
        self.client.logout(&visitor.refresh).await.assert_status(204);
        self.client.verify(&self.tokens.access).await.assert_status(200);
        self.client.sessions(&self.tokens.access).await.assert_status(200);
        self.client.profile(&self.tokens.access).await.assert_status(200);
    }
}

fn format_request(method: &str, target: &str, bearer: Option<&str>, body: &str) -> Vec<u8> {
    let bearer = bearer.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{bearer}\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The guests, each with `turns` turns of `stay` or `hang_up`, all at once.
async fn let_in(guests: Vec<Guest>, turns: usize, stays: bool) -> Vec<Guest> {
    let guests: Arc<Vec<_>> = Arc::new(guests.into_iter().map(|guest| tokio::sync::Mutex::new(Some(guest))).collect());
    together(guests.len(), |lane| {
        let guests = guests.clone();
        async move {
            let mut guest = guests[lane].lock().await.take().expect("each is let in once");
            for _ in 0..turns {
                if stays { guest.stay().await } else { guest.hang_up().await }
            }
            guest
        }
    })
    .await
}

/// Waits until the daemon has let go of every client, and of what it held for them.
async fn until_back_at(daemon: &Daemon, base: Option<(usize, usize)>) -> (usize, usize) {
    let (pid, port) = (daemon.pid(), daemon.address().port());
    until(Duration::from_secs(60), "descriptors and threads are back at their base", || async {
        let (connections, now) = (connections_to(port), (descriptors(pid), threads(pid)));
        println!("{connections} connections, {now:?} of {base:?}");
        let is_back = base.is_none_or(|base| now.0 <= base.0 && now.1 <= base.1);
        (connections == 0 && is_back).then_some(now)
    })
    .await
}

/// The way to the database on which transactions are watched, where it leads over a network.
async fn watched(database: &Database) -> Option<PostgresProxy> {
    match database {
        Database::Sqlite => None,
        Database::Postgres(url) => Some(PostgresProxy::in_front_of(url).await),
    }
}

/// No transaction is left open, and the pool is no larger than it may be.
async fn assert_pool_is_clean(daemon: &Daemon) {
    let Database::Postgres(url) = daemon.database() else { return };
    let mut connection = PgConnection::connect(url).await.expect("the server takes connections");
    let query = "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%') FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'authd'";
    // A job may be in the middle of its own.
    for _ in 0..3 {
        let (open, in_transaction): (i64, i64) = sqlx::query_as(query).fetch_one(&mut connection).await.unwrap();
        assert!(open <= 1, "{open} connections of a pool of one");
        if in_transaction == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    panic!("a transaction stays open");
}

on_both! {
    async fn clients_that_hang_up_leave_nothing_behind(options) {
        let figure = scale::of(20_000);
        announce(figure);
        let storage = watched(&options.database).await;
        let database = storage.as_ref().map_or(options.database.clone(), |storage| Database::Postgres(storage.url()));
        let daemon = Daemon::start(Options { database, ..options.config(POOL_OF_ONE) }).await;
        let mut guests = Vec::new();
        for lane in 0..LANES {
            guests.push(Guest::new(daemon.client(), lane).await);
        }
        let guests = let_in(guests, 2, true).await;
        let base = until_back_at(&daemon, None).await;
        let memory = resident_kib(daemon.pid());
        let delay = |by| storage.iter().for_each(|storage| storage.delay_answers(by));
        delay(SLOWNESS);
        let slow = figure.div_ceil(10 * LANES);
        let guests = let_in(guests, slow, false).await;
        delay(Duration::ZERO);
        let guests = let_in(guests, figure.div_ceil(LANES) - slow, false).await;
        until_back_at(&daemon, Some(base)).await;
        assert_pool_is_clean(&daemon).await;
        let_in(guests, 2, true).await;
        until_back_at(&daemon, Some(base)).await;
        assert_pool_is_clean(&daemon).await;
        let grown = resident_kib(daemon.pid()).saturating_sub(memory);
        println!("{base:?} descriptors and threads; memory {memory} KiB and {grown} more");
        assert!(grown <= GROWTH_KIB, "memory grew by {grown} KiB");
        assert_eq!(storage.map_or(0, |storage| storage.tangled()), 0, "a connection came back in a transaction");
        let log = daemon.log().text();
        assert!(!log.contains("panicked"), "{log}");
    }
}
