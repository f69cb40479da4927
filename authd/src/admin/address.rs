//! Calls about bans and allowances of addresses.

use super::{
    Admin,
    call::{Caller, intent},
    problem::Denied,
};
use crate::{
    auth::{BanGuard, RuleWish},
    domain::address_rule::{AddressRule, Ruling, shown},
};
use shared::{
    admin::{
        Empty, Page,
        address::{AddRequest, RemoveRequest, Rule},
    },
    time::Timestamp,
};
use std::sync::Arc;

/// `ban/list`
pub(super) async fn bans(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Page<Rule>, Denied> {
    list(&admin, Ruling::Ban).await
}

/// `allow/list`
pub(super) async fn allowances(admin: Arc<Admin>, _: Caller, _: Empty) -> Result<Page<Rule>, Denied> {
    list(&admin, Ruling::Allow).await
}

/// `ban/add`
pub(super) async fn ban(admin: Arc<Admin>, by: Caller, request: AddRequest) -> Result<Rule, Denied> {
    add(&admin, &by, Ruling::Ban, request).await
}

/// `allow/add`
pub(super) async fn allow(admin: Arc<Admin>, by: Caller, request: AddRequest) -> Result<Rule, Denied> {
    add(&admin, &by, Ruling::Allow, request).await
}

/// `ban/remove`
pub(super) async fn unban(admin: Arc<Admin>, by: Caller, request: RemoveRequest) -> Result<Rule, Denied> {
    remove(&admin, &by, Ruling::Ban, request).await
}

/// `allow/remove`
pub(super) async fn disallow(admin: Arc<Admin>, by: Caller, request: RemoveRequest) -> Result<Rule, Denied> {
    remove(&admin, &by, Ruling::Allow, request).await
}

async fn list(admin: &Admin, ruling: Ruling) -> Result<Page<Rule>, Denied> {
    Ok(Page::whole(admin.auth.list_rules(ruling).await?.into_iter().map(rule).collect()))
}

async fn add(admin: &Admin, by: &Caller, ruling: Ruling, request: AddRequest) -> Result<Rule, Denied> {
    let operator = by.operator(intent!(request))?;
    let guard = if request.force { BanGuard::Forced } else { BanGuard::Kept };
    let wish = RuleWish { network: request.network, ruling, life: request.lasting, guard };
    Ok(rule(admin.auth.add_rule(&operator, wish).await?))
}

async fn remove(admin: &Admin, by: &Caller, ruling: Ruling, request: RemoveRequest) -> Result<Rule, Denied> {
    let operator = by.operator(intent!(request))?;
    Ok(rule(admin.auth.remove_rule(&operator, ruling, &request.network).await?))
}

fn rule(rule: AddressRule) -> Rule {
    Rule {
        network: shown(rule.network),
        reason: rule.reason,
        created_at: Timestamp(rule.created_ms),
        created_by: rule.created_by.replacen("uid ", "uid:", 1),
        expires_at: rule.expires_ms.map(Timestamp),
    }
}
