//! The overview of all sessions.

use crate::{admin::Empty, id::UserId, time::Timestamp};
use serde::{Deserialize, Serialize};

call!(
    /// How many sessions there are, of which kinds, and where most of the live ones are.
    Stats: "/v1/session/stats", Read, Empty => Overview
);

/// Answer of [`Stats`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// When it was made.
    pub at: Timestamp,
    /// By state.
    pub state: States,
    /// Live ones by how their tokens travel.
    pub transport: Transports,
    /// Live ones by how long ago they were opened, youngest first; each counted once.
    pub age: Vec<Age>,
    /// Accounts with the most live sessions.
    pub accounts: Vec<AccountShare>,
    /// Networks with the most live sessions.
    pub networks: Vec<NetworkShare>,
}

/// Sessions by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct States {
    /// Usable.
    pub live: u64,
    /// Ended by somebody or something.
    pub ended: u64,
    /// Reached their idle or absolute end.
    pub expired: u64,
}

/// Live sessions by transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transports {
    /// Tokens in bodies and headers.
    pub body: u64,
    /// Tokens in cookies.
    pub cookie: u64,
}

/// Live sessions of an age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    /// Opened less than this long ago: `1h`, `1d`, `7d`, `30d`; `null`: longer ago.
    pub under: Option<String>,
    /// How many.
    pub live: u64,
}

/// An account with many live sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountShare {
    /// Its id.
    pub user_id: UserId,
    /// Its address.
    pub email: Option<String>,
    /// How many.
    pub live: u64,
}

/// A network with many live sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkShare {
    /// A /24 or /48.
    pub network: String,
    /// How many.
    pub live: u64,
}
