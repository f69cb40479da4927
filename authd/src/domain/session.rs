//! Sessions: what they are, and the store that keeps them.

use crate::domain::{
    account::Account,
    audit::Event,
    device::SessionDevice,
    network_set::NetworkSet,
    outage::Outages,
    page::{Page, PageRequest},
    revocation::{FeedCursor, Revocation},
    rotation::{Decision, Keying, Origin, RotationPolicy, Sealed, Successor},
    session_stats::SessionStats,
    store_error::StoreError,
    token::{Handle, TokenHash},
};
use shared::id::{SessionId, UserId};
use std::{fmt, net::IpAddr, ops::RangeInclusive, sync::Arc};

/// The longest life that an access token can be given (`token.access_ttl`), in milliseconds. Ended sessions are
/// remembered by it, not by the life in force: tokens from before a restart with a shorter one are still out there.
pub const LONGEST_ACCESS_MS: i64 = 24 * 3_600_000;

/// A coarse network: `192.0.2.0/24` or `2001:db8:1::/48`, never a whole address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Network(String);

impl Network {
    /// The /24 or /48 of an address; IPv4-mapped addresses count as IPv4.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self(format!("{a}.{b}.{c}.0/24"))
            }
            IpAddr::V6(v6) => {
                let [a, b, c, ..] = v6.segments();
                Self(format!("{}/48", std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)))
            }
        }
    }

    /// A network read back from storage.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A coarse description of a device: `Firefox on Linux`, or the label the app gave; at most 100 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceSummary(String);

impl DeviceSummary {
    /// Keeps at most 100 characters, without control characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let plain: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
        let plain = plain.trim();
        (!plain.is_empty()).then(|| Self(plain.to_owned()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a session's tokens travel (R14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In JSON bodies and the `Authorization` header.
    Body,
    /// In cookies.
    Cookie,
}

impl Transport {
    /// The stored text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Cookie => "cookie",
        }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The user logged out.
    Logout,
    /// The user ended it from another session, or all sessions at once.
    UserRevoked,
    /// An operator ended it.
    OperatorRevoked,
    /// A spent token was used (R3).
    Replay,
    /// The account's cap made room.
    Evicted,
    /// The password changed.
    PasswordChanged,
    /// The password was reset.
    PasswordReset,
    /// The account was disabled.
    Disabled,
    /// The account was deleted.
    Deleted,
    /// Too many wrong passwords inside the session.
    ReauthFailures,
    /// A repeated registration replaced it.
    Superseded,
    /// The global epoch moved (R13).
    EpochBump,
}

impl EndReason {
    /// All reasons.
    pub const ALL: [Self; 12] = [
        Self::Logout,
        Self::UserRevoked,
        Self::OperatorRevoked,
        Self::Replay,
        Self::Evicted,
        Self::PasswordChanged,
        Self::PasswordReset,
        Self::Disabled,
        Self::Deleted,
        Self::ReauthFailures,
        Self::Superseded,
        Self::EpochBump,
    ];

    /// The stored and shown text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::UserRevoked => "user_revoked",
            Self::OperatorRevoked => "operator_revoked",
            Self::Replay => "replay",
            Self::Evicted => "evicted",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
            Self::ReauthFailures => "reauth_failures",
            Self::Superseded => "superseded",
            Self::EpochBump => "epoch_bump",
        }
    }

    /// Whether the device of the session is known no more either. Who ends a session from elsewhere means the device
    /// with it; who logs out, or was away for too long, comes back with it. (What ends all sessions of an account, R11,
    /// drops all its devices.)
    #[must_use]
    pub fn drops_device(self) -> bool {
        match self {
            Self::UserRevoked | Self::OperatorRevoked | Self::Superseded => true,
            Self::Logout
            | Self::Replay
            | Self::Evicted
            | Self::PasswordChanged
            | Self::PasswordReset
            | Self::Disabled
            | Self::Deleted
            | Self::ReauthFailures
            | Self::EpochBump => false,
        }
    }
}

/// Whether a session can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// It can.
    Live,
    /// Somebody ended it.
    Ended,
    /// Its idle or absolute time ran out.
    Expired,
}

impl SessionState {
    /// The shown text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ended => "ended",
            Self::Expired => "expired",
        }
    }
}

/// A session as people and operators see it: no token material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub account: UserId,
    /// The account's e-mail as typed, where it has one.
    pub email: Option<String>,
    /// State by database time at the read; a past global epoch counts as ended.
    pub state: SessionState,
    /// When it was opened.
    pub created_ms: i64,
    /// When its token was last rotated, or when it was opened.
    pub last_seen_ms: i64,
    /// End by inactivity.
    pub idle_expires_ms: i64,
    /// End for good.
    pub expires_ms: i64,
    /// When it was ended.
    pub ended_ms: Option<i64>,
    /// Why it was ended: [`EndReason::as_str`].
    pub end_reason: Option<String>,
    /// Rotations so far.
    pub generation: i64,
    /// Device summary.
    pub device: Option<DeviceSummary>,
    /// Coarse network of the last rotation or of the login.
    pub network: Option<Network>,
    /// How its tokens travel.
    pub transport: Transport,
    /// Authentication methods (RFC 8176), such as `pwd`.
    pub amr: Vec<String>,
}

/// A session to open.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Names it in tokens.
    pub handle: Handle,
    /// The first refresh token.
    pub token: TokenHash,
    /// Whose it is.
    pub account: UserId,
    /// The account's epoch read before the credential was checked (R11).
    pub account_epoch: i64,
    /// Idle time from now, in milliseconds.
    pub idle_ms: i64,
    /// Absolute life from now, in milliseconds.
    pub absolute_ms: i64,
    /// Device and coarse network.
    pub origin: Origin,
    /// How its tokens travel.
    pub transport: Transport,
    /// Authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// The account's cap.
    pub cap: SessionCap,
    /// Database time that was believed last, in Unix milliseconds: what was over by then may be erased where the account
    /// has very much of it ([`crate::domain::past`]). `None`: the clock is in doubt, nothing is erased.
    pub over_by_ms: Option<i64>,
    /// The device it is opened from.
    pub device: Option<SessionDevice>,
}

/// How many live sessions an account may have, and what happens beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCap {
    /// At most this many.
    pub max: u32,
    /// What makes room.
    pub on_limit: OnLimit,
}

/// What happens when an account has as many sessions as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLimit {
    /// The least recently refreshed session ends, never-refreshed ones first.
    EvictOldest,
    /// The login is refused.
    Refuse,
}

/// How opening a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It is open.
    Opened {
        /// When, by database time.
        created_ms: i64,
        /// End by inactivity.
        idle_expires_ms: i64,
        /// End for good.
        expires_ms: i64,
        /// Sessions that made room.
        evicted: Vec<SessionId>,
    },
    /// The account was disabled, deleted or had its epoch moved meanwhile (R11).
    AccountChanged,
    /// The cap refuses.
    Full,
}

/// Opens a seal in the store's transaction (R2k): the token and key of the call stay with the implementation.
pub trait Unseal: Send + Sync {
    /// Whether the call's token and key open `sealed`.
    fn opens(&self, sealed: &Sealed) -> bool;
}

/// A refresh: everything the store needs for one transaction.
#[derive(Clone)]
pub struct Rotate {
    /// The family.
    pub handle: Handle,
    /// The presented token.
    pub presented: TokenHash,
    /// Whether the call carried an `Idempotency-Key`.
    pub keying: Keying,
    /// HMAC of token and key: remembers for `keyed_grace` that this token was spent with this key (R2k).
    pub keyed_tag: Option<[u8; 32]>,
    /// How the token travelled.
    pub transport: Transport,
    /// Where the call came from.
    pub origin: Origin,
    /// Opens seals for this call.
    pub unseal: Arc<dyn Unseal>,
    /// The token to give out when this one may rotate.
    pub successor: Successor,
    /// Settings.
    pub policy: RotationPolicy,
    /// When this instance could not reach storage (R5).
    pub outages: Outages,
    /// Whether routine rotations write an event.
    pub recording: Recording,
    /// What a replay ends.
    pub on_replay: ReplayScope,
    /// Who, from where: completed by the store with action, outcome, reason, target and detail.
    pub event: Event,
}

/// `audit.refresh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// An event when network or device changed, on retries and on replays.
    Changes,
    /// An event for every rotation.
    All,
}

/// `session.on_replay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayScope {
    /// The session.
    Session,
    /// Every session of the account.
    Account,
}

/// How a refresh ended, with the row as it is after it.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// What was decided and done.
    pub decision: Decision,
    /// The session after it.
    pub session: Session,
    /// Its account, read with it.
    pub account: Account,
    /// The seal to open for a retry.
    pub sealed: Option<Sealed>,
    /// End of the access token to give out, for a rotation or a retry.
    pub access_expires_ms: i64,
    /// Sessions that ended with it.
    pub ended: Vec<SessionId>,
}

/// Which sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionFilter {
    /// Only this one.
    pub id: Option<SessionId>,
    /// Of this account.
    pub account: Option<UserId>,
    /// All but this one.
    pub except: Option<SessionId>,
    /// In this state.
    pub state: Option<SessionState>,
    /// Last seen in one of these networks.
    pub network: Option<NetworkSet>,
    /// Opened at or after.
    pub since_ms: Option<i64>,
    /// Opened before.
    pub until_ms: Option<i64>,
    /// Whose device summary contains this.
    pub device: Option<String>,
    /// Never refreshed.
    pub unused: bool,
}

/// How ending sessions ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revoked {
    /// Live sessions that matched.
    pub matched: u64,
    /// Those that ended now.
    pub ended: Vec<SessionId>,
    /// Those that nothing may work of once this is answered (R7): what ended now, and what matches and ended a moment
    /// ago, perhaps on another instance whose word has not come yet.
    pub over: Vec<SessionId>,
}

/// The state that tells whether a bearer token still works, read from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// The session.
    pub session: Session,
    /// Whether the account may act.
    pub account_enabled: bool,
}

/// Keeps sessions. Every method is one transaction and writes the event it is given, or does nothing.
#[async_trait::async_trait]
pub trait SessionStore: Send + Sync {
    /// Opens a session; locks the account row, then makes room under the cap (R11). `events` are written with it.
    async fn open(&self, new: NewSession, events: Vec<Event>) -> Result<Opened, StoreError>;

    /// Rotates, retries or ends a family as [`crate::domain::rotation::decide`] says. `None`: no such handle, nothing
    /// done.
    async fn rotate(&self, rotate: Rotate) -> Result<Option<Rotated>, StoreError>;

    /// One session.
    async fn find(&self, id: &SessionId) -> Result<Option<Session>, StoreError>;

    /// Sessions whose id starts with `prefix`, at most `limit`.
    async fn find_by_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<Session>, StoreError>;

    /// One session with what decides whether its tokens work now.
    async fn find_live(&self, id: &SessionId) -> Result<Option<LiveSession>, StoreError>;

    /// The session of a refresh token's handle.
    async fn find_by_handle(&self, handle: Handle) -> Result<Option<Session>, StoreError>;

    /// Whether the token of this hash is the current one of its live session.
    async fn is_current(&self, handle: Handle, token: TokenHash) -> Result<bool, StoreError>;

    /// Newest first. A call looks at a bounded number of rows: a page may be short, even empty, and still name a next
    /// one.
    async fn list(&self, filter: SessionFilter, page: PageRequest) -> Result<Page<Session>, StoreError>;

    /// How many live sessions match.
    async fn count_live(&self, filter: SessionFilter) -> Result<u64, StoreError>;

    /// Ends every live session that matches: one `session.revoked` event each, made from `event` with its own id and
    /// target. Where [`EndReason::drops_device`] says so their devices go too, but for the one of `filter.except`.
    async fn revoke(&self, filter: SessionFilter, why: EndReason, event: Event) -> Result<Revoked, StoreError> {
        self.revoke_if(filter, 0..=u64::MAX, why, event).await
    }

    /// The same if so many match; otherwise nothing ends, and [`Revoked::matched`] says how many there are.
    async fn revoke_if(
        &self,
        filter: SessionFilter,
        expected: RangeInclusive<u64>,
        why: EndReason,
        event: Event,
    ) -> Result<Revoked, StoreError>;

    /// How many sessions there are, of which kinds, and where most of them are.
    async fn stats(&self, top: u32) -> Result<SessionStats, StoreError>;

    /// A page of the sessions that ended since `cursor`, and the next cursor. May repeat, never skips.
    async fn revocations(&self, cursor: FeedCursor) -> Result<(Vec<Revocation>, FeedCursor), StoreError>;

    /// Erases seals whose grace has ended, outlived revocations and idempotency rows; at most `batch` of each.
    async fn sweep(&self, grace_ms: i64, keyed_grace_ms: i64, batch: u32) -> Result<u64, StoreError>;

    /// Erases at most `batch` sessions whose absolute end was before this time, in Unix milliseconds; how many went.
    async fn forget(&self, before_ms: i64, batch: u32) -> Result<u64, StoreError>;
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
