//! Accounts: who can log in, and the store that keeps them.

use crate::domain::{
    audit::Event,
    hash_cost::HashCost,
    identifier::{Email, IdentifierKind, Username},
    import::{ImportFate, NewImport, Trying},
    page::{Page, PageRequest},
    session::{NewSession, Opened, Revoked},
    store_error::StoreError,
};
use shared::id::{SessionId, UserId};

/// An account as people and operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// E-mail as typed.
    pub email: Option<String>,
    /// When the e-mail was verified.
    pub email_verified_ms: Option<i64>,
    /// User name as typed.
    pub username: Option<String>,
    /// Moves with every change that ends sessions (R11).
    pub epoch: i64,
    /// When it was made.
    pub created_ms: i64,
    /// When it last logged in.
    pub last_login_ms: Option<i64>,
    /// When it was disabled.
    pub disabled_ms: Option<i64>,
}

/// An account with what a login needs.
#[derive(Debug, Clone)]
pub struct LoginRecord {
    /// The account, its epoch read now.
    pub account: Account,
    /// Its password hash (PHC or bcrypt text); `None`: passwordless.
    pub password: Option<PasswordHash>,
}

/// A stored password hash; not a secret to log.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// An account to make.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its id.
    pub id: UserId,
    /// E-mail.
    pub email: Email,
    /// User name.
    pub username: Option<Username>,
    /// Password hash.
    pub password: Option<PasswordHash>,
    /// HMAC of route, canonical e-mail and `Idempotency-Key`; kept for 24 h with the account's id.
    pub idempotency: Option<[u8; 32]>,
}

/// What an earlier registration with the same idempotency key made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The account.
    pub account: UserId,
    /// The session that it, or its latest repeat, opened.
    pub session: Option<SessionId>,
}

/// How making an account ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is there, with its session if one was asked for.
    Created {
        /// When, by database time.
        created_ms: i64,
        /// The session.
        session: Option<Opened>,
    },
    /// The e-mail has an account.
    DuplicateEmail,
    /// The user name has an account.
    DuplicateUsername,
}

/// Which accounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountFilter {
    /// Whose id starts with this.
    pub id_prefix: Option<String>,
    /// Whose e-mail or user name contains this, in canonical form.
    pub name: Option<String>,
    /// Only disabled, or only enabled ones.
    pub disabled: Option<Disabled>,
}

/// Whether an account is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disabled {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// An account with how many live sessions it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// The account.
    pub account: Account,
    /// Live sessions.
    pub sessions: u64,
}

/// A change to an account that ends its sessions (R11).
#[derive(Debug, Clone)]
pub enum Break {
    /// The user changed the password; `expected` is the hash that was verified: another one by now is
    /// [`Broken::Changed`]. `keep` lives on.
    ChangePassword {
        /// The hash that was verified.
        expected: PasswordHash,
        /// The new one.
        new: PasswordHash,
        /// The caller's session.
        keep: SessionId,
    },
    /// The operator disabled it.
    Disable,
    /// The operator ended all its sessions.
    LogoutAll,
    /// The operator deleted it: identifiers and credentials go, sessions end, the row stays as a tombstone without
    /// names.
    Delete,
    /// The user deleted it; `expected` is the hash that was verified: another one by now is [`Broken::Changed`].
    DeleteOwn {
        /// The hash that was verified.
        expected: PasswordHash,
        /// The caller's session.
        session: SessionId,
    },
}

impl Break {
    /// The session in which it was asked for, unless an operator did: if it has ended by now, nothing changes (R7).
    #[must_use]
    pub fn acting(&self) -> Option<&SessionId> {
        match self {
            Self::ChangePassword { keep: session, .. } | Self::DeleteOwn { session, .. } => Some(session),
            Self::Disable | Self::LogoutAll | Self::Delete => None,
        }
    }
}

/// How such a change ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// Done, with the sessions that ended.
    Done(Revoked),
    /// There is no such account.
    Missing,
    /// The password is not the one that was verified any more.
    Changed,
    /// The session in which it was asked for has ended.
    SessionOver,
}

/// Keeps accounts. Every method is one transaction and writes the event it is given, or does nothing.
#[async_trait::async_trait]
pub trait AccountStore: Send + Sync {
    /// Makes an account and opens its first session; `events` are written with it (`user.created`, `session.opened`,
    /// …).
    async fn create(
        &self,
        new: NewAccount,
        session: Option<NewSession>,
        events: Vec<Event>,
    ) -> Result<Created, StoreError>;

    /// What a registration that is repeated made (see [`NewAccount::idempotency`]).
    async fn find_registration(&self, tag: [u8; 32]) -> Result<Option<Registered>, StoreError>;

    /// Notes that the repeat of a registration opened another session.
    async fn note_registration(&self, tag: [u8; 32], session: SessionId) -> Result<(), StoreError>;

    /// By canonical identifier, with what a login needs.
    async fn find_login(&self, kind: IdentifierKind, canonical: &str) -> Result<Option<LoginRecord>, StoreError>;

    /// By id, with what a password check needs.
    async fn find(&self, id: &UserId) -> Result<Option<LoginRecord>, StoreError>;

    /// Newest first, with live session counts.
    async fn list(&self, filter: AccountFilter, page: PageRequest) -> Result<Page<AccountRow>, StoreError>;

    /// Takes accounts over from another system, in one transaction: each line has its fate, and for each account that
    /// is made a `user.created` made from `event`. `None`: somebody else took one of the names meanwhile, nothing is
    /// done.
    async fn import(
        &self,
        lines: Vec<NewImport>,
        trying: Trying,
        event: Event,
    ) -> Result<Option<Vec<ImportFate>>, StoreError>;

    /// Accounts with their passwords, newest first.
    async fn export(&self, page: PageRequest) -> Result<Page<LoginRecord>, StoreError>;

    /// Replaces a hash by a better one of the same password, if it is still `old`; no session ends.
    async fn rehash(
        &self,
        id: &UserId,
        old: &PasswordHash,
        new: &PasswordHash,
        event: Event,
    ) -> Result<bool, StoreError>;

    /// The costs of the passwords that accounts have, each once.
    async fn hash_costs(&self) -> Result<Vec<HashCost>, StoreError>;

    /// A change that ends sessions: locks the account row, moves the epoch, ends the session rows ordered by id, and
    /// writes `event` and one `session.revoked` each, in one transaction (R11).
    async fn break_sessions(&self, id: &UserId, change: Break, event: Event) -> Result<Broken, StoreError>;

    /// Lets a disabled account log in again; `false` when there is no such account.
    async fn enable(&self, id: &UserId, event: Event) -> Result<bool, StoreError>;

    /// Stores the hash of a one-time reset, replacing an earlier one; `false` when there is no such account.
    async fn issue_reset(&self, id: &UserId, token: [u8; 32], life_ms: i64, event: Event) -> Result<bool, StoreError>;

    /// Whether a reset token is good now, and whose it is; consumes nothing.
    async fn find_reset(&self, token: [u8; 32]) -> Result<Option<UserId>, StoreError>;

    /// Consumes a reset, sets the password and ends all sessions as [`AccountStore::break_sessions`]; `None` when the
    /// token is unknown, used or expired.
    async fn redeem_reset(
        &self,
        token: [u8; 32],
        new: PasswordHash,
        event: Event,
    ) -> Result<Option<(UserId, Revoked)>, StoreError>;
}
