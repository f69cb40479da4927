//! What the configuration means to the use cases.

use crate::{
    auth::{RegistrationMode, Settings},
    config::{AuditRefresh, Auto, Config, LadderLimit, OnReplay, RateLimit, SpreadLimit},
    domain::{
        attack::AttackRule,
        hard::HardLimit,
        key_plan::KeyPlan,
        ladder::Ladder,
        limit::{Policy, PolicyName, PolicySet, PolicyValue},
        session::{OnLimit, Recording, ReplayScope, SessionCap},
        spread::Spread,
    },
};
use std::sync::Arc;

/// Life of a one-time password reset, in milliseconds.
const RESET_MS: i64 = 24 * 3_600_000;

/// The settings of this configuration.
pub(super) fn settings(config: &Config) -> Settings {
    Settings {
        registration: if config.registration.open { RegistrationMode::Open } else { RegistrationMode::Closed },
        idle_ms: config.session.idle.as_millis(),
        absolute_ms: config.session.absolute.as_millis(),
        cap: SessionCap {
            max: config.session.max_per_account,
            on_limit: match config.session.on_limit {
                crate::config::OnLimit::EvictOldest => OnLimit::EvictOldest,
                crate::config::OnLimit::Refuse => OnLimit::Refuse,
            },
        },
        grace_ms: config.session.grace.as_millis(),
        keyed_grace_ms: config.session.keyed_grace.as_millis(),
        keep_ms: config.session.keep.as_millis(),
        on_replay: match config.session.on_replay {
            OnReplay::Session => ReplayScope::Session,
            OnReplay::Account => ReplayScope::Account,
        },
        access_ttl_ms: config.token.access_ttl.as_millis(),
        skew_ms: config.token.clock_skew.as_millis(),
        recording: match config.audit.refresh {
            AuditRefresh::Changes => Recording::Changes,
            AuditRefresh::All => Recording::All,
        },
        audit_retention_ms: config.audit.retention.as_millis(),
        wait_ms: config.password.wait.as_millis(),
        failure_floor_ms: match config.password.failure_floor {
            Auto::Auto => None,
            Auto::Is(floor) => Some(floor.as_millis()),
        },
        reset_ms: RESET_MS,
        keys: KeyPlan {
            rotate_every_ms: config.key.rotate_every.as_millis(),
            stage_ms: config.key.stage.as_millis(),
            cache_ms: config.key.jwks_max_age.as_millis(),
            skew_ms: config.token.clock_skew.as_millis(),
            access_ttl_ms: config.token.access_ttl.as_millis(),
        },
        trusted_proxies: config.server.trusted_proxies.clone(),
        limits: Arc::new(PolicySet::new(|name| Policy::configured(value(config, name)))),
    }
}

fn value(config: &Config, name: PolicyName) -> PolicyValue {
    let limit = &config.limit;
    match name {
        PolicyName::LoginIp => rate(limit.login_ip),
        PolicyName::LoginNet => rate(limit.login_net),
        PolicyName::LoginAccount => ladder(limit.login_account),
        PolicyName::LoginDevice => rate(limit.login_device),
        PolicyName::LoginDeviceFailures => PolicyValue::Count { max: limit.login_device_failures.count },
        // The configuration was refused if they do not go together.
        PolicyName::LoginHard => {
            PolicyValue::Hard(HardLimit::new(limit.login_hard.unknown, limit.login_hard.known).unwrap_or_default())
        }
        PolicyName::RegisterIp => rate(limit.register_ip),
        PolicyName::RefreshSession => rate(limit.refresh_session),
        PolicyName::RefreshIp => rate(limit.refresh_ip),
        PolicyName::ReauthSession => PolicyValue::Count { max: limit.reauth_session.count },
        PolicyName::LoginSpray => spread(limit.login_spray),
        PolicyName::LoginSprayNet => spread(limit.login_spray_net),
        PolicyName::LoginGlobal => PolicyValue::Share(AttackRule {
            percent: limit.login_global.percent,
            attempts: limit.login_global.attempts,
        }),
        PolicyName::RegisterGlobal => rate(limit.register_global),
        PolicyName::AdminUid => rate(limit.admin_uid),
    }
}

fn rate(limit: RateLimit) -> PolicyValue {
    PolicyValue::Rate { rate: limit.rate, burst: limit.burst }
}

fn spread(limit: SpreadLimit) -> PolicyValue {
    PolicyValue::Spread(Spread {
        most: limit.count,
        window_ms: limit.window.as_millis(),
        lock_ms: limit.lock.as_millis(),
    })
}

fn ladder(limit: LadderLimit) -> PolicyValue {
    PolicyValue::Ladder(Ladder {
        burst: limit.burst,
        first_delay_ms: limit.first_delay.as_millis(),
        max_delay_ms: limit.max_delay.as_millis(),
        forget_ms: limit.forget.as_millis(),
    })
}
