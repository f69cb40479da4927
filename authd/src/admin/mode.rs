//! Calls about the operating mode.

use super::{
    Admin,
    call::{Caller, intent},
    problem::Denied,
};
use crate::auth::ModeInForce;
use shared::{
    admin::{
        Empty,
        mode::{Changed, Mode, SetRequest, Standing},
    },
    time::Timestamp,
};
use std::sync::Arc;

/// `mode/show`
pub(super) async fn show(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Standing, Denied> {
    Ok(standing(&admin))
}

/// `mode/set`
pub(super) async fn set(admin: Arc<Admin>, by: Caller, request: SetRequest) -> Result<Changed, Denied> {
    let operator = by.operator(intent!(request))?;
    let previous = standing(&admin);
    admin.auth.set_mode(&operator, request.mode, request.lasting).await?;
    if operator.is_dry_run() {
        let now_ms = admin.auth.parts.clock.now_ms();
        let who = format!("uid:{}", operator.uid);
        return Ok(Changed { mode: preview(&previous, &request, (now_ms, who)), previous });
    }
    tracing::warn!(mode = %request.mode, was = %previous.mode, uid = operator.uid, "operating mode changed");
    Ok(Changed { mode: standing(&admin), previous })
}

fn standing(admin: &Admin) -> Standing {
    let ModeInForce { mode, changed, expires_ms } = admin.auth.mode();
    let (at_ms, who) = changed.unzip();
    Standing {
        mode,
        changed_at: at_ms.map(Timestamp),
        changed_by: who.map(|who: String| who.replacen("uid ", "uid:", 1)),
        expires_at: expires_ms.map(Timestamp),
        restore_pending: admin.auth.is_locked_down(),
    }
}

/// The mode as the request would leave it.
fn preview(previous: &Standing, request: &SetRequest, (now_ms, who): (i64, String)) -> Standing {
    let is_set = request.mode != Mode::Normal;
    Standing {
        mode: request.mode,
        changed_at: is_set.then_some(Timestamp(now_ms)),
        changed_by: is_set.then_some(who),
        expires_at: request.lasting.map(|life| Timestamp(now_ms.saturating_add(life.as_millis()))),
        ..previous.clone()
    }
}
