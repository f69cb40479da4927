//! Audit events: who did what to what, how it ended; and the log that keeps them.

use crate::domain::{
    page::{Page, PageRequest},
    session::{DeviceSummary, Network},
    store_error::StoreError,
};
use shared::id::EventId;

macro_rules! actions {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// What happened: `noun.verb_in_past`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is named by its text")]
        pub enum Action { $($name,)* }

        impl Action {
            /// All actions.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stored and shown text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

actions! {
    UserCreated = "user.created",
    UserUpdated = "user.updated",
    UserDisabled = "user.disabled",
    UserEnabled = "user.enabled",
    UserUnlocked = "user.unlocked",
    UserDeleted = "user.deleted",
    UserExported = "user.exported",
    PasswordChanged = "password.changed",
    PasswordResetIssued = "password.reset_issued",
    PasswordReset = "password.reset",
    LoginSucceeded = "login.succeeded",
    LoginDenied = "login.denied",
    SessionOpened = "session.opened",
    SessionRefreshed = "session.refreshed",
    SessionRetried = "session.retried",
    SessionReplayed = "session.replayed",
    SessionRevoked = "session.revoked",
    DeviceAdded = "device.added",
    DeviceDropped = "device.dropped",
    KeyStaged = "key.staged",
    KeyActivated = "key.activated",
    KeyRetired = "key.retired",
    KeyRevoked = "key.revoked",
    KeyRewrapped = "key.rewrapped",
    LimitChanged = "limit.changed",
    LimitReset = "limit.reset",
    LimitExceeded = "limit.exceeded",
    AddressBanned = "address.banned",
    AddressBanRemoved = "address.ban_removed",
    AddressAllowed = "address.allowed",
    AddressAllowRemoved = "address.allow_removed",
    AttackBegan = "attack.began",
    AttackEnded = "attack.ended",
    ModeChanged = "mode.changed",
    BreakerOpened = "breaker.opened",
    BreakerClosed = "breaker.closed",
    AdminRefused = "admin.refused",
    AuditRead = "audit.read",
    AuditPurged = "audit.purged",
    AuditCheckpointed = "audit.checkpointed",
    AuditTampered = "audit.tampered",
    AuditLagging = "audit.lagging",
    ConfigReloaded = "config.reloaded",
    ConfigRejected = "config.rejected",
    DatabaseBackedUp = "database.backed_up",
    DatabaseMoveBegun = "database.move_begun",
    DatabaseMoved = "database.moved",
    DatabaseMoveUndone = "database.move_undone",
    DaemonStarted = "daemon.started",
    DaemonStopped = "daemon.stopped",
    ClockStepped = "clock.stepped",
    ClockConfirmed = "clock.confirmed",
    StorageLost = "storage.lost",
    StorageReturned = "storage.returned",
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOutcome {
    /// Done.
    Ok,
    /// Refused.
    Denied,
    /// Failed.
    Error,
}

impl EventOutcome {
    /// The stored and shown text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
}

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Nobody who is known.
    Anonymous,
    /// An account, by id.
    User(String),
    /// Somebody on the admin socket.
    Operator {
        /// User id of the peer.
        uid: u32,
        /// Login uid, where the kernel tells it.
        login_uid: Option<u32>,
        /// Process id of the peer.
        pid: Option<i32>,
    },
    /// The daemon itself, by the job's name.
    Job(&'static str),
}

/// What was acted on: `session`, `ses_…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `user`, `session`, `key`, `limit`, `config`, `daemon`, `database`, `socket`,
    /// `address`.
    pub kind: &'static str,
    /// Its id; text from users has control characters escaped by whoever prints it.
    pub id: String,
}

/// An event to be written with the change it describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id; the store makes further ids when one operation needs several events.
    pub id: EventId,
    /// When, by the instance's clock.
    pub at_ms: i64,
    /// What.
    pub action: Action,
    /// How it ended.
    pub outcome: EventOutcome,
    /// Why: a short machine-readable word, or the operator's words.
    pub reason: Option<String>,
    /// Who.
    pub actor: Actor,
    /// To what.
    pub target: Option<Target>,
    /// From which coarse network.
    pub network: Option<Network>,
    /// With which device.
    pub device: Option<DeviceSummary>,
    /// In which request.
    pub request_id: Option<String>,
    /// Further facts, name and value; never a secret.
    pub detail: Vec<(&'static str, String)>,
}

impl Event {
    /// The same event about this target.
    #[must_use]
    pub fn about(mut self, kind: &'static str, id: &str) -> Self {
        self.target = Some(Target { kind, id: id.to_owned() });
        self
    }

    /// The same event with another action.
    #[must_use]
    pub fn doing(mut self, action: Action) -> Self {
        self.action = action;
        self
    }

    /// The same event, refused for this reason.
    #[must_use]
    pub fn denied(mut self, reason: &str) -> Self {
        self.outcome = EventOutcome::Denied;
        self.reason = Some(reason.to_owned());
        self
    }

    /// The same event with a reason.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self
    }

    /// The same event by this actor.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// The same event with one more fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.detail.push((name, value.to_string()));
        self
    }
}

/// A stored event; everything as text, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its id.
    pub id: EventId,
    /// Place in the sealed order; `None` until it is sealed.
    pub seq: Option<i64>,
    /// When.
    pub at_ms: i64,
    /// [`Action::as_str`].
    pub action: String,
    /// [`EventOutcome::as_str`].
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// `user`, `operator`, `job` or `anonymous`.
    pub actor_kind: String,
    /// Account id or job name.
    pub actor_id: Option<String>,
    /// Operator's uid.
    pub actor_uid: Option<i64>,
    /// Operator's login uid.
    pub actor_login_uid: Option<i64>,
    /// Operator's process.
    pub actor_pid: Option<i64>,
    /// Kind of the target.
    pub target_kind: Option<String>,
    /// Its id.
    pub target_id: Option<String>,
    /// Coarse network.
    pub network: Option<String>,
    /// Device summary.
    pub device: Option<String>,
    /// Request.
    pub request_id: Option<String>,
    /// Further facts, sorted by name.
    pub detail: Vec<(String, String)>,
}

impl From<&Event> for StoredEvent {
    /// As it would be read back, not yet sealed.
    fn from(event: &Event) -> Self {
        let (actor_kind, actor_id, uids) = match &event.actor {
            Actor::Anonymous => ("anonymous", None, (None, None, None)),
            Actor::User(id) => ("user", Some(id.clone()), (None, None, None)),
            Actor::Operator { uid, login_uid, pid } => {
                ("operator", None, (Some(i64::from(*uid)), login_uid.map(i64::from), pid.map(i64::from)))
            }
            Actor::Job(name) => ("job", Some((*name).to_owned()), (None, None, None)),
        };
        let (actor_uid, actor_login_uid, actor_pid) = uids;
        let mut detail: Vec<(String, String)> =
            event.detail.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        detail.sort_unstable();
        Self {
            id: event.id.clone(),
            seq: None,
            at_ms: event.at_ms,
            action: event.action.as_str().to_owned(),
            outcome: event.outcome.as_str().to_owned(),
            reason: event.reason.clone(),
            actor_kind: actor_kind.to_owned(),
            actor_id,
            actor_uid,
            actor_login_uid,
            actor_pid,
            target_kind: event.target.as_ref().map(|target| target.kind.to_owned()),
            target_id: event.target.as_ref().map(|target| target.id.clone()),
            network: event.network.as_ref().map(|network| network.as_str().to_owned()),
            device: event.device.as_ref().map(|device| device.as_str().to_owned()),
            request_id: event.request_id.clone(),
            detail,
        }
    }
}

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Exactly this action, or a noun (`login` matches `login.*`).
    pub action: Option<String>,
    /// Actor's id, or a uid as text.
    pub actor: Option<String>,
    /// Target's id.
    pub target: Option<String>,
    /// Coarse network.
    pub network: Option<String>,
    /// Outcome.
    pub outcome: Option<String>,
    /// At or after.
    pub since_ms: Option<i64>,
    /// Before.
    pub until_ms: Option<i64>,
    /// Request.
    pub request_id: Option<String>,
    /// Whether any will do.
    pub worth: Worth,
}

/// Which events by their worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Worth {
    /// All.
    #[default]
    Any,
    /// Those of [`shared::notable`].
    Notable,
}

/// Keeps events in order. Changes write theirs through the other stores; this is for events without a change.
#[async_trait::async_trait]
pub trait AuditLog: Send + Sync {
    /// Writes events that describe no change: refusals, reads.
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError>;

    /// Writes events that were kept elsewhere under their ids. One that is there already is left as it is.
    async fn merge(&self, events: Vec<StoredEvent>) -> Result<(), StoreError>;

    /// Writes an event and takes it back: whether the log takes events now.
    async fn probe(&self, event: Event) -> Result<(), StoreError>;

    /// Newest first.
    async fn list(&self, filter: EventFilter, page: PageRequest) -> Result<Page<StoredEvent>, StoreError>;

    /// Sealed events with `seq > after`, in order; at most `limit`.
    async fn after(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;

    /// Sealed events of [`shared::notable`] with `after < seq <= up_to`, in order.
    async fn notable(&self, after: i64, up_to: i64) -> Result<Vec<StoredEvent>, StoreError>;

    /// The last sealed `seq`, 0 when there is none.
    async fn head(&self) -> Result<i64, StoreError>;

    /// Gives committed events their sequence numbers and hashes. The head moves by compare-and-set, so two sealers
    /// cannot fork it. An event with a wrong MAC is sealed like any other, and told of: the chain must not stall.
    async fn seal(&self, batch: u32) -> Result<Sealed, StoreError>;
}

/// What a sealer did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sealed {
    /// How many events have their place now.
    pub count: u32,
    /// Ids of those among them that somebody without the key wrote or changed.
    pub forged: Vec<String>,
    /// Ids of events that somebody gave a place who is no sealer, or whose hash is not the one they were sealed with.
    pub misplaced: Vec<String>,
    /// The last place of the chain now.
    pub head: i64,
}

/// Why a spool does not keep events.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolFault {
    /// It holds as much as it may.
    #[error("the spool is full")]
    Full,
    /// The disk does not do what it should.
    #[error("the spool cannot be used: {0}")]
    Broken(std::sync::Arc<str>),
}

/// Keeps events without a change on this machine while the log is away; they are merged into it later, under their ids.
#[async_trait::async_trait]
pub trait Spool: Send + Sync {
    /// Keeps all of these durably, or none.
    async fn keep(&self, events: Vec<StoredEvent>) -> Result<(), SpoolFault>;

    /// What is to be merged: the same again until [`Spool::merged`]. What is kept meanwhile comes the next time.
    async fn take(&self) -> Result<Vec<StoredEvent>, SpoolFault>;

    /// Forgets what was taken: it is in the log.
    async fn merged(&self) -> Result<(), SpoolFault>;

    /// How many events wait.
    fn depth(&self) -> u64;
}
