//! Registration: makes an account with its first session, once, however often a client repeats it.

use crate::auth::{
    Auth, Caller, IdempotencyKey, Refusal, RegistrationMode, Tokens, address::AddressLimits, evaluate::Evaluation,
    grant::Grant,
};
use crate::domain::{
    account::{Account, Created, NewAccount, Registered},
    audit::{Action, Actor, Event},
    hard::Lane,
    identifier::{Email, Username},
    limit::{LimitKey, PolicyName},
    password::{Against, Checked, Password},
    session::{EndReason, NewSession, Opened, SessionFilter},
};
use shared::id::{SessionId, UserId};

/// Somebody who wants an account; names are checked here so that every fault gets its own code.
#[derive(Debug, Clone)]
pub struct Registration {
    /// E-mail as typed.
    pub email: String,
    /// User name as typed.
    pub username: Option<String>,
    /// Password.
    pub password: Password,
    /// The key, if one was given.
    pub key: Option<IdempotencyKey>,
}

impl Auth {
    /// Makes an account and logs it in.
    ///
    /// # Errors
    /// 400s for names and password, [`Refusal::RegistrationClosed`], [`Refusal::DuplicateEmail`],
    /// [`Refusal::DuplicateUsername`], [`Refusal::RateLimited`], 503s.
    pub async fn register(&self, caller: &Caller, registration: Registration) -> Result<Tokens, Refusal> {
        if self.settings().registration == RegistrationMode::Closed {
            return Err(Refusal::RegistrationClosed);
        }
        let event = self.event(caller, Action::UserCreated);
        self.admit_caller(caller, &event).await?;
        let email = Email::parse(&registration.email)?;
        let username = registration.username.as_deref().map(Username::parse).transpose()?;
        self.judge(&registration.password, &email, username.as_ref()).await?;
        // First: an outage must not use up what an address may register afterwards.
        self.expect_storage().await?;
        self.admit_registration(caller, &event).await?;

        let tag = registration.key.as_ref().map(|key| self.registration_tag(&email, key));
        let password = registration.password;
        let id = UserId::new(self.now_ms(), self.id_entropy());
        let hash = self.parts.hasher.hash(password.clone()).await?;
        self.know_keys().await?;
        let (session, refresh) = self.new_session(&id, 0, caller.origin(), "pwd")?;
        let (device, device_token) = self.new_device();
        let (session_id, amr) = (session.id.clone(), session.amr.clone());
        let event = event.by(Actor::User(id.to_string()));
        let opened = self.event(caller, Action::SessionOpened).by(Actor::User(id.to_string()));
        let opened = opened.about("session", session.id.as_str());
        let added = self.device_added(&opened, device.id());
        let events = vec![event.clone().about("user", id.as_str()), added, opened];
        let session = NewSession { device: Some(device), ..session };
        let new = NewAccount { id: id.clone(), email: email.clone(), username, password: Some(hash), idempotency: tag };
        let names = (new.email.display().to_owned(), new.username.as_ref().map(|name| name.display().to_owned()));
        match self.parts.accounts.create(new, Some(session), events).await? {
            Created::Created { created_ms, session: Some(Opened::Opened { idle_expires_ms, expires_ms, .. }) } => {
                let tokens = self.grant(&Grant {
                    account: &new_account(id, names, created_ms),
                    session: &session_id,
                    opened_ms: created_ms,
                    amr: &amr,
                    idle_expires_ms,
                    access_expires_ms: self.first_access_expiry(created_ms, expires_ms),
                    refresh: refresh.text(),
                })?;
                Ok(Tokens { device: Some(device_token), ..tokens })
            }
            Created::Created { .. } => Err(Refusal::Internal("an account was made without its session")),
            Created::DuplicateEmail => {
                if let Some(tokens) = self.repeated(caller, tag, password).await? {
                    return Ok(tokens);
                }
                self.parts.audit.append(vec![event.by(Actor::Anonymous).denied("duplicate_email")]).await?;
                Err(Refusal::DuplicateEmail)
            }
            Created::DuplicateUsername => {
                self.parts.audit.append(vec![event.by(Actor::Anonymous).denied("duplicate_username")]).await?;
                Err(Refusal::DuplicateUsername)
            }
        }
    }

    async fn admit_registration(&self, caller: &Caller, event: &Event) -> Result<(), Refusal> {
        match self.address_limits(caller.ip) {
            AddressLimits::Apply => self.admit(PolicyName::RegisterIp, &LimitKey::address(caller.ip), event).await?,
            AddressLimits::Lifted => {}
        }
        self.watch_registration().await;
        Ok(())
    }

    /// Whether a password may be chosen for these names.
    pub(super) async fn judge(
        &self,
        password: &Password,
        email: &Email,
        username: Option<&Username>,
    ) -> Result<(), Refusal> {
        let local = email.canonical().rsplit_once('@').map(|(local, _)| local.to_owned());
        let mut personal = vec![email.canonical().to_owned()];
        personal.extend(local);
        personal.extend(username.map(|name| name.canonical().to_owned()));
        Ok(self.parts.hasher.judge(password.clone(), personal).await??)
    }

    fn registration_tag(&self, email: &Email, key: &IdempotencyKey) -> [u8; 32] {
        let message = format!("POST /api/auth/register\n{}\n{}", email.canonical(), key.reveal());
        self.parts.sealer.tag("register-idempotency", message.as_bytes())
    }

    /// A registration that was done before with the same key: verifies the password like any login, replaces the
    /// session whose tokens got lost, and opens a new one.
    async fn repeated(
        &self,
        caller: &Caller,
        tag: Option<[u8; 32]>,
        password: Password,
    ) -> Result<Option<Tokens>, Refusal> {
        let Some(tag) = tag else { return Ok(None) };
        let Some(Registered { account: id, session: lost }) = self.parts.accounts.find_registration(tag).await? else {
            return Ok(None);
        };
        let Some(record) = self.parts.accounts.find(&id).await? else { return Ok(None) };
        let hash = record.password.clone().filter(|_| record.account.disabled_ms.is_none());
        let against = hash.map_or_else(|| Against::Nobody(id.to_string()), Against::Stored);
        let key = LimitKey::id(id.as_str());
        let event = self.event(caller, Action::LoginDenied).about("user", id.as_str());
        let (policy, lane, account) = (PolicyName::LoginAccount, Lane::Unknown, key.clone());
        let evaluation = Evaluation { policy, key, account, lane, password: password.clone(), against, event: &event };
        if self.evaluate(evaluation).await?.checked == Checked::Wrong {
            self.parts.audit.append(vec![event.denied("credentials")]).await?;
            return Ok(None);
        }
        if password.is_unwanted() {
            // A client that left may hold the session of a later repeat by now: nothing is replaced behind its back.
            return Err(Refusal::Overloaded);
        }
        if let Some(lost) = lost {
            self.supersede(caller, &id, lost).await?;
        }
        let tokens = self.open_session(caller, &record, None).await?;
        self.parts.accounts.note_registration(tag, tokens.session.clone()).await?;
        Ok(Some(tokens))
    }

    /// Ends the session whose tokens got lost, unless somebody uses it.
    async fn supersede(&self, caller: &Caller, id: &UserId, lost: SessionId) -> Result<(), Refusal> {
        let why = EndReason::Superseded;
        let event = self.event(caller, Action::SessionRevoked).by(Actor::User(id.to_string())).because(why.as_str());
        let filter =
            SessionFilter { id: Some(lost), account: Some(id.clone()), unused: true, ..SessionFilter::default() };
        let revoked = self.parts.sessions.revoke(filter, why, event).await?;
        self.remember_ended(&revoked.over);
        Ok(())
    }
}

fn new_account(id: UserId, (email, username): (String, Option<String>), created_ms: i64) -> Account {
    Account {
        id,
        email: Some(email),
        email_verified_ms: None,
        username,
        epoch: 0,
        created_ms,
        last_login_ms: Some(created_ms),
        disabled_ms: None,
    }
}
