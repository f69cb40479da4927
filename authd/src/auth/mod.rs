//! Use cases, one file a verb: plain async methods on [`Auth`]. No status codes, no JSON, no SQL, nothing spawned.

mod address;
mod attack;
mod audit;
mod breaker;
mod chain;
mod chain_check;
mod chain_export;
mod condition;
mod cursor;
mod denial;
mod device;
mod evaluate;
mod floor;
mod forget;
mod grant;
mod hard;
mod key;
mod key_change;
mod key_facts;
mod key_withdraw;
mod limit;
mod limited;
mod login;
mod logout;
mod mode;
mod notable;
mod operator;
mod overview;
mod password;
mod purge;
mod refresh;
mod refusal;
mod register;
mod replay;
mod reset;
mod restore;
mod revoked;
mod rewrap;
mod session;
mod spool;
mod tally;
mod transfer;
mod upkeep;
mod user;
mod why;

pub use address::{BanGuard, RuleWish};
pub use attack::Alarm;
pub use breaker::{DATABASE, REDIS};
pub use chain::{AuditStats, AuditTrouble, CheckpointPace};
pub use chain_check::{AuditCheck, CheckStep};
pub use chain_export::AuditExport;
pub use condition::{AuditState, DatabaseState, Look};
pub use denial::Flush;
pub use grant::{Bearer, Tokens};
pub use hard::LockedLanes;
pub use key_change::{KeyRotation, KeyStaging, Replacement, RotationPace};
pub use key_facts::KeyFacts;
pub use key_withdraw::{Insistence, KeyWithdrawal, Known};
pub use limit::LimitChange;
pub use login::Attempt;
pub use logout::{LogoutProof, LogoutScope};
pub use mode::{Closing, ModeInForce};
pub use operator::{Doing, Expectation, Operator, OperatorRefusal, Revocations, SessionQuery};
pub use overview::Lineage;
pub use purge::{ClockTrust, PurgeTurn};
pub use refresh::{IdempotencyKey, InvalidIdempotencyKey, RefreshAttempt};
pub use refusal::Refusal;
pub use register::Registration;
pub use replay::{Extent, Trial};
pub use restore::{EpochBump, Restored, newer};
pub use revoked::{Forget, RevokedSet};
pub use rewrap::Encryption;
pub use session::Keep;
pub use transfer::{Hashes, ImportLine, LineFate, LineRefusal, Taken};
pub use upkeep::DatabaseReport;
pub use user::{NewUser, UserCreated};

use crate::domain::{
    account::AccountStore,
    address_rule::AddressRuleStore,
    audit::{Action, Actor, AuditLog, Event, EventOutcome, Spool},
    chain::{ChainStore, Notary},
    circuit::Circuit,
    clock::{Clock, Random, random_bytes},
    device::DeviceStore,
    hard::HardStore,
    key::KeyStore,
    key_plan::KeyPlan,
    limit::{Limiter, PolicySet},
    login::{Sealer, TokenSigner},
    password::{PasswordHasher, PasswordPolicy},
    restore::RestoreGuard,
    rotation::Origin,
    session::{DeviceSummary, Network, Recording, ReplayScope, SessionCap, SessionStore},
    setting::{Readiness, SettingStore},
    tally::Tally,
    upkeep::Upkeep,
    wrap::{WrapStore, Wrapper},
};
use ipnet::IpNet;
use shared::id::EventId;
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU32},
    },
};

/// Everything the use cases work with.
pub struct Parts {
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Known devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Password evaluations.
    pub hard: Arc<dyn HardStore>,
    /// Signing keys.
    pub keys: Arc<dyn KeyStore>,
    /// What is encrypted under the key-encryption key.
    pub wraps: Arc<dyn WrapStore>,
    /// The key-encryption keys.
    pub wrapper: Arc<dyn Wrapper>,
    /// Live settings.
    pub settings: Arc<dyn SettingStore>,
    /// Bans and allowances.
    pub rules: Arc<dyn AddressRuleStore>,
    /// Audit log.
    pub audit: Arc<dyn AuditLog>,
    /// The audit chain.
    pub chain: Arc<dyn ChainStore>,
    /// The audit key.
    pub notary: Arc<dyn Notary>,
    /// What every new connection to the database is compared with.
    pub guard: Arc<RestoreGuard>,
    /// What keeps refusals while the audit log is away.
    pub spool: Arc<dyn Spool>,
    /// Whether storage answers.
    pub readiness: Arc<dyn Readiness>,
    /// Limits.
    pub limiter: Arc<dyn Limiter>,
    /// Password hashing.
    pub hasher: Arc<dyn PasswordHasher>,
    /// What may be a password.
    pub passwords: Arc<dyn PasswordPolicy>,
    /// Access tokens.
    pub signer: Arc<dyn TokenSigner>,
    /// Seals and keyed hashes.
    pub sealer: Arc<dyn Sealer>,
    /// The database as a whole.
    pub upkeep: Arc<dyn Upkeep>,
    /// Circuit breakers, one for each dependency.
    pub circuits: Vec<Arc<Circuit>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// The settings that use cases follow; replaced as a whole by a reload. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether people may register.
    pub registration: RegistrationMode,
    /// `session.idle`.
    pub idle_ms: i64,
    /// `session.absolute`.
    pub absolute_ms: i64,
    /// `session.max_per_account`, `session.on_limit`.
    pub cap: SessionCap,
    /// `session.grace`.
    pub grace_ms: i64,
    /// `session.keyed_grace`.
    pub keyed_grace_ms: i64,
    /// `session.keep`.
    pub keep_ms: i64,
    /// `session.on_replay`.
    pub on_replay: ReplayScope,
    /// `token.access_ttl`.
    pub access_ttl_ms: i64,
    /// `token.clock_skew`.
    pub skew_ms: i64,
    /// `audit.refresh`.
    pub recording: Recording,
    /// `audit.retention`.
    pub audit_retention_ms: i64,
    /// `password.wait`.
    pub wait_ms: i64,
    /// `password.failure_floor`; `None`: what the slowest hash in use takes.
    pub failure_floor_ms: Option<i64>,
    /// Life of a one-time reset.
    pub reset_ms: i64,
    /// Times of the key life cycle.
    pub keys: KeyPlan,
    /// Limits as configured; live values lie above them.
    pub limits: Arc<PolicySet>,
    /// `server.trusted_proxies`: whom no ban may hit unforced.
    pub trusted_proxies: Vec<IpNet>,
}

/// `registration.open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Anybody may register.
    Open,
    /// Operators make accounts.
    Closed,
}

/// Who calls, from where.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Quoted in every event of the request.
    pub request_id: String,
    /// Client address after the trusted-proxy rule.
    pub ip: IpAddr,
    /// Device summary from the user agent or the app's label.
    pub device: Option<DeviceSummary>,
}

impl Caller {
    /// What is stored of where the call came from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin { network: Some(Network::of(self.ip)), device: self.device.clone() }
    }
}

/// The use cases.
pub struct Auth {
    pub(crate) parts: Parts,
    settings: RwLock<Arc<Settings>>,
    revoked: RevokedSet,
    denials: denial::Denials,
    news: notable::News,
    opened: Mutex<hard::SeenOpenings>,
    tally: Tally,
    password_changes: Mutex<password::RecentChanges>,
    seen_epoch: AtomicI64,
    /// Database time at the last look, in Unix milliseconds, if it was believed: what was over by then may be erased.
    believed_ms: AtomicI64,
    mode: RwLock<ModeInForce>,
    conditions: condition::Conditions,
    limits: RwLock<Arc<PolicySet>>,
    /// What the limiter was given last, and for how many instances.
    installed: Mutex<(Arc<PolicySet>, u32)>,
    rules: address::Rules,
    alarms: attack::Alarms,
    instances: AtomicU32,
    keys: key::KeysInForce,
    breaker_events: breaker::BreakerEvents,
    chain: chain::ChainState,
    census: overview::LastCensus,
}

impl Auth {
    /// Joins the parts.
    #[must_use]
    pub fn new(parts: Parts, settings: Settings) -> Self {
        parts.limiter.install(&settings.limits, 1);
        let chain = chain::ChainState::started(parts.clock.monotonic_ms());
        Self {
            parts,
            revoked: RevokedSet::default(),
            denials: denial::Denials::default(),
            news: notable::News::default(),
            opened: Mutex::default(),
            tally: Tally::default(),
            password_changes: Mutex::default(),
            seen_epoch: AtomicI64::new(0),
            believed_ms: AtomicI64::new(forget::NEVER),
            mode: RwLock::default(),
            conditions: condition::Conditions::default(),
            limits: RwLock::new(settings.limits.clone()),
            installed: Mutex::new((settings.limits.clone(), 1)),
            rules: address::Rules::default(),
            alarms: attack::Alarms::default(),
            instances: AtomicU32::new(1),
            keys: key::KeysInForce::default(),
            breaker_events: breaker::BreakerEvents::default(),
            chain,
            census: overview::LastCensus::default(),
            settings: RwLock::new(Arc::new(settings)),
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the settings; live limits are laid over them at the next poll.
    pub fn reconfigure(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// What the use cases have counted.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Sessions that must not work any more, in memory.
    #[must_use]
    pub fn revoked(&self) -> &RevokedSet {
        &self.revoked
    }

    fn now_ms(&self) -> i64 {
        self.parts.clock.now_ms()
    }

    fn id_entropy(&self) -> [u8; 10] {
        random_bytes(self.parts.random.as_ref())
    }

    fn event_id(&self) -> EventId {
        EventId::new(self.now_ms(), self.id_entropy())
    }

    /// An event of a request on the public API.
    fn event(&self, caller: &Caller, action: Action) -> Event {
        let origin = caller.origin();
        let base = self.job_event("http", action);
        Event {
            actor: Actor::Anonymous,
            network: origin.network,
            device: origin.device,
            request_id: Some(caller.request_id.clone()),
            ..base
        }
    }

    /// An event of the daemon's own.
    fn job_event(&self, job: &'static str, action: Action) -> Event {
        let at_ms = self.now_ms();
        Event {
            id: EventId::new(at_ms, self.id_entropy()),
            at_ms,
            action,
            outcome: EventOutcome::Ok,
            reason: None,
            actor: Actor::Job(job),
            target: None,
            network: None,
            device: None,
            request_id: None,
            detail: Vec::new(),
        }
    }
}
