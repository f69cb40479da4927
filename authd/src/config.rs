//! Configuration: where values come from, what they mean, what is wrong with them.
//!
//! ```text
//! sections, limits   the table of keys (key) with their types (value, types, url)
//! source             defaults, files, environment, flags -> what was written and where
//! check              what no single key can tell
//! later              keys of later versions, which are refused
//! places             data directory, sockets, database, key-encryption key
//! reload             what of a new configuration takes effect at once
//! describe           config show, config-schema
//! man                authd.toml(5)
//! example            the file that a package installs
//! ```

mod check;
mod describe;
mod example;
mod key;
mod later;
mod limits;
mod man;
mod places;
mod problem;
mod reload;
mod sections;
mod source;
mod types;
mod url;
mod value;

#[cfg(test)]
mod tests;

pub use describe::{Described, describe, schema};
pub use example::example;
pub use key::{Effect, Key};
pub use limits::{CountLimit, LadderLimit, Limits, POLICIES, RateLimit, ShareLimit, SpreadLimit};
pub use man::man_page;
pub use places::{DatabasePlace, KekPlace, Places};
pub use problem::{Origin, Problem, Problems, closest, printable};
pub use reload::{Difference, differences};
pub use sections::{
    Admin, Audit, Breaker, Database, Log, Metrics, Password, Redis, Registration, Server, Session, SigningKey, Token,
};
pub use source::{Account, Args};
pub use types::{
    AuditRefresh, Auto, ByteSize, Group, HeaderName, KeyAlgorithm, LogFormat, LogLevel, Mode, OnLimit, OnReplay,
    Strategy,
};
pub use url::{DatabaseUrl, SecretUrl, WebOrigin};
pub use value::{Raw, Setting, Shape};

use std::collections::BTreeMap;

/// Everything that can be configured, checked: whoever holds one need not look for contradictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The public HTTP listener.
    pub server: Server,
    /// The Unix sockets for operators.
    pub admin: Admin,
    /// Where everything lasting is kept.
    pub database: Database,
    /// Shared counters.
    pub redis: Redis,
    /// Who may make an account.
    pub registration: Registration,
    /// Passwords and their hashing.
    pub password: Password,
    /// Access tokens.
    pub token: Token,
    /// Lives of sessions.
    pub session: Session,
    /// Signing keys and the key-encryption key.
    pub key: SigningKey,
    /// Defaults of the limit policies.
    pub limit: Limits,
    /// Circuit breakers.
    pub breaker: Breaker,
    /// The audit log.
    pub audit: Audit,
    /// The daemon's own log.
    pub log: Log,
    /// The metrics listener.
    pub metrics: Metrics,
    /// Paths that follow from all of this, from the flags and from the environment.
    pub places: Places,
}

/// Where each value came from, by [`Key::id`]; a key that is not here has its default.
pub type Origins = BTreeMap<String, Origin>;

/// A configuration that can be run.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where they came from.
    pub origins: Origins,
    /// What is permitted and still deserves attention.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads all sources and checks the result.
    ///
    /// # Errors
    /// Every problem that was found, not only the first.
    pub fn load(args: &Args) -> Result<Loaded, Problems> {
        let (read, mut problems) = source::read(args);
        let Ok(mut config) = Self::from_defaults(args) else {
            problems.push(Problem::new(Origin::Default, "", "a built-in default does not fit its key: this is a bug"));
            return Err(Problems(problems));
        };
        let mut failed = Vec::new();
        for key in keys() {
            let Some(written) = read.get(&key.id()) else { continue };
            if let Err(reason) = written.apply(key, &mut config) {
                problems.push(Problem::new(written.origin.clone(), key.toml_name(), reason).hint(key.text()));
                failed.push(key.id());
            }
        }
        config.places = Places::of(args, &config);
        let origins: Origins = read.into_iter().map(|(id, written)| (id, written.origin)).collect();
        let check::Findings { refused, warnings } = check::run(&config, &origins, &failed);
        problems.extend(refused);
        if problems.is_empty() { Ok(Loaded { config, origins, warnings }) } else { Err(Problems(problems)) }
    }

    /// The token issuer: `token.issuer`, else `server.public_url`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.token.issuer.as_deref().unwrap_or_else(|| self.server.public_url.as_str())
    }

    fn from_defaults(args: &Args) -> Result<Self, String> {
        let mut config = Self {
            server: Server::from_defaults()?,
            admin: Admin::from_defaults()?,
            database: Database::from_defaults()?,
            redis: Redis::from_defaults()?,
            registration: Registration::from_defaults()?,
            password: Password::from_defaults()?,
            token: Token::from_defaults()?,
            session: Session::from_defaults()?,
            key: SigningKey::from_defaults()?,
            limit: Limits::from_defaults()?,
            breaker: Breaker::from_defaults()?,
            audit: Audit::from_defaults()?,
            log: Log::from_defaults()?,
            metrics: Metrics::from_defaults()?,
            places: Places::default(),
        };
        config.places = Places::of(args, &config);
        Ok(config)
    }
}

/// Every key, in the order of the manual.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    let (before, after) =
        sections::SECTION_KEYS.split_at(sections::SECTION_KEYS.partition_point(|key| !after_limits(key)));
    before.iter().chain(limits::LIMIT_KEYS).chain(after)
}

/// The documentation of each table, in the order of the manual.
fn section_docs() -> impl Iterator<Item = &'static (&'static str, &'static [&'static str])> {
    sections::SECTION_DOCS.iter().chain(limits::LIMIT_DOCS)
}

fn after_limits(key: &Key) -> bool {
    matches!(key.section, "breaker" | "audit" | "log" | "metrics")
}
