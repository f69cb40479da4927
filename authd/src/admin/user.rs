//! Calls about accounts.

use super::{
    Admin,
    call::{Caller, intent},
    problem::Denied,
};
use crate::{
    auth::{LockedLanes, NewUser},
    domain::{
        account::{Account, AccountFilter, AccountRow, Disabled},
        page,
        password::Password,
        secret::Secret,
    },
};
use shared::{
    admin::{
        Page, WireSecret, page_size,
        user::{
            ChangeRequest, Changed, CreateRequest, Created, ListRequest, Locked, PasswordReset, ShowRequest, State,
            User,
        },
    },
    id::UserId,
    time::Timestamp,
};
use std::sync::Arc;

/// Longest text to search for, in characters: no name or device has more.
const SEARCH_MAX: usize = 320;

/// The part of a list that a request asks for.
///
/// # Errors
/// [`Denied::Malformed`] when `after` is no cursor.
pub(super) fn page_request(limit: Option<u32>, after: Option<String>) -> Result<page::PageRequest, Denied> {
    if let Some(Err(error)) = after.as_deref().map(str::parse::<page::Cursor>) {
        return Err(Denied::Malformed(format!("`after` is {error}")));
    }
    Ok(page::PageRequest { limit: page_size(limit), after })
}

/// A text to search for.
///
/// # Errors
/// [`Denied::Malformed`] when it is longer than anything it could be found in.
pub(super) fn searchable(name: &str, text: Option<String>) -> Result<Option<String>, Denied> {
    match text {
        Some(text) if text.chars().count() > SEARCH_MAX => {
            Err(Denied::Malformed(format!("`{name}` has more than {SEARCH_MAX} characters")))
        }
        text => Ok(text),
    }
}

/// A page of stored things as it is shown.
pub(super) fn shown<T, U>(page: page::Page<T>, change: impl FnMut(T) -> U) -> Page<U> {
    Page {
        total: page.total,
        total_exact: page.total.is_some(),
        next: page.next,
        items: page.items.into_iter().map(change).collect(),
    }
}

/// `user/list`
pub(super) async fn list(admin: Arc<Admin>, _: Caller, request: ListRequest) -> Result<Page<User>, Denied> {
    let filter = AccountFilter {
        id_prefix: None,
        name: searchable("search", request.search)?.map(|text| text.to_lowercase()).filter(|text| !text.is_empty()),
        disabled: request.state.map(|state| match state {
            State::Enabled => Disabled::No,
            State::Disabled => Disabled::Yes,
        }),
    };
    let rows = admin.auth.list_users(filter, page_request(request.limit, request.after)?).await?;
    let ids: Vec<UserId> = rows.items.iter().map(|row| row.account.id.clone()).collect();
    let mut locked = admin.auth.locked(&ids).await?.into_iter();
    Ok(shown(rows, |row| user(row, locked.next().unwrap_or_default())))
}

/// `user/show`
pub(super) async fn show(admin: Arc<Admin>, _: Caller, request: ShowRequest) -> Result<User, Denied> {
    find(&admin, &request.user).await
}

async fn find(admin: &Admin, name: &str) -> Result<User, Denied> {
    let (row, locked) = admin.auth.show_user(name).await?;
    Ok(user(row, locked))
}

/// `user/create`
pub(super) async fn create(admin: Arc<Admin>, by: Caller, request: CreateRequest) -> Result<Created, Denied> {
    let operator = by.operator(intent!(request))?;
    let new = NewUser {
        email: request.email,
        username: request.username,
        password: request.password.map(|password| Password::new(password.expose())),
    };
    let made = admin.auth.create_user(&operator, new).await?;
    if operator.is_dry_run() {
        return Ok(Created { user: None, reset_token: None, expires_at: None });
    }
    let (reset_token, expires_at) = handed_over(made.reset);
    Ok(Created {
        user: Some(user(AccountRow { account: made.account, sessions: 0 }, LockedLanes::default())),
        reset_token,
        expires_at,
    })
}

fn handed_over(reset: Option<(Secret, i64)>) -> (Option<WireSecret>, Option<Timestamp>) {
    let Some((token, end_ms)) = reset else { return (None, None) };
    (Some(WireSecret::new(token.reveal().to_owned())), Some(Timestamp(end_ms)))
}

/// `user/disable`
pub(super) async fn disable(admin: Arc<Admin>, by: Caller, request: ChangeRequest) -> Result<Changed, Denied> {
    let operator = by.operator(intent!(request))?;
    let before = find(&admin, &request.user).await?;
    let revoked = admin.auth.disable_user(&operator, before.id.as_str()).await?;
    let changed = before.state == State::Enabled || revoked > 0;
    Ok(Changed { changed, revoked, user: after(&admin, before).await? })
}

/// `user/enable`
pub(super) async fn enable(admin: Arc<Admin>, by: Caller, request: ChangeRequest) -> Result<Changed, Denied> {
    let operator = by.operator(intent!(request))?;
    let before = find(&admin, &request.user).await?;
    admin.auth.enable_user(&operator, before.id.as_str()).await?;
    let changed = before.state == State::Disabled;
    Ok(Changed { changed, revoked: 0, user: after(&admin, before).await? })
}

/// `user/unlock`
pub(super) async fn unlock(admin: Arc<Admin>, by: Caller, request: ChangeRequest) -> Result<Changed, Denied> {
    let operator = by.operator(intent!(request))?;
    let before = find(&admin, &request.user).await?;
    let changed = admin.auth.unlock_user(&operator, before.id.as_str()).await?;
    Ok(Changed { changed, revoked: 0, user: after(&admin, before).await? })
}

/// `user/logout`
pub(super) async fn logout(admin: Arc<Admin>, by: Caller, request: ChangeRequest) -> Result<Changed, Denied> {
    let operator = by.operator(intent!(request))?;
    let before = find(&admin, &request.user).await?;
    let revoked = admin.auth.logout_user(&operator, before.id.as_str()).await?;
    Ok(Changed { changed: revoked > 0, revoked, user: after(&admin, before).await? })
}

/// `user/delete`
pub(super) async fn delete(admin: Arc<Admin>, by: Caller, request: ChangeRequest) -> Result<Changed, Denied> {
    let operator = by.operator(intent!(request))?;
    let before = find(&admin, &request.user).await?;
    let revoked = admin.auth.delete_user(&operator, before.id.as_str()).await?;
    Ok(Changed { changed: true, revoked, user: before })
}

/// `user/reset-password`
pub(super) async fn reset_password(
    admin: Arc<Admin>,
    by: Caller,
    request: ChangeRequest,
) -> Result<PasswordReset, Denied> {
    let operator = by.operator(intent!(request))?;
    let before = find(&admin, &request.user).await?;
    let (_, reset) = admin.auth.reset_user_password(&operator, before.id.as_str()).await?;
    let (reset_token, expires_at) = handed_over(reset);
    Ok(PasswordReset { user: before, reset_token, expires_at })
}

/// The account as it is now; a change that is done is not answered with an error because a later read failed.
async fn after(admin: &Admin, before: User) -> Result<User, Denied> {
    Ok(find(admin, before.id.as_str()).await.unwrap_or(before))
}

fn user(row: AccountRow, locked: LockedLanes) -> User {
    let Account { id, email, username, created_ms, last_login_ms, disabled_ms, .. } = row.account;
    User {
        id,
        email,
        username,
        state: if disabled_ms.is_some() { State::Disabled } else { State::Enabled },
        created_at: Timestamp(created_ms),
        last_login_at: last_login_ms.map(Timestamp),
        sessions: row.sessions,
        locked: match (locked.unknown, locked.known) {
            (false, false) => None,
            (true, false) => Some(Locked::UnknownDevices),
            (false, true) => Some(Locked::KnownDevices),
            (true, true) => Some(Locked::Both),
        },
    }
}
