//! Calls about the daemon and its configuration.

use super::{
    Admin,
    call::{Caller, intent},
    problem::Denied,
};
use shared::admin::{
    Empty, Page,
    config::{Checked, Setting},
    daemon::{ReloadRequest, Reloaded, StatusReport},
    doctor::Examined,
};
use std::sync::Arc;

/// `status`
pub(super) async fn status(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<StatusReport, Denied> {
    Ok(admin.control.status().await)
}

/// `reload`. A reload is in force when it is answered, so `wait` has nothing left to wait for.
pub(super) async fn reload(admin: Arc<Admin>, by: Caller, request: ReloadRequest) -> Result<Reloaded, Denied> {
    let operator = by.operator(intent!(request))?;
    if operator.is_dry_run() {
        let Checked { problems, live, restart } = admin.control.check_config().await;
        return Ok(Reloaded { applied: live, restart, problems });
    }
    Ok(admin.control.reload(&operator).await?)
}

/// `doctor`
pub(super) async fn checkup(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Examined, Denied> {
    Ok(admin.control.checkup().await)
}

/// `config/show`
pub(super) async fn show_config(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Page<Setting>, Denied> {
    Ok(admin.control.show_config())
}

/// `config/check`
pub(super) async fn check_config(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Checked, Denied> {
    Ok(admin.control.check_config().await)
}

/// `config/schema`
pub(super) async fn config_schema(_: Arc<Admin>, _: Caller, _: Empty) -> Result<serde_json::Value, Denied> {
    Ok(crate::config::schema())
}
