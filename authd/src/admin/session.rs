//! Calls about sessions.

use super::{
    Admin,
    call::{Caller, intent},
    problem::Denied,
    user::{page_request, searchable},
};
use crate::{
    auth::{EpochBump, Expectation, OperatorRefusal, SessionQuery},
    domain::session::{Session as Stored, SessionState},
};
use shared::{
    admin::{
        Page,
        session::{
            EpochBumpRequest, EpochBumped, Filter, ListRequest, RevokeRequest, Revoked, Session, ShowRequest, State,
        },
    },
    id::SessionId,
    time::Timestamp,
};
use std::sync::Arc;

/// `session/list`
pub(super) async fn list(admin: Arc<Admin>, _: Caller, request: ListRequest) -> Result<Page<Session>, Denied> {
    let query = query(request.filter())?;
    let page = admin.auth.list_sessions(query, page_request(request.limit, request.after)?).await?;
    Ok(shown(page))
}

/// `session/show`
pub(super) async fn show(admin: Arc<Admin>, _: Caller, request: ShowRequest) -> Result<Session, Denied> {
    Ok(session(admin.auth.show_session(id_prefix(&request.id)?).await?))
}

/// `session/revoke`
pub(super) async fn revoke(admin: Arc<Admin>, by: Caller, request: RevokeRequest) -> Result<Revoked, Denied> {
    let operator = by.operator(intent!(request))?;
    let filter = request.filter();
    let query = match (&request.id, filter == Filter::default()) {
        (Some(id), true) => SessionQuery { id: Some(id_prefix(id)?.to_owned()), ..SessionQuery::default() },
        (None, false) => query(filter)?,
        (Some(_), false) => return Err(Denied::Malformed("give an id or filters, not both".to_owned())),
        (None, true) => {
            let text = "give an id or a filter; {\"state\":\"live\"} is every session";
            return Err(Denied::Malformed(text.to_owned()));
        }
    };
    // Anything but live cannot be ended; taking it for a filter would end what was not meant.
    if request.state.is_some_and(|state| state != State::Live) {
        return Err(Denied::Malformed("only live sessions can be ended".to_owned()));
    }
    let tolerance_percent = request.tolerance.unwrap_or(0);
    if tolerance_percent > 100 {
        return Err(Denied::Malformed("tolerance is a percentage".to_owned()));
    }
    let expected = request.expect.map(|count| Expectation { count, tolerance_percent });
    let done = admin.auth.revoke_sessions(&operator, query, expected).await?;
    Ok(Revoked { matched: done.matched, revoked: done.revoked })
}

/// `session/epoch-bump`
pub(super) async fn bump_epoch(
    admin: Arc<Admin>,
    by: Caller,
    request: EpochBumpRequest,
) -> Result<EpochBumped, Denied> {
    let operator = by.operator(intent!(request))?;
    if admin.auth.is_locked_down() && !request.accept_restore {
        let text =
            "the database is older than what was seen before: say --accept-restore (`accept_restore`) to go on with it";
        return Err(Denied::Malformed(text.to_owned()));
    }
    let sessions = admin.auth.count_sessions().await.map_err(OperatorRefusal::from)?;
    let why = if request.accept_restore { EpochBump::AcceptRestore } else { EpochBump::EndSessions };
    Ok(EpochBumped { epoch: admin.auth.bump_epoch(&operator, why).await?, sessions })
}

/// An id or the beginning of one: nothing else may be searched for, least of all nothing.
pub(super) fn id_prefix(text: &str) -> Result<&str, Denied> {
    let is_id = text.strip_prefix(SessionId::PREFIX).and_then(|rest| rest.strip_prefix('_')).is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_lowercase() || digit.is_ascii_digit())
    });
    if is_id { Ok(text) } else { Err(Denied::Malformed("a session id begins with `ses_`".to_owned())) }
}

fn query(filter: Filter) -> Result<SessionQuery, Denied> {
    let texts = [("user", &filter.user), ("ip", &filter.ip), ("device", &filter.device)];
    if let Some((name, _)) = texts.iter().find(|(_, text)| text.as_deref() == Some("")) {
        return Err(Denied::Malformed(format!("`{name}` is empty: leave it out")));
    }
    Ok(SessionQuery {
        id: None,
        user: filter.user,
        ip: filter.ip,
        state: filter.state.map(|state| match state {
            State::Live => SessionState::Live,
            State::Ended => SessionState::Ended,
            State::Expired => SessionState::Expired,
        }),
        since_ms: filter.since.map(Timestamp::as_millis),
        until_ms: filter.until.map(Timestamp::as_millis),
        device: searchable("device", filter.device)?,
    })
}

fn shown(page: crate::domain::page::Page<Stored>) -> Page<Session> {
    super::user::shown(page, session)
}

pub(super) fn session(stored: Stored) -> Session {
    Session {
        id: stored.id,
        user_id: stored.account,
        email: stored.email,
        state: match stored.state {
            SessionState::Live => State::Live,
            SessionState::Ended => State::Ended,
            SessionState::Expired => State::Expired,
        },
        created_at: Timestamp(stored.created_ms),
        last_seen_at: Some(Timestamp(stored.last_seen_ms)),
        idle_expires_at: Timestamp(stored.idle_expires_ms),
        expires_at: Timestamp(stored.expires_ms),
        ended_at: stored.ended_ms.map(Timestamp),
        end_reason: stored.end_reason,
        generation: u64::try_from(stored.generation).unwrap_or(0),
        device: stored.device.map(|device| device.as_str().to_owned()),
        network: stored.network.map(|network| network.as_str().to_owned()),
        transport: stored.transport.as_str().to_owned(),
        amr: stored.amr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_an_id_is_searched_for() {
        assert!(id_prefix("ses_01k").is_ok());
        for text in ["", "ses_", "ses", "usr_01k", "ses_%", "ses_01K", "ada@example.org"] {
            assert!(id_prefix(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_longer_than_any_device_is_refused() {
        let device = |length| Filter { device: Some("x".repeat(length)), ..Filter::default() };
        assert!(query(device(320)).is_ok());
        assert!(matches!(query(device(100_000)), Err(Denied::Malformed(_))));
    }

    #[test]
    fn an_empty_text_is_no_filter_that_matches_all() {
        assert!(query(Filter { device: Some(String::new()), ..Filter::default() }).is_err());
        assert!(query(Filter { device: Some("Firefox".to_owned()), ..Filter::default() }).is_ok());
    }
}
