//! The call that explains.

use super::{Admin, call::Caller, problem::Denied};
use crate::domain::why::{Advice, Step as Told, Subject as Asked};
use shared::{
    admin::why::{Explanation, Next, Request, Step, Subject, SubjectKind},
    time::Timestamp,
};
use std::sync::Arc;

/// Longest subject, in bytes: no id, address or user name is longer.
const SUBJECT_MAX: usize = 320;

/// `why`
pub(super) async fn why(admin: Arc<Admin>, by: Caller, request: Request) -> Result<Explanation, Denied> {
    if request.subject.trim().is_empty() || request.subject.len() > SUBJECT_MAX {
        return Err(Denied::Malformed("name a session, an account, a request id or an address".to_owned()));
    }
    let (asked, story) = admin.auth.explain(&by.reader(), &request.subject).await?;
    Ok(Explanation {
        subject: subject(asked),
        verdict: story.verdict,
        rule: story.rule.map(str::to_owned),
        story: story.steps.into_iter().map(step).collect(),
        next: story.next.into_iter().map(next).collect(),
    })
}

fn subject(asked: Asked) -> Subject {
    let (kind, id) = match asked {
        Asked::Session(session) => (SubjectKind::Session, session.id.to_string()),
        Asked::Account(standing) => (SubjectKind::User, standing.account.id.to_string()),
        Asked::Address { text, .. } => (SubjectKind::Address, text),
        Asked::Request(id) => (SubjectKind::Request, id),
    };
    Subject { kind, id }
}

fn step(told: Told) -> Step {
    Step { at: told.at_ms.map(Timestamp), what: told.what, rule: told.rule.map(str::to_owned), event: told.event }
}

fn next(advice: Advice) -> Next {
    Next { command: advice.command, purpose: advice.purpose.to_owned() }
}
