//! A router for tests of what needs no accounts: its storage is down, its signer knows the tokens `good` and `expired`.

mod account;
mod chain;
mod hard;
mod keys;
mod seal;
mod upkeep;

use crate::{
    auth::{Auth, Parts, RegistrationMode, Settings},
    domain::{
        account::*,
        address_rule::*,
        audit::{AuditLog, Event, EventFilter, Sealed, Spool, SpoolFault, StoredEvent},
        clock::{Clock, OsRandom},
        hard::Lane,
        hash_cost::HashCost,
        identifier::IdentifierKind,
        key::SigningKey,
        key_plan::KeyPlan,
        ladder::Outcome,
        limit::*,
        login::{AccessClaims, KeySet, NoActiveKey, TokenRefusal, TokenSigner, VerifiedToken},
        outage::Outages,
        page::{Page, PageRequest},
        password::*,
        revocation::{FeedCursor, Revocation},
        session::*,
        session_stats::SessionStats,
        setting::{NewSetting, Readiness, Setting, SettingStore},
        store_error::StoreError,
        token::{Handle, TokenHash},
    },
    http::{HttpOptions, HttpParts, LiveOptions, Part, PartState, ReadyCheck, router as build},
    listener::Peer,
};
use async_trait::async_trait;
use axum::{Router, body::Body, extract::Request, http::HeaderMap};
use http_body_util::BodyExt;
use ipnet::IpNet;
use shared::id::{KeyId, SessionId, UserId};
use std::{ops::RangeInclusive, sync::Arc};
use tower::ServiceExt;

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends a request through the whole router.
pub(super) async fn send(router: &Router, request: Request) -> Answer {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

pub(super) async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

/// A request with a JSON body; without `Content-Length`, as a chunked one is.
pub(super) fn json(method: &str, path: &str, body: &str) -> Request {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    request.body(Body::from(body.to_owned())).unwrap()
}

/// The request as it comes from this peer.
pub(super) fn from(peer: &str, mut request: Request) -> Request {
    request.extensions_mut().insert(Peer(peer.parse().unwrap()));
    request
}

pub(super) fn with_bearer(mut request: Request, token: &str) -> Request {
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// 127.0.0.0/8 is trusted.
pub(super) fn router() -> Router {
    build(state())
}

pub(super) fn router_with(options: HttpOptions) -> Router {
    build(HttpParts { options: Arc::new(LiveOptions::new(options)), ..state() })
}

pub(super) fn state() -> HttpParts {
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    HttpParts {
        auth: Arc::new(auth()),
        options: Arc::new(LiveOptions::new(HttpOptions { trusted_proxies, ..HttpOptions::default() })),
        ready: Arc::new(Down),
        clock: Arc::new(Down),
        random: Arc::new(OsRandom),
        tally: Arc::default(),
        around: |work| work,
    }
}

fn auth() -> Auth {
    let down = Arc::new(Down);
    let parts = Parts {
        accounts: down.clone(),
        sessions: down.clone(),
        devices: down.clone(),
        hard: down.clone(),
        keys: down.clone(),
        wraps: down.clone(),
        wrapper: down.clone(),
        settings: down.clone(),
        rules: down.clone(),
        audit: down.clone(),
        chain: down.clone(),
        notary: down.clone(),
        guard: Arc::default(),
        spool: down.clone(),
        readiness: down.clone(),
        limiter: down.clone(),
        hasher: down.clone(),
        passwords: down.clone(),
        signer: down.clone(),
        sealer: down.clone(),
        circuits: Vec::new(),
        upkeep: down.clone(),
        clock: down,
        random: Arc::new(OsRandom),
    };
    let keys = KeyPlan { rotate_every_ms: 1, stage_ms: 1, cache_ms: 1, skew_ms: 1, access_ttl_ms: 1 };
    let settings = Settings {
        registration: RegistrationMode::Open,
        idle_ms: 1,
        absolute_ms: 1,
        cap: SessionCap { max: 1, on_limit: OnLimit::Refuse },
        grace_ms: 1,
        keyed_grace_ms: 1,
        keep_ms: 1,
        on_replay: ReplayScope::Session,
        access_ttl_ms: 1,
        skew_ms: 1,
        recording: Recording::Changes,
        audit_retention_ms: 1,
        wait_ms: 1,
        failure_floor_ms: None,
        reset_ms: 1,
        keys,
        limits: no_limits(),
        trusted_proxies: Vec::new(),
    };
    Auth::new(parts, settings)
}

fn no_limits() -> Arc<PolicySet> {
    Arc::new(PolicySet::new(|_| Policy::configured(PolicyValue::Count { max: 1_000 })))
}

/// Storage that does not answer, and the rest as simple as it can be.
struct Down;

fn down<T>() -> Result<T, StoreError> {
    Err(StoreError::unavailable("down for the test"))
}

#[async_trait]
impl ReadyCheck for Down {
    async fn parts(&self) -> Vec<Part> {
        vec![Part { name: "database", state: PartState::Down }, Part { name: "keys", state: PartState::Up }]
    }
}

impl Clock for Down {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000
    }
    fn monotonic_ms(&self) -> i64 {
        0
    }
}

#[async_trait]
impl SessionStore for Down {
    async fn open(&self, _: NewSession, _: Vec<Event>) -> Result<Opened, StoreError> {
        down()
    }
    async fn rotate(&self, _: Rotate) -> Result<Option<Rotated>, StoreError> {
        down()
    }
    async fn find(&self, _: &SessionId) -> Result<Option<Session>, StoreError> {
        down()
    }
    async fn find_by_prefix(&self, _: &str, _: u32) -> Result<Vec<Session>, StoreError> {
        down()
    }
    async fn find_live(&self, _: &SessionId) -> Result<Option<LiveSession>, StoreError> {
        down()
    }
    async fn find_by_handle(&self, _: Handle) -> Result<Option<Session>, StoreError> {
        down()
    }
    async fn is_current(&self, _: Handle, _: TokenHash) -> Result<bool, StoreError> {
        down()
    }
    async fn list(&self, _: SessionFilter, _: PageRequest) -> Result<Page<Session>, StoreError> {
        down()
    }
    async fn count_live(&self, _: SessionFilter) -> Result<u64, StoreError> {
        down()
    }
    async fn revoke_if(
        &self,
        _: SessionFilter,
        _: RangeInclusive<u64>,
        _: EndReason,
        _: Event,
    ) -> Result<Revoked, StoreError> {
        down()
    }
    async fn stats(&self, _: u32) -> Result<SessionStats, StoreError> {
        down()
    }
    async fn revocations(&self, _: FeedCursor) -> Result<(Vec<Revocation>, FeedCursor), StoreError> {
        down()
    }
    async fn sweep(&self, _: i64, _: i64, _: u32) -> Result<u64, StoreError> {
        down()
    }
    async fn forget(&self, _: i64, _: u32) -> Result<u64, StoreError> {
        down()
    }
}

#[async_trait]
impl SettingStore for Down {
    async fn all(&self) -> Result<Vec<Setting>, StoreError> {
        Ok(Vec::new())
    }
    async fn change(&self, _: Option<NewSetting>, _: Vec<String>, _: Event) -> Result<(), StoreError> {
        down()
    }
    async fn expire(&self, _: &str, _: Event) -> Result<(), StoreError> {
        down()
    }
}

#[async_trait]
impl AddressRuleStore for Down {
    async fn all(&self) -> Result<Vec<AddressRule>, StoreError> {
        Ok(Vec::new())
    }
    async fn add(&self, _: NewRule, _: Event) -> Result<Added, StoreError> {
        down()
    }
    async fn remove(&self, _: IpNet, _: Ruling, _: &str, _: Event) -> Result<bool, StoreError> {
        down()
    }
}

#[async_trait]
impl AuditLog for Down {
    async fn append(&self, _: Vec<Event>) -> Result<(), StoreError> {
        down()
    }
    async fn merge(&self, _: Vec<StoredEvent>) -> Result<(), StoreError> {
        down()
    }
    async fn probe(&self, _: Event) -> Result<(), StoreError> {
        down()
    }
    async fn list(&self, _: EventFilter, _: PageRequest) -> Result<Page<StoredEvent>, StoreError> {
        down()
    }
    async fn after(&self, _: i64, _: u32) -> Result<Vec<StoredEvent>, StoreError> {
        down()
    }
    async fn notable(&self, _: i64, _: i64) -> Result<Vec<StoredEvent>, StoreError> {
        down()
    }
    async fn head(&self) -> Result<i64, StoreError> {
        Ok(0)
    }
    async fn seal(&self, _: u32) -> Result<Sealed, StoreError> {
        down()
    }
}

#[async_trait]
impl Spool for Down {
    async fn keep(&self, _: Vec<StoredEvent>) -> Result<(), SpoolFault> {
        Err(SpoolFault::Broken("none".into()))
    }
    async fn take(&self) -> Result<Vec<StoredEvent>, SpoolFault> {
        Ok(Vec::new())
    }
    async fn merged(&self) -> Result<(), SpoolFault> {
        Ok(())
    }
    fn depth(&self) -> u64 {
        0
    }
}

#[async_trait]
impl Readiness for Down {
    async fn probe(&self) -> Result<i64, StoreError> {
        down()
    }
    fn outages(&self) -> Outages {
        Outages::default()
    }
    fn kind(&self) -> &'static str {
        "none"
    }
    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        down()
    }
}

#[async_trait]
impl Limiter for Down {
    fn install(&self, _: &Arc<PolicySet>, _: u32) {}
    fn policies(&self) -> Arc<PolicySet> {
        no_limits()
    }
    async fn take(&self, _: PolicyName, _: &LimitKey) -> Admission {
        Admission::Allowed
    }
    async fn reserve(&self, policy: PolicyName, key: LimitKey, _: i64) -> Reserved {
        Reserved::Place(Reservation { policy, key, ticket: 0 })
    }
    async fn settle(&self, _: Reservation, _: Outcome) -> Settled {
        Settled::Counted
    }
    async fn settle_about(&self, _: Reservation, _: Outcome, _: u64) {}
    fn refusals(&self) -> Arc<crate::domain::refusals::Refusals> {
        Arc::default()
    }
    async fn wait_ms(&self, _: PolicyName, _: &LimitKey) -> i64 {
        0
    }
    async fn forget(&self, _: PolicyName, _: &LimitKey) -> bool {
        false
    }
}

#[async_trait]
impl PasswordHasher for Down {
    async fn check(&self, _: Lane, _: Password, _: Against) -> Result<Checked, HashError> {
        Ok(Checked::Wrong)
    }
    async fn hash(&self, _: Password) -> Result<PasswordHash, HashError> {
        Ok(PasswordHash(String::new()))
    }
    async fn judge(&self, _: Password, _: Vec<String>) -> Result<Result<(), WeakPassword>, HashError> {
        Ok(Ok(()))
    }
    async fn imitate(&self, _: Vec<HashCost>) {}
    fn floor_ms(&self) -> i64 {
        0
    }
    fn accepts(&self, _: &PasswordHash) -> Result<(), UnusableHash> {
        Ok(())
    }
    fn load(&self) -> HashLoad {
        HashLoad::default()
    }
}

impl PasswordPolicy for Down {
    fn judge(&self, _: &Password, _: &[&str]) -> Result<(), WeakPassword> {
        Ok(())
    }
    fn is_overlong(&self, _: &Password) -> bool {
        false
    }
}

impl TokenSigner for Down {
    fn generate(&self, _: KeyId, _: i64, _: &str) -> Result<SigningKey, StoreError> {
        down()
    }
    fn install(&self, _: &[SigningKey]) -> Result<(), StoreError> {
        Ok(())
    }
    fn sign(&self, _: &AccessClaims) -> Result<String, NoActiveKey> {
        Err(NoActiveKey)
    }
    fn verify(&self, token: &str, now_ms: i64) -> Result<VerifiedToken, TokenRefusal> {
        let claims = AccessClaims {
            account: UserId::new(0, [1; 10]),
            session: SessionId::new(0, [2; 10]),
            token_id: "00".to_owned(),
            issued_s: now_ms / 1_000,
            expires_s: now_ms / 1_000 + 600,
            auth_time_s: now_ms / 1_000,
            amr: vec!["pwd".to_owned()],
            acr: "1".to_owned(),
        };
        let verified = VerifiedToken { claims: Arc::new(claims) };
        match token {
            "good" => Ok(verified),
            "expired" => Err(TokenRefusal::Expired(Box::new(verified))),
            _ => Err(TokenRefusal::Invalid),
        }
    }
    fn key_set(&self) -> KeySet {
        KeySet { json: r#"{"keys":[{"kid":"k"}]}"#.to_owned(), etag: "\"v1\"".to_owned() }
    }
    fn published(&self) -> Vec<String> {
        vec!["k".to_owned()]
    }
}
