//! The daemon under test, as in production but for limits, and people who are logged in.

use crate::{
    callers::{Guesser, Refresher, Same},
    http::{self, Conn},
    load::{Caller, Crew},
};
use std::net::SocketAddr;
use tests::{
    client::{PASSWORD, Tokens},
    daemon::Daemon,
    options::{Database, LogTo, Options},
    wait,
};

/// Accounts; each has one session.
pub(crate) const PEOPLE: usize = 64;
/// Registrations at once: few, so that a slow machine does not refuse some.
const AT_ONCE: usize = 8;

/// The hashing of production and its log; the harness turns most limits off, the ladder can only be made short.
const PRODUCTION: &str = r#"
[server]
mode = "production"

[password]
memory_kib = 19456
iterations = 2
parallelism = 1
failure_floor = "auto"

[log]
level = "info"

[limit."login.account"]
burst = 84
first_delay = "1ms"
max_delay = "1ms"
forget = "1s"
"#;

/// Which refreshes write an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audit {
    /// Those from elsewhere.
    Changes,
    /// Every one.
    All,
}

impl Audit {
    /// As the configuration says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::All => "all",
        }
    }
}

/// How the daemon under test is configured.
pub(crate) fn options(database: Database, audit: Audit) -> Options {
    let audit = format!("[audit]\nrefresh = \"{}\"", audit.name());
    Options::on(database).log_to(LogTo::File).config(PRODUCTION).config(&audit)
}

/// The daemon and the people it knows.
pub(crate) struct Subject {
    pub(crate) daemon: Daemon,
    pub(crate) people: Vec<Person>,
}

/// Somebody with an account and a session.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) email: String,
    pub(crate) tokens: Tokens,
}

impl Subject {
    /// A fresh daemon with its people.
    pub(crate) async fn start(database: Database, audit: Audit) -> Self {
        let daemon = Daemon::start(options(database, audit)).await;
        let mut subject = Self { daemon, people: Vec::new() };
        subject.register().await;
        subject
    }

    /// A fresh daemon that knows nobody yet.
    pub(crate) async fn empty(database: Database) -> Self {
        Self { daemon: Daemon::start(options(database, Audit::Changes)).await, people: Vec::new() }
    }

    /// Registers everybody.
    pub(crate) async fn register(&mut self) {
        let client = self.daemon.client();
        while self.people.len() < PEOPLE {
            let first = self.people.len();
            let some = wait::together(AT_ONCE, move |number| async move {
                let email = format!("person-{}@example.org", first + number);
                let tokens = client.register(&email).await;
                Person { email, tokens }
            });
            self.people.extend(some.await);
        }
    }

    /// Address of its public API.
    pub(crate) fn address(&self) -> SocketAddr {
        self.daemon.address()
    }

    fn crew<C: Caller>(&self, count: usize, caller: impl Fn(Conn, usize) -> C) -> Crew<C> {
        Crew::new((0..count).map(|number| caller(Conn::to(self.address()), number)).collect())
    }

    /// Somebody's access token.
    pub(crate) fn access(&self, number: usize) -> &str {
        &self.person(number).tokens.access
    }

    fn person(&self, number: usize) -> &Person {
        self.people.get(number % self.people.len()).expect("people are registered first")
    }

    /// Each logs in with the right password, again and again.
    pub(crate) fn logins(&self, count: usize) -> Crew<Same> {
        self.crew(count, |conn, number| Same::login(conn, &self.person(number).email, PASSWORD))
    }

    /// Wrong passwords, for accounts that exist and for others by turns.
    pub(crate) fn guessers(&self, count: usize) -> Crew<Guesser> {
        let guesser = |conn, number| match number % 2 {
            0 => Guesser::of_known(conn, &self.person(number).email),
            _ => Guesser::of_unknown(conn, number),
        };
        self.crew(count, guesser)
    }

    /// Each refreshes a session of its own; `first` is the number of the first one.
    pub(crate) fn refreshers(&self, count: usize, first: usize) -> Crew<Refresher> {
        self.crew(count, |conn, number| Refresher::new(conn, &self.person(first + number).tokens.refresh))
    }

    /// Each asks the same `GET` with its own access token.
    pub(crate) fn getters(&self, count: usize, path: &str) -> Crew<Same> {
        self.crew(count, |conn, number| Same::new(conn, http::get(path, self.access(number))))
    }
}
