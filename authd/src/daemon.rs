//! The dependency container: the only file that names concrete types together.

mod anchor;
mod census;
mod control;
mod doctor;
mod keyring;
mod limits;
mod metrics;
mod moved;
mod parts;
mod patience;
mod policy;
mod run;
mod settings;

pub use moved::undo_move;
pub use run::{migrate, openapi, run};

use crate::{
    auth::{Auth, DATABASE, Parts},
    config::Config,
    crypto::{audit::AuditKeys, jwt::JwtSigner, seal::Keys},
    domain::{
        clock::{Clock, OsRandom, Random, SystemClock, random_bytes},
        store_error::StoreError,
    },
    http::{self, HttpParts, LiveOptions, RequestTally},
    limit::redis::{RedisLimiter, in_one_request},
    store,
};
use control::Health;
use patience::Patience;
use policy::LivePolicy;
use shared::hex;
use std::sync::Arc;
use tokio::time::Instant;

/// Time and randomness of the process: the machine's, or a test's.
#[derive(Clone)]
pub struct Ports {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl Default for Ports {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(OsRandom) }
    }
}

/// Why the daemon does not start; each has its own exit code (`sysexits.h`).
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// 78: something an operator has to change.
    #[error("{0}")]
    Configuration(String),
    /// 69: a dependency that never came.
    #[error("{0}")]
    Dependency(String),
    /// 70: a bug, or a machine that does not do what it should.
    #[error("{0}")]
    Internal(String),
}

impl StartError {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 78,
            Self::Dependency(_) => 69,
            Self::Internal(_) => 70,
        }
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt(cause) => Self::Configuration(cause.to_string()),
            other => Self::Dependency(other.to_string()),
        }
    }
}

/// Opens the files that a configuration names, as a start would.
///
/// # Errors
/// [`StartError::Configuration`] for the first that cannot be used.
pub fn check_files(config: &Config) -> Result<(), StartError> {
    keyring::check(config)?;
    limits::redis_place(config)?;
    parts::password_policy(config).map(drop)
}

/// A daemon with all its parts, not yet listening.
pub struct Daemon {
    /// The use cases.
    pub auth: Arc<Auth>,
    /// Names this process among others on the same database; new at every start.
    pub instance: String,
    stores: store::Stores,
    /// How long what is left of the start may wait for storage.
    patience: Patience,
    http: Arc<LiveOptions>,
    passwords: Arc<LivePolicy>,
    /// Limits that instances share, where they do.
    shared_limits: Option<RedisLimiter>,
    requests: Arc<RequestTally>,
}

impl Daemon {
    /// Opens storage, finds or makes the keys, joins the parts and loads what the first request needs; waits for
    /// storage, as a whole, until `database.start_timeout`.
    ///
    /// # Errors
    /// [`StartError`], which says what to do.
    pub async fn build(config: &Config, ports: Ports) -> Result<Self, StartError> {
        let end = Instant::now() + config.database.start_timeout.0;
        let redis_place = limits::redis_place(config)?;
        let circuit = parts::circuit(DATABASE, config, &ports);
        let stores = store::open(parts::store_options(config, &ports, circuit.clone())).await?;
        let upkeep = stores.upkeep(&config.places.data_dir);
        let patience = Patience { end, readiness: stores.readiness.clone() };
        patience.take(|| moved::refuse(upkeep.as_ref(), config)).await?;
        let (wraps, random) = (stores.wraps.as_ref(), ports.random.as_ref());
        let (keks, root) = patience.take(|| keyring::find(config, wraps, random)).await?;
        let keks = Arc::new(keks);
        let notary = Arc::new(AuditKeys::new(&root));
        stores.entrust(notary.clone());
        let passwords = Arc::new(LivePolicy::new(parts::password_policy(config)?));
        let hasher = parts::hash_pool(config, passwords.clone(), &ports)?;
        let settings = settings::settings(config);
        let sealer = Arc::new(Keys::new(&root, ports.random.clone()));
        let limits = limits::limits(config, redis_place, &settings.limits, &sealer, &ports).await;
        let circuits = std::iter::once(circuit).chain(limits.circuit).collect();
        let auth = Auth::new(
            Parts {
                accounts: stores.accounts.clone(),
                sessions: stores.sessions.clone(),
                devices: stores.devices.clone(),
                hard: stores.hard.clone(),
                keys: stores.keys.clone(),
                wraps: stores.wraps.clone(),
                wrapper: keks.clone(),
                settings: stores.settings.clone(),
                rules: stores.rules.clone(),
                audit: stores.audit.clone(),
                chain: stores.chain.clone(),
                notary,
                guard: stores.guard.clone(),
                spool: Arc::new(parts::spool(config)?),
                readiness: stores.readiness.clone(),
                limiter: limits.limiter,
                passwords: passwords.clone(),
                hasher: Arc::new(hasher),
                signer: Arc::new(JwtSigner::new(parts::token_settings(config), keks, ports.random.clone())),
                sealer,
                circuits,
                upkeep,
                clock: ports.clock,
                random: ports.random.clone(),
            },
            settings,
        );
        let instance = hex::encode(&random_bytes::<8>(ports.random.as_ref()));
        let http = Arc::new(LiveOptions::new(parts::http_options(config)));
        let daemon = Self {
            auth: Arc::new(auth),
            instance,
            http,
            passwords,
            shared_limits: limits.shared,
            requests: Arc::default(),
            patience,
            stores,
        };
        daemon.patience.take(|| daemon.load()).await?;
        Ok(daemon)
    }

    /// What requests find in memory: live settings, keys, ended sessions. Done again, it finds what it did before.
    async fn load(&self) -> Result<(), StoreError> {
        self.auth.publish_audit_key().await?;
        self.auth.poll_settings().await?;
        self.auth.skip_news().await?;
        self.auth.beat(&self.instance).await?;
        self.auth.poll_revocations().await
    }

    /// Waits for the changes under way and closes storage; the last thing a daemon does.
    pub async fn close(&self) {
        self.stores.close().await;
    }

    /// The public API.
    pub fn router(&self) -> axum::Router {
        let parts = &self.auth.parts;
        let router = http::router(HttpParts {
            auth: self.auth.clone(),
            options: self.http.clone(),
            ready: Arc::new(Health::new(self.auth.clone())),
            clock: parts.clock.clone(),
            random: parts.random.clone(),
            tally: self.requests.clone(),
            around: |work| Box::pin(in_one_request(work)),
        });
        router.layer(axum::middleware::from_fn(|request: axum::extract::Request, next: axum::middleware::Next| {
            in_one_request(next.run(request))
        }))
    }

    /// Puts a reloaded configuration's live values into force.
    ///
    /// # Errors
    /// [`StartError::Configuration`] when a file it names cannot be read; nothing changes then.
    pub fn reconfigure(&self, config: &Config) -> Result<(), StartError> {
        self.passwords.replace(parts::password_policy(config)?);
        self.auth.reconfigure(settings::settings(config));
        self.http.replace(parts::http_options(config));
        Ok(())
    }
}
