//! Rows as the databases give them, and the nouns they become.

use crate::{
    domain::{
        account::Account,
        rotation::{EpochState, Family, Keying, Origin, Sealed, Strays},
        session::{DeviceSummary, Network, Session, SessionState, Transport},
        store_error::StoreError,
        token::TokenHash,
    },
    store::error::Stored,
};
use shared::id::{SessionId, UserId};

/// A row of `session` with what belongs to it: `SESSION` of [`crate::store::dialect::word!`] and `now_ms`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct SessionRow {
    pub(super) id: String,
    pub(super) account_id: String,
    pub(super) email: Option<String>,
    pub(super) global_epoch: i64,
    pub(super) generation: i64,
    pub(super) cur_hash: Vec<u8>,
    pub(super) prev_hash: Option<Vec<u8>>,
    pub(super) rotated_ms: Option<i64>,
    pub(super) access_expires_ms: Option<i64>,
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) sealed_keying: Option<String>,
    pub(super) retries: i64,
    pub(super) idle_expires_ms: i64,
    pub(super) expires_ms: i64,
    pub(super) revoked_ms: Option<i64>,
    pub(super) end_reason: Option<String>,
    pub(super) epoch: i64,
    pub(super) transport: String,
    pub(super) rate_tat_us: i64,
    pub(super) network: Option<String>,
    pub(super) device: Option<String>,
    pub(super) strays: i64,
    pub(super) stray_generation: i64,
    pub(super) amr: String,
    pub(super) created_ms: i64,
    pub(super) now_ms: i64,
}

impl SessionRow {
    /// The session as people see it, at `now_ms`.
    pub(super) fn session(&self) -> Stored<Session> {
        Ok(Session {
            id: session_id(&self.id)?,
            account: user_id(&self.account_id)?,
            email: self.email.clone(),
            state: self.state(),
            created_ms: self.created_ms,
            last_seen_ms: self.rotated_ms.unwrap_or(self.created_ms),
            idle_expires_ms: self.idle_expires_ms,
            expires_ms: self.expires_ms,
            ended_ms: self.revoked_ms,
            end_reason: self.end_reason.clone(),
            generation: self.generation,
            device: self.device.as_deref().and_then(DeviceSummary::new),
            network: self.network.clone().map(Network::stored),
            transport: transport(&self.transport)?,
            amr: self.amr.split_whitespace().map(str::to_owned).collect(),
        })
    }

    fn state(&self) -> SessionState {
        if self.revoked_ms.is_some() || self.epoch_state() == EpochState::Past {
            SessionState::Ended
        } else if self.now_ms >= self.idle_expires_ms || self.now_ms >= self.expires_ms {
            SessionState::Expired
        } else {
            SessionState::Live
        }
    }

    fn epoch_state(&self) -> EpochState {
        if self.epoch < self.global_epoch { EpochState::Past } else { EpochState::Current }
    }

    /// The part that rotation decides by.
    pub(super) fn family(&self) -> Stored<Family> {
        Ok(Family {
            generation: self.generation,
            current: token_hash(&self.cur_hash)?,
            previous: self.prev_hash.as_deref().map(token_hash).transpose()?,
            rotated_ms: self.rotated_ms,
            access_expires_ms: self.access_expires_ms,
            sealed: self.sealed()?,
            retries: self.retries,
            idle_expires_ms: self.idle_expires_ms,
            expires_ms: self.expires_ms,
            revoked_ms: self.revoked_ms,
            epoch: self.epoch_state(),
            transport: transport(&self.transport)?,
            rate_tat_us: self.rate_tat_us,
            rotated_by: self.origin(),
            strays: Strays { count: self.strays, generation: self.stray_generation },
        })
    }

    /// Where the last rotation, or the login, came from.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            network: self.network.clone().map(Network::stored),
            device: self.device.as_deref().and_then(DeviceSummary::new),
        }
    }

    fn sealed(&self) -> Stored<Option<Sealed>> {
        let Some(bytes) = self.sealed.clone() else { return Ok(None) };
        let keying = match self.sealed_keying.as_deref() {
            Some("keyed") => Keying::Keyed,
            Some("plain") => Keying::Plain,
            other => return Err(StoreError::corrupt(format_args!("session {}: keying {other:?}", self.id))),
        };
        Ok(Some(Sealed { bytes, keying }))
    }
}

/// A session with what its tokens need of the account: `SESSION`, `OWNER` and `now_ms`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct FamilyRow {
    #[sqlx(flatten)]
    pub(super) session: SessionRow,
    owner_epoch: i64,
    owner_created_ms: i64,
    owner_last_login_ms: Option<i64>,
    owner_disabled_ms: Option<i64>,
    owner_email_verified_ms: Option<i64>,
    owner_username: Option<String>,
}

impl FamilyRow {
    /// The account, as it is in the same statement.
    pub(super) fn account(self) -> Stored<Account> {
        Ok(Account {
            id: user_id(&self.session.account_id)?,
            email: self.session.email,
            email_verified_ms: self.owner_email_verified_ms,
            username: self.owner_username,
            epoch: self.owner_epoch,
            created_ms: self.owner_created_ms,
            last_login_ms: self.owner_last_login_ms,
            disabled_ms: self.owner_disabled_ms,
        })
    }
}

/// The stored text of a keying.
pub(super) fn keying_text(keying: Keying) -> &'static str {
    match keying {
        Keying::Keyed => "keyed",
        Keying::Plain => "plain",
    }
}

/// A row of `account` with its names: `ACCOUNT` of [`crate::store::dialect::word!`].
#[derive(Debug, sqlx::FromRow)]
pub(super) struct AccountColumns {
    pub(super) id: String,
    pub(super) epoch: i64,
    pub(super) created_ms: i64,
    pub(super) last_login_ms: Option<i64>,
    pub(super) disabled_ms: Option<i64>,
    pub(super) email: Option<String>,
    pub(super) email_verified_ms: Option<i64>,
    pub(super) username: Option<String>,
}

impl AccountColumns {
    /// The account.
    pub(super) fn account(self) -> Stored<Account> {
        Ok(Account {
            id: user_id(&self.id)?,
            email: self.email,
            email_verified_ms: self.email_verified_ms,
            username: self.username,
            epoch: self.epoch,
            created_ms: self.created_ms,
            last_login_ms: self.last_login_ms,
            disabled_ms: self.disabled_ms,
        })
    }
}

/// An account with its password hash.
#[derive(sqlx::FromRow)]
pub(super) struct LoginRow {
    #[sqlx(flatten)]
    pub(super) account: AccountColumns,
    pub(super) password: Option<String>,
}

/// An account with its live sessions.
#[derive(sqlx::FromRow)]
pub(super) struct CountedRow {
    #[sqlx(flatten)]
    pub(super) account: AccountColumns,
    pub(super) sessions: i64,
}

pub(super) fn session_id(text: &str) -> Stored<SessionId> {
    SessionId::parse(text).map_err(StoreError::corrupt)
}

pub(super) fn session_ids(rows: Vec<(String,)>) -> Stored<Vec<SessionId>> {
    rows.iter().map(|(id,)| session_id(id)).collect()
}

pub(super) fn user_id(text: &str) -> Stored<UserId> {
    UserId::parse(text).map_err(StoreError::corrupt)
}

fn token_hash(bytes: &[u8]) -> Stored<TokenHash> {
    bytes.try_into().map(TokenHash).map_err(|_| StoreError::corrupt("a token hash is not 32 bytes long"))
}

pub(super) fn transport(text: &str) -> Stored<Transport> {
    [Transport::Body, Transport::Cookie]
        .into_iter()
        .find(|transport| transport.as_str() == text)
        .ok_or_else(|| StoreError::corrupt(format_args!("transport {text:?}")))
}

/// A count that was read.
pub(super) fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or_default()
}

/// A JSON array of texts, for `IDS` of [`crate::store::dialect::word!`].
pub(super) fn json_list<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(ids).to_string()
}
