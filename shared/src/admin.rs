//! The admin API: one type per call, used by the daemon's router and by `authctl`.

use crate::schema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;

/// What the daemon says of a call that its version does not have.
pub const NO_SUCH_CALL: &str = "there is no such call";

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody a socket lets in at all: readers, administrators and the daemon's own uid.
    Any,
    /// Readers on the read socket, and administrators.
    Read,
    /// Administrators on the admin socket.
    Admin,
    /// Administrators, and the daemon's own uid (what `ExecReload=` runs as).
    Own,
}

impl Access {
    /// Whether such a call can only read.
    #[must_use]
    pub fn only_reads(self) -> bool {
        matches!(self, Self::Any | Self::Read)
    }
}

/// How a call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One JSON value.
    Value,
    /// JSON values, one a line, for as long as the connection lives.
    Lines,
}

/// One call of the admin API: `POST {PATH}` with a JSON body.
pub trait Call {
    /// `/v1/<noun>/<verb>`.
    const PATH: &'static str;
    /// Who may make it.
    const ACCESS: Access;
    /// One value, or a stream of them.
    const SHAPE: Shape = Shape::Value;
    /// The body of the request.
    type Request: Serialize + DeserializeOwned + Send;
    /// The body of the answer; streams answer one such value a line.
    type Response: Serialize + DeserializeOwned + Send;
}

/// Declares one call as a type without values.
macro_rules! call {
    ($(#[$doc:meta])* $name:ident: $path:literal, $access:ident, $request:ty => $response:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl $crate::admin::Call for $name {
            const PATH: &'static str = $path;
            const ACCESS: $crate::admin::Access = $crate::admin::Access::$access;
            type Request = $request;
            type Response = $response;
        }
    };
}

pub mod address;
pub mod audit;
pub mod breaker;
pub mod chain;
pub mod config;
pub mod daemon;
pub mod db;
pub mod doctor;
pub mod key;
pub mod limit;
pub mod mode;
pub mod session;
pub mod user;
pub mod why;

/// Items of a list when the request does not say.
pub const DEFAULT_PAGE: u32 = 50;
/// Most items of a list in one answer; larger wishes are cut to it.
pub const MAX_PAGE: u32 = 1_000;
/// Answer header of a stream: the sequence number after which it begins.
pub const POSITION_HEADER: &str = "x-authd-position";
/// Fields that hold secrets, in requests and in answers; what prints a call leaves them out.
pub const SECRET_FIELDS: &[&str] = &["password", "password_hash", "reset_token", "target_url"];

/// What is known of a call without its types.
#[derive(Debug, Clone, Copy)]
pub struct CallInfo {
    /// `/v1/<noun>/<verb>`.
    pub path: &'static str,
    /// Who may make it.
    pub access: Access,
    /// One value, or a stream of them.
    pub shape: Shape,
    /// The JSON schema of its answer, of a stream's of one line.
    pub answer: fn() -> serde_json::Value,
}

impl CallInfo {
    /// The description of `C`.
    #[must_use]
    pub const fn of<C: Call>() -> Self {
        Self { path: C::PATH, access: C::ACCESS, shape: C::SHAPE, answer: schema::of::<C::Response> }
    }

    /// The call at `path`, if this version has it.
    #[must_use]
    pub fn find(path: &str) -> Option<&'static Self> {
        CALLS.iter().find(|call| call.path == path)
    }
}

/// Every call of this version.
pub const CALLS: &[CallInfo] = &[
    CallInfo::of::<daemon::Status>(),
    CallInfo::of::<daemon::Reload>(),
    CallInfo::of::<doctor::Checkup>(),
    CallInfo::of::<session::List>(),
    CallInfo::of::<session::Show>(),
    CallInfo::of::<session::Revoke>(),
    CallInfo::of::<session::EpochBump>(),
    CallInfo::of::<session::stats::Stats>(),
    CallInfo::of::<session::lineage::Lineage>(),
    CallInfo::of::<user::List>(),
    CallInfo::of::<user::Show>(),
    CallInfo::of::<user::Create>(),
    CallInfo::of::<user::Disable>(),
    CallInfo::of::<user::Enable>(),
    CallInfo::of::<user::Unlock>(),
    CallInfo::of::<user::Logout>(),
    CallInfo::of::<user::ResetPassword>(),
    CallInfo::of::<user::Delete>(),
    CallInfo::of::<user::transfer::Import>(),
    CallInfo::of::<user::transfer::Export>(),
    CallInfo::of::<key::List>(),
    CallInfo::of::<key::Show>(),
    CallInfo::of::<key::Stage>(),
    CallInfo::of::<key::Promote>(),
    CallInfo::of::<key::Retire>(),
    CallInfo::of::<key::Revoke>(),
    CallInfo::of::<key::Rotate>(),
    CallInfo::of::<key::Jwks>(),
    CallInfo::of::<audit::List>(),
    CallInfo::of::<audit::Tail>(),
    CallInfo::of::<chain::Show>(),
    CallInfo::of::<chain::Stats>(),
    CallInfo::of::<chain::Verify>(),
    CallInfo::of::<chain::Export>(),
    CallInfo::of::<chain::MakeCheckpoint>(),
    CallInfo::of::<chain::Purge>(),
    CallInfo::of::<limit::List>(),
    CallInfo::of::<limit::Show>(),
    CallInfo::of::<limit::Set>(),
    CallInfo::of::<limit::Reset>(),
    CallInfo::of::<mode::Show>(),
    CallInfo::of::<mode::Set>(),
    CallInfo::of::<limit::Top>(),
    CallInfo::of::<limit::Test>(),
    CallInfo::of::<address::BanList>(),
    CallInfo::of::<address::BanAdd>(),
    CallInfo::of::<address::BanRemove>(),
    CallInfo::of::<address::AllowList>(),
    CallInfo::of::<address::AllowAdd>(),
    CallInfo::of::<address::AllowRemove>(),
    CallInfo::of::<why::Why>(),
    CallInfo::of::<breaker::List>(),
    CallInfo::of::<breaker::Open>(),
    CallInfo::of::<breaker::Close>(),
    CallInfo::of::<config::Show>(),
    CallInfo::of::<config::Check>(),
    CallInfo::of::<config::Schema>(),
    CallInfo::of::<db::Status>(),
    CallInfo::of::<db::Backup>(),
    CallInfo::of::<db::Move>(),
];

/// A request without fields: `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Cursor of the next part, to be sent as `after`; `null` at the end.
    pub next: Option<String>,
    /// How many items the whole list has, where that is known cheaply.
    pub total: Option<u64>,
    /// Whether `total` was counted rather than estimated.
    pub total_exact: bool,
}

impl<T> Page<T> {
    /// A list that is complete in one answer.
    #[must_use]
    pub fn whole(items: Vec<T>) -> Self {
        let total = u64::try_from(items.len()).ok();
        Self { items, next: None, total, total_exact: total.is_some() }
    }

    /// The same page of other items.
    #[must_use]
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
            total: self.total,
            total_exact: self.total_exact,
        }
    }
}

/// How many items a list request asks for, within [`MAX_PAGE`].
#[must_use]
pub fn page_size(limit: Option<u32>) -> u32 {
    limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
}

/// A secret on its way over the socket: serialisable because that is its only purpose, without `Display`,
/// and `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WireSecret(String);

impl WireSecret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself: for hashing it, or for the one place that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WireSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_path_of_its_own() {
        for call in CALLS {
            assert!(call.path.starts_with("/v1/"), "{}", call.path);
            assert_eq!(CALLS.iter().filter(|other| other.path == call.path).count(), 1, "{}", call.path);
        }
    }

    #[test]
    fn unknown_and_duplicate_fields_are_refused() {
        assert!(serde_json::from_str::<session::ListRequest>(r#"{"user":"ada"}"#).is_ok());
        assert!(serde_json::from_str::<session::ListRequest>(r#"{"usr":"ada"}"#).is_err());
        assert!(serde_json::from_str::<session::ListRequest>(r#"{"user":"ada","user":"eve"}"#).is_err());
        assert!(serde_json::from_str::<Empty>(r#"{"x":1}"#).is_err());
    }

    #[test]
    fn a_secret_is_not_in_debug_output() {
        let request = user::CreateRequest {
            email: "ada@example.org".to_owned(),
            password: Some(WireSecret::new("correct horse".to_owned())),
            ..Default::default()
        };
        assert!(!format!("{request:?}").contains("horse"));
    }

    #[test]
    fn absent_values_are_null_and_times_rfc_3339() {
        let page: Page<u8> = Page { items: vec![], next: None, total: None, total_exact: false };
        assert_eq!(
            serde_json::to_string(&page).unwrap(),
            r#"{"items":[],"next":null,"total":null,"total_exact":false}"#
        );
    }
}
