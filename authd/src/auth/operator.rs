//! What operators do with sessions: the same ends as users', by filter, with a count first if they want one.

use crate::auth::{Auth, Refusal};
use crate::domain::{
    audit::{Action, Actor, Event},
    network_set::NetworkSet,
    page::{Page, PageRequest},
    session::{EndReason, Session, SessionFilter, SessionState},
    store_error::StoreError,
};
use shared::{id::SessionId, time::Span};
use std::{ops::RangeInclusive, time::Duration};

/// The longest time for which something can be ordered that may also be ordered without an end.
const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

/// How long something is to last, in milliseconds.
///
/// # Errors
/// [`OperatorRefusal::Invalid`] for no time at all, and for one whose end no calendar has.
pub(super) fn bounded_life(life: Option<Span>) -> Result<Option<i64>, OperatorRefusal> {
    match life {
        Some(life) if life.0.is_zero() || life.0 > LONGEST => Err(OperatorRefusal::Invalid(
            "a time lasts from a moment to 3650 days; without one there is no end".to_owned(),
        )),
        life => Ok(life.map(Span::as_millis)),
    }
}

/// Somebody on the admin socket, as the kernel describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// User id.
    pub uid: u32,
    /// Login uid, where the kernel tells it.
    pub login_uid: Option<u32>,
    /// Process id.
    pub pid: Option<i32>,
    /// Its group, then the others, where the kernel tells them.
    pub groups: Vec<u32>,
    /// Quoted in every event of the request.
    pub request_id: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Ticket, in theirs.
    pub ticket: Option<String>,
    /// Whether anything happens.
    pub mode: Doing,
}

/// Whether a call changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It does.
    ForReal,
    /// It only says what it would do.
    DryRun,
}

impl Operator {
    /// As whom stored values name them: `uid 0`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("uid {}", self.uid)
    }

    /// Whether nothing must change.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.mode == Doing::DryRun
    }
}

/// Why an operator's call is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OperatorRefusal {
    /// 404.
    #[error("not found")]
    NotFound,
    /// 404, saying what was looked for, or where.
    #[error("{0}")]
    Unknown(String),
    /// 409: several match.
    #[error("several match: {}", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// 409: the set is not what was expected.
    #[error("{matched} match, {expected} were expected")]
    Drifted {
        /// How many match now.
        matched: u64,
        /// How many were expected.
        expected: u64,
    },
    /// 409: not in this state.
    #[error("{0}")]
    Conflict(String),
    /// 400.
    #[error("{0}")]
    Invalid(String),
    /// What the public API refuses too.
    #[error(transparent)]
    Refused(Refusal),
    /// 503.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

impl OperatorRefusal {
    /// No thing of this kind (`account`) is called so.
    #[must_use]
    pub fn none_called(kind: &str, name: &str) -> Self {
        const SHOWN: usize = 100;
        let end = if name.chars().nth(SHOWN).is_some() { "…" } else { "" };
        Self::Unknown(format!("there is no {kind} `{}{end}`", name.chars().take(SHOWN).collect::<String>()))
    }
}

impl From<Refusal> for OperatorRefusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Storage(fault) => Self::Storage(fault),
            Refusal::NotFound => Self::NotFound,
            other => Self::Refused(other),
        }
    }
}

/// How many sessions an operator expects to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation {
    /// So many.
    pub count: u64,
    /// Give or take so many percent.
    pub tolerance_percent: u32,
}

impl Expectation {
    /// The numbers that are expected.
    fn range(self) -> RangeInclusive<u64> {
        let allowed = self.count.saturating_mul(u64::from(self.tolerance_percent)) / 100;
        self.count.saturating_sub(allowed)..=self.count.saturating_add(allowed)
    }
}

/// Sessions by what operators know of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionQuery {
    /// Id, or an unambiguous beginning of one.
    pub id: Option<String>,
    /// Account: id, beginning of one, or e-mail.
    pub user: Option<String>,
    /// Address or network, see [`NetworkSet`].
    pub ip: Option<String>,
    /// State.
    pub state: Option<SessionState>,
    /// Opened at or after.
    pub since_ms: Option<i64>,
    /// Opened before.
    pub until_ms: Option<i64>,
    /// Part of the device summary.
    pub device: Option<String>,
}

/// How ending sessions by filter ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocations {
    /// Live sessions that match.
    pub matched: u64,
    /// Those that ended now; 0 in a dry run.
    pub revoked: u64,
}

impl Auth {
    /// An event of an operator's call, with their reason and ticket.
    pub(super) fn operator_event(&self, operator: &Operator, action: Action) -> Event {
        let base = self.job_event("admin", action);
        let event = Event {
            actor: Actor::Operator { uid: operator.uid, login_uid: operator.login_uid, pid: operator.pid },
            reason: operator.reason.clone(),
            request_id: Some(operator.request_id.clone()),
            ..base
        };
        let event = match &operator.ticket {
            Some(ticket) => event.with("ticket", ticket),
            None => event,
        };
        if operator.groups.is_empty() { event } else { event.with("groups", listed(&operator.groups)) }
    }

    /// Sessions of any account, newest first.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn list_sessions(
        &self,
        query: SessionQuery,
        page: PageRequest,
    ) -> Result<Page<Session>, OperatorRefusal> {
        let filter = self.session_filter(query).await?;
        Ok(self.parts.sessions.list(filter, page).await?)
    }

    /// One session by id or by an unambiguous beginning of one.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn show_session(&self, id: &str) -> Result<Session, OperatorRefusal> {
        if let Ok(id) = SessionId::parse(id) {
            let found = self.parts.sessions.find(&id).await?;
            return found.ok_or_else(|| OperatorRefusal::none_called("session", id.as_str()));
        }
        let mut found = self.parts.sessions.find_by_prefix(id, 10).await?;
        match found.len() {
            0 => Err(OperatorRefusal::none_called("session", id)),
            1 => found.pop().ok_or(OperatorRefusal::NotFound),
            _ => Err(OperatorRefusal::Ambiguous(found.into_iter().map(|session| session.id.to_string()).collect())),
        }
    }

    /// Ends the live sessions that match, all or none.
    ///
    /// # Errors
    /// [`OperatorRefusal::Drifted`] when their number is not the expected one; [`OperatorRefusal`] otherwise.
    pub async fn revoke_sessions(
        &self,
        operator: &Operator,
        query: SessionQuery,
        expected: Option<Expectation>,
    ) -> Result<Revocations, OperatorRefusal> {
        let filter = self.session_filter(query).await?;
        let filter = SessionFilter { state: Some(SessionState::Live), ..filter };
        let range = expected.map_or(0..=u64::MAX, Expectation::range);
        let drifted = |matched| match expected {
            Some(Expectation { count, .. }) if !range.contains(&matched) => {
                Err(OperatorRefusal::Drifted { matched, expected: count })
            }
            _ => Ok(()),
        };
        if operator.is_dry_run() {
            let matched = self.parts.sessions.count_live(filter).await?;
            return drifted(matched).map(|()| Revocations { matched, revoked: 0 });
        }
        let event = self.operator_event(operator, Action::SessionRevoked);
        let ends = self.parts.sessions.revoke_if(filter, range.clone(), EndReason::OperatorRevoked, event);
        let revoked = ends.await?;
        drifted(revoked.matched)?;
        self.remember_ended(&revoked.over);
        Ok(Revocations { matched: revoked.matched, revoked: revoked.ended.len().try_into().unwrap_or(u64::MAX) })
    }

    async fn session_filter(&self, query: SessionQuery) -> Result<SessionFilter, OperatorRefusal> {
        let account = match &query.user {
            Some(user) => Some(self.resolve_user(user).await?.id),
            None => None,
        };
        let id = match &query.id {
            Some(id) => Some(self.show_session(id).await?.id),
            None => None,
        };
        Ok(SessionFilter {
            id,
            account,
            except: None,
            state: query.state,
            network: query.ip.as_deref().map(networks).transpose()?,
            since_ms: query.since_ms,
            until_ms: query.until_ms,
            device: query.device,
            unused: false,
        })
    }
}

/// Groups that are named in an event; a process may have 65 536.
const GROUPS: usize = 64;

/// Group ids as text, and how many more there are.
fn listed(groups: &[u32]) -> String {
    let mut text = groups.iter().take(GROUPS).map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if groups.len() > GROUPS {
        text.push_str(&format!(" and {} more", groups.len() - GROUPS));
    }
    text
}

fn networks(text: &str) -> Result<NetworkSet, OperatorRefusal> {
    text.parse().map_err(|error| OperatorRefusal::Invalid(format!("{text} is {error}")))
}

/// The stored form of an address or of a /24 or /48: sessions know no finer one.
pub(super) fn coarse_network(text: &str) -> Result<String, OperatorRefusal> {
    let (address, _) = text.split_once('/').unwrap_or((text, ""));
    let ip = address.parse().map_err(|_| OperatorRefusal::Invalid(format!("{text} is no IP address or network")))?;
    let network = crate::domain::session::Network::of(ip);
    if text.contains('/') && text != network.as_str() {
        return Err(OperatorRefusal::Invalid(format!("sessions know networks as /24 and /48 only: try {network}")));
    }
    Ok(network.as_str().to_owned())
}
