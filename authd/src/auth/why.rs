//! Gathers what is known about a session, an account, a request or an address, for [`crate::domain::why`].

use crate::auth::{Auth, Operator, OperatorRefusal, operator::coarse_network};
use crate::domain::{
    address_rule::{AddressRule, overlap, parse_network},
    audit::{EventFilter, StoredEvent},
    hard::Lane,
    limit::{LimitKey, PolicyName},
    page::PageRequest,
    refusals::Limited,
    session::{SessionFilter, SessionState},
    why::{Known, Standing, Story, Subject, explain},
};
use ipnet::IpNet;
use shared::id::{SessionId, UserId};

/// Most events of one story; the newest.
const MOST: u32 = 50;
/// Most keys at a limit that are looked through.
const MOST_LIMITED: usize = 4_096;

/// Most ended sessions that belong to the story of an account; the newest.
const MOST_ENDED: u32 = 5;
/// What ends a session.
const ENDS: [&str; 2] = ["session.revoked", "session.replayed"];

impl Auth {
    /// What happened to a session, an account, a request or an address, and which rule decided. The read is recorded.
    ///
    /// # Errors
    /// [`OperatorRefusal::Unknown`] saying where was looked; [`OperatorRefusal`] otherwise.
    pub async fn explain(&self, operator: &Operator, subject: &str) -> Result<(Subject, Story), OperatorRefusal> {
        self.note_audit_read(operator, "why").await?;
        let known = self.find_out(subject.trim()).await?;
        let story = explain(&known);
        Ok((known.subject, story))
    }

    async fn find_out(&self, text: &str) -> Result<Known, OperatorRefusal> {
        if let Ok(network) = parse_network(text) {
            return self.about_address(text, network).await;
        }
        if text.starts_with("ses_") {
            return self.about_session(text).await;
        }
        if text.starts_with("usr_") || text.contains('@') {
            return self.about_account(text).await;
        }
        let of_request = EventFilter { request_id: Some(text.to_owned()), ..EventFilter::default() };
        let events = self.story_events(of_request).await?;
        if !events.is_empty() {
            return Ok(self.known(Subject::Request(text.to_owned()), events));
        }
        match self.about_account(text).await {
            Err(OperatorRefusal::Unknown(_)) => Err(OperatorRefusal::Unknown(format!(
                "nothing is known of `{text}`: no request in the audit log and no user name is called so, and it is no \
                 session, account id, e-mail address, IP address or network; requests that change nothing leave no \
                 event, so look into the log of authd too"
            ))),
            found => found,
        }
    }

    fn known(&self, subject: Subject, events: Vec<StoredEvent>) -> Known {
        let mode = self.mode().mode;
        Known { subject, now_ms: self.now_ms(), events, limited: Vec::new(), rule: None, mode }
    }

    async fn about_session(&self, text: &str) -> Result<Known, OperatorRefusal> {
        let is_prefix =
            |text: &str| text.len() > "ses_".len() && text.bytes().skip(4).all(|b| b.is_ascii_alphanumeric());
        if SessionId::parse(text).is_err() && !is_prefix(text) {
            return Err(OperatorRefusal::none_called("session", text));
        }
        let session = self.show_session(text).await?;
        let id = session.id.as_str().to_owned();
        let events = self.events_about(&id).await?;
        let limited = self.limited_of(|key| key == id);
        Ok(Known { limited, ..self.known(Subject::Session(Box::new(session)), events) })
    }

    async fn about_account(&self, text: &str) -> Result<Known, OperatorRefusal> {
        let (row, _) = self.show_user(text).await?;
        let id = row.account.id.clone();
        let limited = self.limited_of(|key| key == id.as_str());
        let key = LimitKey::id(id.as_str());
        let standing = Standing {
            ladder_wait_ms: self.parts.limiter.wait_ms(PolicyName::LoginAccount, &key).await,
            off: self.lanes_off(&id).await?,
            sessions: row.sessions,
            account: row.account,
        };
        let mut events = self.events_about(id.as_str()).await?;
        events.extend(self.ends_of_sessions(&id).await?);
        events.sort_by_key(|event| event.at_ms);
        Ok(Known { limited, ..self.known(Subject::Account(Box::new(standing)), events) })
    }

    /// How the account's newest sessions ended: whoever was logged out asks about the account.
    async fn ends_of_sessions(&self, account: &UserId) -> Result<Vec<StoredEvent>, OperatorRefusal> {
        let ended = SessionFilter {
            account: Some(account.clone()),
            state: Some(SessionState::Ended),
            ..SessionFilter::default()
        };
        let mut ends = Vec::new();
        for session in self.parts.sessions.list(ended, PageRequest::first(MOST_ENDED)).await?.items {
            let events = self.events_about(session.id.as_str()).await?;
            ends.extend(events.into_iter().filter(|event| ENDS.contains(&event.action.as_str())));
        }
        Ok(ends)
    }

    async fn about_address(&self, text: &str, network: IpNet) -> Result<Known, OperatorRefusal> {
        let coarse = coarse_network(&network.addr().to_string())?;
        let limited = self.limited_of(|key| {
            let first = key.split(' ').next().unwrap_or(key);
            parse_network(first).is_ok_and(|limited| overlap(limited, network))
        });
        let of_network = EventFilter { network: Some(coarse.clone()), ..EventFilter::default() };
        let mut events = self.story_events(of_network).await?;
        events
            .extend(self.events_about(text).await?.into_iter().filter(|event| event.network.as_ref() != Some(&coarse)));
        events.sort_by_key(|event| event.at_ms);
        let filter = SessionFilter { network: coarse.parse().ok(), ..SessionFilter::default() };
        let sessions = self.parts.sessions.count_live(filter).await?;
        let rule = self.rule_for(network).await?;
        let subject = Subject::Address { text: text.to_owned(), network: coarse, sessions };
        Ok(Known { limited, rule, ..self.known(subject, events) })
    }

    /// The narrowest rule around the network; of equal ones the ban.
    async fn rule_for(&self, network: IpNet) -> Result<Option<AddressRule>, OperatorRefusal> {
        let now_ms = self.now_ms();
        let rules = self.parts.rules.all().await?.into_iter();
        let around = rules.filter(|rule| rule.holds(now_ms) && rule.network.contains(&network));
        Ok(around.max_by_key(|rule| (rule.network.prefix_len(), rule.ruling)))
    }

    async fn lanes_off(&self, id: &UserId) -> Result<Vec<Lane>, OperatorRefusal> {
        let counts = self.parts.hard.counts(std::slice::from_ref(id)).await?;
        let (limit, count) = (self.hard_limit(), counts.first().copied().unwrap_or_default());
        Ok([Lane::Unknown, Lane::Known].into_iter().filter(|lane| limit.is_off(count, *lane)).collect())
    }

    fn limited_of(&self, is_it: impl Fn(&str) -> bool) -> Vec<Limited> {
        let mut limited = self.most_limited(MOST_LIMITED);
        limited.retain(|limited| is_it(limited.key.as_str()));
        limited
    }

    async fn events_about(&self, target: &str) -> Result<Vec<StoredEvent>, OperatorRefusal> {
        self.story_events(EventFilter { target: Some(target.to_owned()), ..EventFilter::default() }).await
    }

    /// The newest events, oldest first.
    async fn story_events(&self, filter: EventFilter) -> Result<Vec<StoredEvent>, OperatorRefusal> {
        let mut events = self.parts.audit.list(filter, PageRequest::first(MOST)).await?.items;
        events.reverse();
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::session::Network;

    #[test]
    fn a_network_of_an_event_is_the_coarse_one_of_every_address_in_it() {
        let of = |text: &str| Network::of(parse_network(text).unwrap().addr()).as_str().to_owned();
        assert_eq!(of("192.0.2.7"), coarse_network("192.0.2.7").unwrap());
        assert_eq!(of("192.0.2.0/24"), "192.0.2.0/24");
    }
}
