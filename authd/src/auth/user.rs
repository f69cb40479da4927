//! What operators do with accounts.

use crate::auth::{Auth, LockedLanes, Operator, OperatorRefusal};
use crate::domain::{
    account::{Account, AccountFilter, AccountRow, Break, Broken, Created, Disabled, LoginRecord, NewAccount},
    audit::Action,
    identifier::{Email, IdentifierKind, Username},
    page::{Page, PageRequest},
    password::Password,
    secret::Secret,
    session::{SessionFilter, SessionState},
    token::TokenHash,
};
use shared::id::UserId;

/// An account an operator makes.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// E-mail as typed.
    pub email: String,
    /// User name as typed.
    pub username: Option<String>,
    /// Password; without one the account gets a one-time reset.
    pub password: Option<Password>,
}

/// The account made, with the reset to hand over.
#[derive(Debug, Clone)]
pub struct UserCreated {
    /// The account.
    pub account: Account,
    /// Only for an account without a password.
    pub reset: Option<(Secret, i64)>,
}

impl Auth {
    /// Accounts, newest first.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn list_users(
        &self,
        filter: AccountFilter,
        page: PageRequest,
    ) -> Result<Page<AccountRow>, OperatorRefusal> {
        Ok(self.parts.accounts.list(filter, page).await?)
    }

    /// An account with its live sessions and for whom password logins are refused now: `(row, locked)`.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn show_user(&self, user: &str) -> Result<(AccountRow, LockedLanes), OperatorRefusal> {
        let account = self.resolve_user(user).await?;
        let filter = SessionFilter {
            account: Some(account.id.clone()),
            state: Some(SessionState::Live),
            ..SessionFilter::default()
        };
        let sessions = self.parts.sessions.count_live(filter).await?;
        let locked = self.locked(std::slice::from_ref(&account.id)).await?;
        Ok((AccountRow { account, sessions }, locked.first().copied().unwrap_or_default()))
    }

    /// The account of an id, an unambiguous beginning of one, an e-mail or a user name.
    ///
    /// # Errors
    /// [`OperatorRefusal::Unknown`], [`OperatorRefusal::Ambiguous`], [`OperatorRefusal::Storage`].
    pub async fn resolve_user(&self, user: &str) -> Result<Account, OperatorRefusal> {
        Ok(self.resolve_record(user).await?.account)
    }

    async fn resolve_record(&self, user: &str) -> Result<LoginRecord, OperatorRefusal> {
        let found = if let Ok(id) = UserId::parse(user) {
            self.parts.accounts.find(&id).await?
        } else if let Ok(email) = Email::parse(user) {
            self.parts.accounts.find_login(IdentifierKind::Email, email.canonical()).await?
        } else if user.starts_with("usr_") {
            return self.resolve_prefix(user).await;
        } else if let Ok(name) = Username::parse(user) {
            self.parts.accounts.find_login(IdentifierKind::Username, name.canonical()).await?
        } else {
            None
        };
        found.ok_or_else(|| OperatorRefusal::none_called("account", user))
    }

    async fn resolve_prefix(&self, prefix: &str) -> Result<LoginRecord, OperatorRefusal> {
        let filter = AccountFilter { id_prefix: Some(prefix.to_owned()), ..AccountFilter::default() };
        let found = self.parts.accounts.list(filter, PageRequest::first(10)).await?.items;
        match found.as_slice() {
            [] => Err(OperatorRefusal::none_called("account", prefix)),
            [one] => self.parts.accounts.find(&one.account.id).await?.ok_or(OperatorRefusal::NotFound),
            several => Err(OperatorRefusal::Ambiguous(several.iter().map(|row| row.account.id.to_string()).collect())),
        }
    }

    /// Makes an account; one without a password gets a one-time reset.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn create_user(&self, operator: &Operator, user: NewUser) -> Result<UserCreated, OperatorRefusal> {
        let refused = OperatorRefusal::Refused;
        let email = Email::parse(&user.email).map_err(|error| refused(error.into()))?;
        let username =
            user.username.as_deref().map(Username::parse).transpose().map_err(|error| refused(error.into()))?;
        let password = match user.password {
            Some(password) => {
                self.judge(&password, &email, username.as_ref()).await?;
                Some(self.parts.hasher.hash(password).await.map_err(|error| refused(error.into()))?)
            }
            None => None,
        };
        let id = UserId::new(self.now_ms(), self.id_entropy());
        let needs_reset = password.is_none();
        let account = Account {
            id: id.clone(),
            email: Some(email.display().to_owned()),
            email_verified_ms: None,
            username: username.as_ref().map(|name| name.display().to_owned()),
            epoch: 0,
            created_ms: self.now_ms(),
            last_login_ms: None,
            disabled_ms: None,
        };
        if operator.is_dry_run() {
            return Ok(UserCreated { account, reset: None });
        }
        let event = self.operator_event(operator, Action::UserCreated).about("user", id.as_str());
        let new = NewAccount { id: id.clone(), email, username, password, idempotency: None };
        match self.parts.accounts.create(new, None, vec![event]).await? {
            Created::Created { created_ms, .. } => {
                let reset = if needs_reset { Some(self.issue_reset(operator, &id).await?) } else { None };
                Ok(UserCreated { account: Account { created_ms, ..account }, reset })
            }
            Created::DuplicateEmail => Err(refused(crate::auth::Refusal::DuplicateEmail)),
            Created::DuplicateUsername => Err(refused(crate::auth::Refusal::DuplicateUsername)),
        }
    }

    /// Disables an account and ends its sessions.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn disable_user(&self, operator: &Operator, user: &str) -> Result<u64, OperatorRefusal> {
        self.break_user(operator, user, Break::Disable, Action::UserDisabled).await
    }

    /// Deletes an account and ends its sessions.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn delete_user(&self, operator: &Operator, user: &str) -> Result<u64, OperatorRefusal> {
        self.break_user(operator, user, Break::Delete, Action::UserDeleted).await
    }

    /// Ends all sessions of an account.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn logout_user(&self, operator: &Operator, user: &str) -> Result<u64, OperatorRefusal> {
        self.break_user(operator, user, Break::LogoutAll, Action::UserUpdated).await
    }

    /// How many sessions ended, or would end in a dry run.
    async fn break_user(
        &self,
        operator: &Operator,
        user: &str,
        change: Break,
        action: Action,
    ) -> Result<u64, OperatorRefusal> {
        let account = self.resolve_user(user).await?;
        if operator.is_dry_run() {
            let filter = SessionFilter { account: Some(account.id), ..SessionFilter::default() };
            return Ok(self.parts.sessions.count_live(filter).await?);
        }
        let event = self.operator_event(operator, action).about("user", account.id.as_str());
        match self.parts.accounts.break_sessions(&account.id, change, event).await? {
            Broken::Done(revoked) => {
                self.remember_ended(&revoked.over);
                Ok(revoked.ended.len().try_into().unwrap_or(u64::MAX))
            }
            Broken::Missing | Broken::Changed | Broken::SessionOver => Err(OperatorRefusal::NotFound),
        }
    }

    /// Lets a disabled account log in again.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn enable_user(&self, operator: &Operator, user: &str) -> Result<(), OperatorRefusal> {
        let account = self.resolve_user(user).await?;
        if operator.is_dry_run() {
            return Ok(());
        }
        let event = self.operator_event(operator, Action::UserEnabled).about("user", account.id.as_str());
        if self.parts.accounts.enable(&account.id, event).await? { Ok(()) } else { Err(OperatorRefusal::NotFound) }
    }

    /// A one-time reset for an account: the token, shown once, and its end. The operator never learns a password.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn reset_user_password(
        &self,
        operator: &Operator,
        user: &str,
    ) -> Result<(Account, Option<(Secret, i64)>), OperatorRefusal> {
        let account = self.resolve_user(user).await?;
        if operator.is_dry_run() {
            return Ok((account, None));
        }
        let reset = self.issue_reset(operator, &account.id).await?;
        Ok((account, Some(reset)))
    }

    async fn issue_reset(&self, operator: &Operator, id: &UserId) -> Result<(Secret, i64), OperatorRefusal> {
        let token = self.new_reset_token();
        let life_ms = self.settings().reset_ms;
        let event = self.operator_event(operator, Action::PasswordResetIssued).about("user", id.as_str());
        let TokenHash(hash) = TokenHash::of(token.reveal());
        if self.parts.accounts.issue_reset(id, hash, life_ms, event).await? {
            Ok((token, self.now_ms().saturating_add(life_ms)))
        } else {
            Err(OperatorRefusal::NotFound)
        }
    }
}

/// Reads a state filter: `enabled` or `disabled`.
impl Disabled {
    /// The filter of this word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "disabled" => Some(Self::Yes),
            "enabled" => Some(Self::No),
            _ => None,
        }
    }
}
