//! Calls about circuit breakers.

use super::{
    Admin,
    call::{Caller, intent},
    problem::Denied,
};
use crate::domain::{
    breaker::{BreakerState, Held},
    circuit::CircuitReport,
};
use shared::{
    admin::{
        Empty, Page,
        breaker::{Breaker, CloseRequest, HoldRequest, State},
    },
    time::{Span, Timestamp},
};
use std::{sync::Arc, time::Duration};

/// `breaker/list`
pub(super) async fn list(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Page<Breaker>, Denied> {
    Ok(Page::whole(admin.auth.breakers().into_iter().map(breaker).collect()))
}

/// `breaker/open`
pub(super) async fn open(admin: Arc<Admin>, by: Caller, request: HoldRequest) -> Result<Breaker, Denied> {
    let operator = by.operator(intent!(request))?;
    Ok(breaker(admin.auth.hold_breaker(&operator, &request.name, Held::Open).await?))
}

/// `breaker/close`
pub(super) async fn close(admin: Arc<Admin>, by: Caller, request: CloseRequest) -> Result<Breaker, Denied> {
    let operator = by.operator(intent!(request))?;
    let held = if request.hold { Held::Closed } else { Held::Automatic };
    Ok(breaker(admin.auth.hold_breaker(&operator, &request.name, held).await?))
}

fn breaker(report: CircuitReport) -> Breaker {
    let retry = u64::try_from(report.retry_in_ms).ok().filter(|ms| *ms > 0);
    Breaker {
        name: report.name.to_owned(),
        state: match report.state {
            BreakerState::Closed => State::Closed,
            BreakerState::Open => State::Open,
            BreakerState::HalfOpen => State::HalfOpen,
        },
        held: report.held != Held::Automatic,
        since: report.since_ms.map(Timestamp),
        failures: report.failures,
        retry_in: retry.map(|ms| Span(Duration::from_millis(ms))),
    }
}
