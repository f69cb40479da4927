//! Calls that take accounts over from elsewhere and read them out.

use super::{
    Admin,
    call::{Caller, Intent, intent},
    problem::Denied,
    user::{page_request, shown},
};
use crate::{
    auth::{Hashes, ImportLine, LineFate, LineRefusal, Taken},
    domain::{
        account::{LoginRecord, PasswordHash},
        import::{EmailIs, LoginIs},
    },
};
use shared::{
    admin::{
        Page, WireSecret,
        user::transfer::{ExportRequest, Fate, IMPORT_MAX, ImportRequest, Imported, Record, Verdict},
    },
    error::ErrorCode,
    time::Timestamp,
};
use std::sync::Arc;

/// `user/import`
pub(super) async fn import(admin: Arc<Admin>, by: Caller, request: ImportRequest) -> Result<Imported, Denied> {
    let operator = by.operator(intent!(request))?;
    if request.users.is_empty() || request.users.len() > IMPORT_MAX {
        return Err(Denied::Malformed(format!("`users` has 1 to {IMPORT_MAX} items")));
    }
    let lines = request.users.into_iter().map(line).collect();
    let fates = admin.auth.import_users(&operator, lines).await?;
    let is_real = !operator.is_dry_run();
    Ok(Imported { results: fates.into_iter().map(|fate| verdict(fate, is_real)).collect() })
}

fn line(record: Record) -> ImportLine {
    ImportLine {
        id: record.id,
        email: record.email,
        username: record.username,
        email_is: if record.email_verified { EmailIs::Verified } else { EmailIs::Unproven },
        login_is: if record.disabled { LoginIs::Disabled } else { LoginIs::Open },
        created_ms: record.created_at.map(Timestamp::as_millis),
        last_login_ms: record.last_login_at.map(Timestamp::as_millis),
        password: record.password_hash.map(|hash| PasswordHash(hash.expose().to_owned())),
    }
}

fn verdict(fate: LineFate, is_real: bool) -> Verdict {
    let (outcome, user_id, refusal) = match fate.result {
        Ok(Taken::Created(id)) => (Fate::Created, is_real.then_some(id), None),
        Ok(Taken::Present(id)) => (Fate::Present, Some(id), None),
        Err(refusal) => (Fate::Refused, None, Some(refusal)),
    };
    Verdict {
        outcome,
        user_id,
        email: fate.email,
        username: fate.username,
        code: refusal.as_ref().map(code),
        detail: refusal.map(|refusal| refusal.to_string()),
    }
}

fn code(refusal: &LineRefusal) -> ErrorCode {
    match refusal {
        LineRefusal::Email(_) => ErrorCode::InvalidEmail,
        LineRefusal::Username(_) => ErrorCode::InvalidUsername,
        LineRefusal::Hash(_) | LineRefusal::Time(_) => ErrorCode::Malformed,
        LineRefusal::EmailTaken(_) => ErrorCode::DuplicateEmail,
        LineRefusal::UsernameTaken => ErrorCode::DuplicateUsername,
        LineRefusal::IdTaken => ErrorCode::Conflict,
    }
}

/// `user/export`
pub(super) async fn export(admin: Arc<Admin>, by: Caller, request: ExportRequest) -> Result<Page<Record>, Denied> {
    let intent = Intent { reason: &request.reason, ticket: &request.ticket, dry_run: false };
    let operator = by.operator(intent)?;
    let hashes = if request.hashes { Hashes::Included } else { Hashes::LeftOut };
    let page = page_request(request.limit, request.after)?;
    Ok(shown(admin.auth.export_users(&operator, page, hashes).await?, record))
}

fn record(stored: LoginRecord) -> Record {
    let account = stored.account;
    Record {
        id: Some(account.id),
        email: account.email.unwrap_or_default(),
        username: account.username,
        email_verified: account.email_verified_ms.is_some(),
        disabled: account.disabled_ms.is_some(),
        created_at: Some(Timestamp(account.created_ms)),
        last_login_at: account.last_login_ms.map(Timestamp),
        password_hash: stored.password.map(|PasswordHash(text)| WireSecret::new(text)),
    }
}
