//! The contract of every store trait, on SQLite in a file, SQLite in memory and a real PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails on the spot, and looks at the machine's clock"
)]

mod account;
mod audit;
mod breaks;
mod chain;
mod device;
mod faults;
mod hard;
mod key;
mod many;
mod model;
mod past;
mod races;
mod rotate;
mod rule;
mod schema;
mod session;
mod setting;

use authd::{
    crypto::{audit::AuditKeys, root::Root},
    domain::{
        account::{Created, NewAccount, PasswordHash},
        audit::{Action, Actor, Event, EventFilter, EventOutcome, StoredEvent},
        breaker::BreakerSettings,
        circuit::Circuit,
        clock::{Clock, random_bytes},
        identifier::{Email, Username},
        outage::Outages,
        page::PageRequest,
        quota::Quota,
        rotation::{Keying, Origin, RotationPolicy, Sealed, Shadow, Successor},
        session::{
            DeviceSummary, EndReason, Network, NewSession, OnLimit, Opened, Recording, ReplayScope, Revoked, Rotate,
            Rotated, SessionCap, SessionFilter, Transport, Unseal,
        },
        token::{Handle, TokenHash},
    },
    store::{StoreOptions, Stores, open},
};
use shared::id::{EventId, SessionId, UserId};
use std::{sync::Arc, time::Duration};
use tests::{
    clock::{SeededRandom, TestClock},
    postgres::Postgres,
};

/// Declares each function as a test on every database.
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        mod sqlite_file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::store::World::sqlite_file().await).await; })*
        }
        mod sqlite_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::store::World::sqlite_memory().await).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::store::World::postgres().await).await; })*
        }
    };
}
pub(crate) use on_every_store;

const DAY_MS: i64 = 24 * 3_600 * 1_000;
const GRACE_MS: i64 = 10_000;

/// An open database, its time and a source of distinct values.
struct World {
    stores: Stores,
    clock: Arc<TestClock>,
    random: SeededRandom,
    url: String,
    dir: Option<tempfile::TempDir>,
}

/// As configured by default.
const BREAKER: BreakerSettings =
    BreakerSettings { failures: 5, window_ms: 10_000, open_for_ms: 5_000, half_open_max_calls: 1 };

/// The audit key of every database of these tests.
pub(crate) fn notary() -> AuditKeys {
    AuditKeys::new(&Root::from_bytes(&std::array::from_fn(|at| u8::try_from(at).unwrap())).unwrap())
}

fn options(url: &str, clock: &Arc<TestClock>) -> StoreOptions {
    StoreOptions {
        url: url.to_owned(),
        max_connections: 16,
        acquire_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_secs(2),
        start_timeout: Duration::from_secs(20),
        revocation_keep_ms: 720_000,
        circuit: Arc::new(Circuit::new("database", BREAKER, clock.clone())),
        notary: Some(Arc::new(notary())),
        clock: clock.clone(),
        random: Arc::new(authd::domain::clock::OsRandom),
    }
}

impl World {
    async fn at(url: String, dir: Option<tempfile::TempDir>) -> Self {
        let clock = Arc::new(TestClock::default());
        let stores = open(options(&url, &clock)).await.unwrap();
        Self { stores, clock, random: SeededRandom::new(7), url, dir }
    }

    async fn sqlite_file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("new/authd.db").display());
        Self::at(url, Some(dir)).await
    }

    async fn sqlite_memory() -> Self {
        Self::at("sqlite::memory:".into(), None).await
    }

    async fn postgres() -> Self {
        // Many tests share the server: waiting for a processor is not the fault they look for.
        let url = Postgres::shared().await.create_database().await;
        let clock = Arc::new(TestClock::default());
        let patient = StoreOptions {
            acquire_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(20),
            ..options(&url, &clock)
        };
        Self { stores: open(patient).await.unwrap(), clock, random: SeededRandom::new(7), url, dir: None }
    }

    fn bytes<const N: usize>(&self) -> [u8; N] {
        random_bytes(&self.random)
    }

    fn event(&self, action: Action) -> Event {
        Event {
            id: EventId::new(self.clock.now_ms(), self.bytes()),
            at_ms: self.clock.now_ms(),
            action,
            outcome: EventOutcome::Ok,
            reason: None,
            actor: Actor::Anonymous,
            target: None,
            network: None,
            device: None,
            request_id: None,
            detail: Vec::new(),
        }
    }

    fn new_account(&self, email: &str) -> NewAccount {
        NewAccount {
            id: UserId::new(self.clock.now_ms(), self.bytes()),
            email: Email::parse(email).unwrap(),
            username: None,
            password: Some(PasswordHash("hash 1".into())),
            idempotency: None,
        }
    }

    /// An account without sessions.
    async fn account(&self, email: &str) -> UserId {
        let new = self.new_account(email);
        let id = new.id.clone();
        let made = self.stores.accounts.create(new, None, vec![self.event(Action::UserCreated)]).await.unwrap();
        assert!(matches!(made, Created::Created { .. }), "{made:?}");
        id
    }

    fn new_session(&self, account: &UserId) -> NewSession {
        NewSession {
            id: SessionId::new(self.clock.now_ms(), self.bytes()),
            handle: Handle(self.bytes()),
            token: TokenHash(self.bytes()),
            account: account.clone(),
            account_epoch: 0,
            idle_ms: 14 * DAY_MS,
            absolute_ms: 90 * DAY_MS,
            origin: home(),
            transport: Transport::Body,
            amr: vec!["pwd".into()],
            cap: SessionCap { max: 50, on_limit: OnLimit::EvictOldest },
            over_by_ms: Some(i64::MAX),
            device: None,
        }
    }

    async fn open(&self, new: &NewSession) -> Opened {
        self.stores.sessions.open(new.clone(), vec![self.event(Action::SessionOpened)]).await.unwrap()
    }

    /// A live session of the account.
    async fn session(&self, account: &UserId) -> NewSession {
        let new = self.new_session(account);
        let opened = self.open(&new).await;
        assert!(matches!(opened, Opened::Opened { .. }), "{opened:?}");
        new
    }

    /// Ends a session by id.
    async fn revoke(&self, id: &SessionId) -> Revoked {
        let filter = SessionFilter { id: Some(id.clone()), ..SessionFilter::default() };
        let event = self.event(Action::SessionRevoked);
        self.stores.sessions.revoke(filter, EndReason::UserRevoked, event).await.unwrap()
    }

    /// A refresh with this token: a plain call from home, its successor sealed.
    fn call(&self, session: &NewSession, presented: TokenHash) -> Rotate {
        let hash = TokenHash(self.bytes());
        Rotate {
            handle: session.handle,
            presented,
            keying: Keying::Plain,
            keyed_tag: None,
            transport: Transport::Body,
            origin: home(),
            unseal: Arc::new(OpensAll),
            successor: Successor { hash, sealed: Some(Sealed { bytes: hash.0.to_vec(), keying: Keying::Plain }) },
            policy: policy(),
            outages: Outages::default(),
            recording: Recording::Changes,
            on_replay: ReplayScope::Session,
            event: self.event(Action::SessionRefreshed),
        }
    }

    async fn rotate(&self, call: &Rotate) -> Rotated {
        self.stores.sessions.rotate(call.clone()).await.unwrap().unwrap()
    }

    /// All events of this action, newest first.
    async fn events(&self, action: Action) -> Vec<StoredEvent> {
        let filter = EventFilter { action: Some(action.as_str().into()), ..EventFilter::default() };
        self.stores.audit.list(filter, PageRequest::first(1_000)).await.unwrap().items
    }

    async fn all_events(&self) -> usize {
        self.stores.audit.list(EventFilter::default(), PageRequest::first(1_000)).await.unwrap().items.len()
    }
}

/// A seal that every call opens.
struct OpensAll;
impl Unseal for OpensAll {
    fn opens(&self, _: &Sealed) -> bool {
        true
    }
}

/// A seal that no call opens.
struct OpensNothing;
impl Unseal for OpensNothing {
    fn opens(&self, _: &Sealed) -> bool {
        false
    }
}

fn home() -> Origin {
    Origin { network: Some(Network::stored("192.0.2.0/24".into())), device: DeviceSummary::new("Firefox on Linux") }
}

fn elsewhere() -> Origin {
    Origin { network: Some(Network::stored("198.51.100.0/24".into())), device: DeviceSummary::new("curl") }
}

fn policy() -> RotationPolicy {
    RotationPolicy {
        grace_ms: GRACE_MS,
        keyed_grace_ms: DAY_MS,
        idle_ms: 14 * DAY_MS,
        access_ttl_ms: 600_000,
        quota: None,
        shadow: Shadow::Enforced,
    }
}

fn quota(rate: &str, burst: u32) -> Option<Quota> {
    Quota::new(rate.parse().unwrap(), burst)
}

fn username(text: &str) -> Option<Username> {
    Some(Username::parse(text).unwrap())
}
