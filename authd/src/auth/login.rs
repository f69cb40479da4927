//! Login: the whole policy, from top to bottom.

use crate::auth::{
    Auth, Caller, Refusal, Tokens,
    address::AddressLimits,
    evaluate::{Evaluated, Evaluation},
    grant::Grant,
    tally,
};
use crate::domain::{
    account::LoginRecord,
    audit::{Action, Actor, Event},
    device::{Device, SessionDevice},
    hard::Lane,
    identifier::LoginName,
    ladder::Outcome,
    limit::{Admission, LimitKey, PolicyName},
    password::{Against, Checked, Password},
    secret::Secret,
    session::{NewSession, Opened},
};

/// Somebody who wants in.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Who they say they are.
    pub name: LoginName,
    /// Their password.
    pub password: Password,
    /// What they present as the token of a known device.
    pub device: Option<Secret>,
}

impl Auth {
    /// Logs in with a password: limits, identity, credential, session with its events.
    ///
    /// # Errors
    /// [`Refusal::InvalidCredentials`] for unknown, wrong, disabled and passwordless alike and at the same cost;
    /// [`Refusal::RateLimited`], [`Refusal::SessionLimit`], 503s.
    pub async fn login(&self, caller: &Caller, attempt: Attempt) -> Result<Tokens, Refusal> {
        let answer = self.check_login(caller, attempt).await;
        self.tally.logins.count(tally::login(answer.as_ref().err()));
        answer
    }

    async fn check_login(&self, caller: &Caller, attempt: Attempt) -> Result<Tokens, Refusal> {
        let event = self.event(caller, Action::LoginDenied);
        self.admit_caller(caller, &event).await?;
        let device = self.device_of(&attempt).await?;
        match &device {
            Some(device) => self.admit_device(caller, device, &event).await?,
            None => self.admit_address(caller, &event).await?,
        }
        // Whoever is stopped above has tried nothing: one address alone must not look like an attack.
        let result = self.try_login(caller, attempt, device, event).await;
        self.watch_login(&result).await;
        result
    }

    async fn try_login(
        &self,
        caller: &Caller,
        attempt: Attempt,
        device: Option<Device>,
        event: Event,
    ) -> Result<Tokens, Refusal> {
        let limits = if device.is_some() { AddressLimits::Lifted } else { self.address_limits(caller.ip) };
        if limits == AddressLimits::Apply {
            self.admit(PolicyName::LoginNet, &LimitKey::network(caller.ip), &event).await?;
        }
        let record = self.find_by_name(&attempt.name).await?;
        let usable = record.as_ref().and_then(|record| self.usable_hash(record, &attempt.password));
        let key = match &record {
            Some(record) => LimitKey::id(record.account.id.as_str()),
            None => self.unknown_bucket(attempt.name.canonical()),
        };
        let against = usable.clone().map_or_else(|| Against::Nobody(key.as_str().to_owned()), Against::Stored);
        let event = match &record {
            Some(record) => event.about("user", record.account.id.as_str()),
            // Never what was typed: people put passwords into the wrong field.
            None => event.about("identifier", key.as_str()),
        };
        let places = match limits {
            AddressLimits::Apply => self.hold_spray(caller, &event).await?,
            AddressLimits::Lifted => Vec::new(),
        };
        let (policy, place, lane) = match &device {
            Some(device) => (PolicyName::LoginDeviceFailures, LimitKey::id(device.id.as_str()), Lane::Known),
            None => (PolicyName::LoginAccount, key.clone(), Lane::Unknown),
        };
        let (password, account) = (attempt.password.clone(), key.number());
        let evaluation = Evaluation { policy, key: place, account: key, lane, password, against, event: &event };
        let evaluated = self.evaluate(evaluation).await;
        let outcome = match &evaluated {
            Ok(evaluated) if evaluated.checked == Checked::Wrong => Outcome::Failed,
            Ok(_) => Outcome::Succeeded,
            Err(_) => Outcome::Abandoned,
        };
        self.settle_spray(places, outcome, account).await;
        let Evaluated { checked, settled } = evaluated?;
        let (Some(record), Checked::Right | Checked::RightButOutdated) = (record, checked) else {
            if let Some(device) = &device {
                self.fail_device(device, settled, &event).await?;
            }
            return Err(self.refuse_password(event).await);
        };
        let tokens = self.open_session(caller, &record, device).await?;
        if checked == Checked::RightButOutdated {
            self.upgrade_hash(caller, &record, attempt.password).await;
        }
        Ok(tokens)
    }

    /// `login.ip` and `login.net` count every attempt and are never given back.
    async fn admit_address(&self, caller: &Caller, event: &Event) -> Result<(), Refusal> {
        match self.address_limits(caller.ip) {
            AddressLimits::Apply => self.admit(PolicyName::LoginIp, &LimitKey::address(caller.ip), event).await,
            AddressLimits::Lifted => Ok(()),
        }
    }

    /// Takes one unit of a rate, or refuses and says so in the audit.
    pub(super) async fn admit(&self, policy: PolicyName, key: &LimitKey, event: &Event) -> Result<(), Refusal> {
        let admission = self.parts.limiter.take(policy, key).await;
        self.tally.decided(policy, tally::admission(&admission));
        match admission {
            Admission::Allowed => Ok(()),
            Admission::Denied { retry_after_ms } => Err(self.exceeded(policy, key, event, retry_after_ms).await),
        }
    }

    /// Records that a limit was exceeded, then refuses.
    pub(super) async fn exceeded(
        &self,
        policy: PolicyName,
        key: &LimitKey,
        event: &Event,
        retry_after_ms: i64,
    ) -> Refusal {
        let about = event.clone().doing(Action::LimitExceeded).about("limit", policy.as_str());
        let noted = self.note_denial(about.denied(policy.as_str()).with("key", key.as_str())).await;
        noted.map_or_else(Refusal::from, |_| Refusal::RateLimited { retry_after_ms })
    }

    async fn find_by_name(&self, name: &LoginName) -> Result<Option<LoginRecord>, Refusal> {
        let Some((kind, canonical)) = name.key() else { return Ok(None) };
        Ok(self.parts.accounts.find_login(kind, canonical).await?)
    }

    /// The hash to check against; `None` where nothing can match and the check only costs.
    fn usable_hash(&self, record: &LoginRecord, password: &Password) -> Option<crate::domain::account::PasswordHash> {
        if record.account.disabled_ms.is_some() || self.parts.passwords.is_overlong(password) {
            return None;
        }
        record.password.clone()
    }

    /// Opens a session for an account whose credential was just checked; a device that is not known is from now on.
    pub(super) async fn open_session(
        &self,
        caller: &Caller,
        record: &LoginRecord,
        known: Option<Device>,
    ) -> Result<Tokens, Refusal> {
        let account = &record.account;
        self.know_keys().await?;
        let (session, refresh) = self.new_session(&account.id, account.epoch, caller.origin(), "pwd")?;
        let (device, token) = match known {
            Some(device) => (SessionDevice::Known(device.id), None),
            None => {
                let (device, token) = self.new_device();
                (device, Some(token))
            }
        };
        let event = self
            .event(caller, Action::SessionOpened)
            .by(Actor::User(account.id.to_string()))
            .about("session", session.id.as_str());
        let login = self.event(caller, Action::LoginSucceeded).by(Actor::User(account.id.to_string()));
        let login = login.about("user", account.id.as_str()).with("session", &session.id);
        let (id, amr) = (session.id.clone(), session.amr.clone());
        let mut events = vec![login];
        events.extend(token.is_some().then(|| self.device_added(&event, device.id())));
        // The last one is what sessions and devices that make room are recorded by.
        events.push(event.clone());
        let session = NewSession { device: Some(device), ..session };
        match self.parts.sessions.open(session, events).await? {
            Opened::Opened { created_ms, idle_expires_ms, expires_ms, evicted } => {
                self.remember_ended(&evicted);
                let mut account = account.clone();
                account.last_login_ms = Some(created_ms);
                let tokens = self.grant(&Grant {
                    account: &account,
                    session: &id,
                    opened_ms: created_ms,
                    amr: &amr,
                    idle_expires_ms,
                    access_expires_ms: self.first_access_expiry(created_ms, expires_ms),
                    refresh: refresh.text(),
                })?;
                Ok(Tokens { device: token, ..tokens })
            }
            Opened::AccountChanged => {
                let denied = event.doing(Action::LoginDenied).about("user", account.id.as_str());
                self.parts.audit.append(vec![denied.denied("account_changed")]).await?;
                Err(Refusal::InvalidCredentials)
            }
            Opened::Full => {
                let denied = event.doing(Action::LoginDenied).about("user", account.id.as_str());
                self.parts.audit.append(vec![denied.denied("session_limit")]).await?;
                Err(Refusal::SessionLimit)
            }
        }
    }

    /// Replaces a hash of weaker parameters or another algorithm. The login stands whether it works or not; of
    /// parallel logins one wins, because the old hash must still be there.
    async fn upgrade_hash(&self, caller: &Caller, record: &LoginRecord, password: Password) {
        let Some(old) = &record.password else { return };
        let Ok(new) = self.parts.hasher.hash(password).await else { return };
        let event = self.event(caller, Action::UserUpdated).by(Actor::User(record.account.id.to_string()));
        let event = event.about("user", record.account.id.as_str()).because("password_rehashed");
        let _ = self.parts.accounts.rehash(&record.account.id, old, &new, event).await;
    }
}
