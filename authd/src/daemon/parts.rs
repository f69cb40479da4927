//! What the configuration means to each concrete part.

use crate::{
    config::{Auto, Config, DatabasePlace},
    crypto::{
        hash_pool::{HashPool, HashSettings},
        jwt::TokenSettings,
        strength::{Blocklist, StrengthPolicy, StrengthSettings},
    },
    daemon::{Ports, StartError},
    domain::{
        breaker::BreakerSettings, circuit::Circuit, key::KeyAlgorithm, password::PasswordPolicy,
        session::LONGEST_ACCESS_MS,
    },
    http::HttpOptions,
    spool::FileSpool,
    store::{OpenError, StoreOptions},
};
use std::{num::NonZeroUsize, sync::Arc};

/// Niceness of hashing threads: verification and refresh go first, logins still get their share of a busy machine.
const HASH_NICE: i32 = 10;

/// The breaker of one dependency.
pub(super) fn circuit(name: &'static str, config: &Config, ports: &Ports) -> Arc<Circuit> {
    let settings = BreakerSettings {
        failures: config.breaker.failures,
        window_ms: config.breaker.window.as_millis(),
        open_for_ms: config.breaker.open_for.as_millis(),
        half_open_max_calls: config.breaker.half_open_max_calls,
    };
    Arc::new(Circuit::new(name, settings, ports.clock.clone()))
}

pub(super) fn store_options(config: &Config, ports: &Ports, circuit: Arc<Circuit>) -> StoreOptions {
    let skew_ms = config.token.clock_skew.as_millis();
    StoreOptions {
        url: match &config.places.database {
            DatabasePlace::SqliteMemory => "sqlite::memory:".to_owned(),
            DatabasePlace::Sqlite(path) => format!("sqlite:{}", path.display()),
            DatabasePlace::Postgres(url) => url.expose().to_owned(),
        },
        max_connections: config.database.max_connections,
        acquire_timeout: config.database.acquire_timeout.0,
        statement_timeout: config.database.statement_timeout.0,
        start_timeout: config.database.start_timeout.0,
        revocation_keep_ms: LONGEST_ACCESS_MS.saturating_add(skew_ms.saturating_mul(2)),
        circuit,
        notary: None,
        clock: ports.clock.clone(),
        random: ports.random.clone(),
    }
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::NeverCame { .. } => Self::Dependency(text),
            _ => Self::Configuration(text),
        }
    }
}

/// What may be a password, as configured.
pub(super) fn password_policy(config: &Config) -> Result<Arc<dyn PasswordPolicy>, StartError> {
    let password = &config.password;
    let blocklist = match &password.blocklist {
        Some(path) => Blocklist::load(path).map_err(|error| StartError::Configuration(error.to_string()))?,
        None => Blocklist::empty(),
    };
    let strength = StrengthSettings {
        min_length: password.min_length,
        max_length: password.max_length,
        min_score: u8::try_from(password.min_strength).unwrap_or(4),
        service_names: vec!["authd".to_owned(), host(config.server.public_url.as_str()).to_owned()],
    };
    Ok(Arc::new(StrengthPolicy::new(strength, blocklist)))
}

pub(super) fn hash_pool(
    config: &Config,
    policy: Arc<dyn PasswordPolicy>,
    ports: &Ports,
) -> Result<HashPool, StartError> {
    let password = &config.password;
    let settings = HashSettings {
        memory_kib: password.memory_kib,
        iterations: password.iterations,
        parallelism: password.parallelism,
        workers: match password.workers {
            Auto::Auto => None,
            Auto::Is(workers) => NonZeroUsize::new(usize::try_from(workers).unwrap_or(1)),
        },
        queue: usize::try_from(password.queue).unwrap_or(usize::MAX),
        wait_ms: password.wait.as_millis(),
        nice: HASH_NICE,
    };
    let pool = HashPool::start(&settings, policy, ports.clock.clone(), ports.random.clone());
    pool.map_err(|error| StartError::Configuration(error.to_string()))
}

/// Beside the database, or where the daemon would keep one.
pub(super) fn spool(config: &Config) -> Result<FileSpool, StartError> {
    let path = config.places.data_dir.join("denials.spool");
    FileSpool::open(&path, SPOOL_BYTES).map_err(|cause| {
        let shown = path.display();
        StartError::Configuration(format!(
            "{shown}, which keeps refusals while storage is away, cannot be opened: {cause}"
        ))
    })
}

/// Some 15 000 refusals of different kinds.
const SPOOL_BYTES: u64 = 8 * 1_024 * 1_024;

/// Budgets of reliability §3, in milliseconds.
const LOGIN_BUDGET_MS: u64 = 5_000;
const OTHER_BUDGET_MS: u64 = 3_000;

pub(super) fn http_options(config: &Config) -> HttpOptions {
    let server = &config.server;
    HttpOptions {
        trusted_proxies: server.trusted_proxies.clone(),
        client_ip_header: server.client_ip_header.as_str().to_owned(),
        cors_origins: server.cors_origins.iter().map(|origin| origin.as_str().to_owned()).collect(),
        body_limit: usize::try_from(server.body_limit.0).unwrap_or(usize::MAX),
        jwks_max_age_s: config.key.jwks_max_age.0.as_secs(),
        login_budget_ms: LOGIN_BUDGET_MS,
        other_budget_ms: OTHER_BUDGET_MS,
    }
}

/// The host of `http(s)://host[:port]`.
fn host(origin: &str) -> &str {
    let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    if authority.starts_with('[') { authority } else { authority.split(':').next().unwrap_or(authority) }
}

pub(super) fn token_settings(config: &Config) -> TokenSettings {
    TokenSettings {
        issuer: config.token.issuer.clone().unwrap_or_else(|| config.server.public_url.as_str().to_owned()),
        audience: config.token.audience.clone(),
        algorithm: match config.token.algorithm {
            crate::config::KeyAlgorithm::EdDsa => KeyAlgorithm::EdDsa,
            crate::config::KeyAlgorithm::Es256 => KeyAlgorithm::Es256,
        },
        skew_ms: config.token.clock_skew.as_millis(),
        expiry_leeway_ms: 0,
    }
}
