//! Accounts taken over from another system, and read out for one.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::{
    account::{LoginRecord, PasswordHash},
    audit::Action,
    identifier::{Email, InvalidEmail, InvalidUsername, Username},
    import::{EmailIs, IdIs, ImportFate, LoginIs, NewImport, Trying},
    page::{Page, PageRequest},
    password::UnusableHash,
    store_error::StoreError,
};
use shared::id::UserId;

/// How often a batch is tried again because somebody registered one of its names meanwhile.
const ATTEMPTS: usize = 3;
/// How far ahead of this clock a time may be, in milliseconds: other systems have clocks of their own.
const AHEAD_MS: i64 = 24 * 3_600_000;

/// A line as it was written.
#[derive(Debug, Clone)]
pub struct ImportLine {
    /// The id to keep.
    pub id: Option<UserId>,
    /// E-mail.
    pub email: String,
    /// User name.
    pub username: Option<String>,
    /// Whether the address was verified.
    pub email_is: EmailIs,
    /// Whether it may log in.
    pub login_is: LoginIs,
    /// When it was made.
    pub created_ms: Option<i64>,
    /// When it last logged in.
    pub last_login_ms: Option<i64>,
    /// Hash of its password.
    pub password: Option<PasswordHash>,
}

/// Why a line makes no account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineRefusal {
    /// 400.
    #[error("the e-mail is {0}")]
    Email(#[from] InvalidEmail),
    /// 400.
    #[error("the user name is {0}")]
    Username(#[from] InvalidUsername),
    /// 400.
    #[error("{0}")]
    Hash(#[from] UnusableHash),
    /// 400.
    #[error("`{0}` is before 1970 or in the future")]
    Time(&'static str),
    /// 409.
    #[error("an account with this e-mail is there and differs in {}", .0.join(", "))]
    EmailTaken(Vec<&'static str>),
    /// 409.
    #[error("another account has this user name")]
    UsernameTaken,
    /// 409.
    #[error("another account has, or had, this id")]
    IdTaken,
}

/// What became of a line.
#[derive(Debug, Clone)]
pub struct LineFate {
    /// Its address as it is compared.
    pub email: Option<String>,
    /// Its user name as it is compared.
    pub username: Option<String>,
    /// Its account: made or there.
    pub result: Result<Taken, LineRefusal>,
}

/// A line that has its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It was made, or would be.
    Created(UserId),
    /// It was there.
    Present(UserId),
}

impl Auth {
    /// Takes accounts over, in one transaction; each line has its own fate, in order.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`]; nothing of the batch is there then.
    pub async fn import_users(
        &self,
        operator: &Operator,
        lines: Vec<ImportLine>,
    ) -> Result<Vec<LineFate>, OperatorRefusal> {
        let read: Vec<Result<NewImport, LineRefusal>> = lines.into_iter().map(|line| self.read_line(line)).collect();
        let whole: Vec<NewImport> = read.iter().filter_map(|line| line.as_ref().ok()).cloned().collect();
        let mut fates = self.take_over(operator, whole).await?.into_iter();
        let fate = |line: Result<NewImport, LineRefusal>| match line {
            Err(refusal) => LineFate { email: None, username: None, result: Err(refusal) },
            Ok(line) => LineFate {
                email: Some(line.email.canonical().to_owned()),
                username: line.username.as_ref().map(|name| name.canonical().to_owned()),
                result: match fates.next() {
                    Some(ImportFate::Created(id)) => Ok(Taken::Created(id)),
                    Some(ImportFate::Present(id)) => Ok(Taken::Present(id)),
                    Some(ImportFate::EmailTaken(differing)) => Err(LineRefusal::EmailTaken(differing)),
                    Some(ImportFate::UsernameTaken) => Err(LineRefusal::UsernameTaken),
                    Some(ImportFate::IdTaken) | None => Err(LineRefusal::IdTaken),
                },
            },
        };
        Ok(read.into_iter().map(fate).collect())
    }

    async fn take_over(&self, operator: &Operator, lines: Vec<NewImport>) -> Result<Vec<ImportFate>, OperatorRefusal> {
        let trying = if operator.is_dry_run() { Trying::Yes } else { Trying::No };
        for _ in 0..ATTEMPTS {
            let event = self.operator_event(operator, Action::UserCreated).with("import", "yes");
            if let Some(fates) = self.parts.accounts.import(lines.clone(), trying, event).await? {
                return Ok(fates);
            }
        }
        Err(StoreError::unavailable("names of the batch are being registered").into())
    }

    fn read_line(&self, line: ImportLine) -> Result<NewImport, LineRefusal> {
        let latest_ms = self.now_ms().saturating_add(AHEAD_MS);
        for (name, ms) in [("created_at", line.created_ms), ("last_login_at", line.last_login_ms)] {
            if ms.is_some_and(|ms| !(0..=latest_ms).contains(&ms)) {
                return Err(LineRefusal::Time(name));
            }
        }
        let email = Email::parse(&line.email)?;
        let username = line.username.as_deref().map(Username::parse).transpose()?;
        if let Some(hash) = &line.password {
            self.parts.hasher.accepts(hash)?;
        }
        let id_is = if line.id.is_some() { IdIs::Asked } else { IdIs::New };
        Ok(NewImport {
            id: line.id.unwrap_or_else(|| UserId::new(self.now_ms(), self.id_entropy())),
            id_is,
            email,
            username,
            email_is: line.email_is,
            login_is: line.login_is,
            created_ms: line.created_ms,
            last_login_ms: line.last_login_ms,
            password: line.password,
        })
    }

    /// Accounts with their password hashes, newest first. Each page is recorded before it is read: what cannot be
    /// recorded is not handed out.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn export_users(
        &self,
        operator: &Operator,
        page: PageRequest,
        hashes: Hashes,
    ) -> Result<Page<LoginRecord>, OperatorRefusal> {
        let with = match hashes {
            Hashes::Included => "yes",
            Hashes::LeftOut => "no",
        };
        let event = self.operator_event(operator, Action::UserExported).with("hashes", with).with("limit", page.limit);
        let event = page.after.iter().fold(event, |event, after| event.with("after", after));
        self.parts.audit.append(vec![event]).await?;
        let mut records = self.parts.accounts.export(page).await?;
        if hashes == Hashes::LeftOut {
            records.items.iter_mut().for_each(|record| record.password = None);
        }
        Ok(records)
    }
}

/// Whether password hashes are read out too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashes {
    /// They are.
    Included,
    /// They are not.
    LeftOut,
}
