//! The daemon as a whole, as operators and health checks see it: status, configuration, reload.

use crate::{
    admin::control::Control,
    auth::{Alarm, AuditState, AuditTrouble, Auth, DatabaseState, Look, Operator},
    config::{self, Args, Config, Difference, Effect, Loaded, Origin},
    daemon::{Daemon, anchor, census, metrics, moved},
    domain::{
        audit::{Action, EventOutcome},
        breaker::Held,
        circuit::CircuitReport,
        failure::Condition,
        key::KeyState,
        limit::{PolicyName, Sharing},
        store_error::StoreError,
        upkeep::Writes,
    },
    http::{Part, PartState, ReadyCheck},
    log::LogHandle,
};
use ipnet::IpNet;
use shared::{
    admin::{
        Page,
        config::{Change, Checked, Problem, Setting},
        daemon::{Database, Degraded, Hashing, Keys, Redis, Reloaded, Sessions, StatusReport},
        doctor::Examined,
    },
    time::Timestamp,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// To look costs the database two commits, and anybody may ask: so often in a second somebody looks.
const LOOKS_A_SECOND: u32 = 10;

/// What was seen last.
struct Seen {
    began: Instant,
    /// The second that it belongs to, and how often somebody looked in it.
    second: Instant,
    looks: u32,
    parts: Vec<Part>,
}

/// Tells whether requests can be answered: database writable, audit writable, a key usable.
pub(super) struct Health {
    auth: Arc<Auth>,
    seen: tokio::sync::Mutex<Option<Seen>>,
}

#[async_trait::async_trait]
impl ReadyCheck for Health {
    async fn parts(&self) -> Vec<Part> {
        let asked = Instant::now();
        // Held while looking: whoever asks meanwhile waits, and one of them looks for all.
        let mut last = self.seen.lock().await;
        let began = Instant::now();
        let (second, looks) = match last.as_ref() {
            Some(seen) if seen.began >= asked => return seen.parts.clone(),
            Some(seen) if began.duration_since(seen.second) < Duration::from_secs(1) => (seen.second, seen.looks),
            _ => (began, 0),
        };
        if let Some(seen) = last.as_ref()
            && looks >= LOOKS_A_SECOND
        {
            return seen.parts.clone();
        }
        let parts = self.of(&self.look().await);
        *last = Some(Seen { began, second, looks: looks + 1, parts: parts.clone() });
        parts
    }
}

impl Health {
    /// Nobody has looked yet.
    pub(super) fn new(auth: Arc<Auth>) -> Self {
        Self { auth, seen: tokio::sync::Mutex::default() }
    }

    /// Asks every part that can fail.
    pub(super) async fn look(&self) -> Look {
        let parts = &self.auth.parts;
        let (writes, events, reads) =
            tokio::join!(parts.readiness.probe(), self.auth.probe_audit(), parts.settings.all());
        let database = match (writes, reads) {
            (Ok(_), _) => DatabaseState::Up,
            (Err(_), Ok(_)) => DatabaseState::ReadOnly,
            (Err(_), Err(_)) => DatabaseState::Down,
        };
        self.auth.conclude(database, if events.is_ok() { AuditState::Writable } else { AuditState::Closed })
    }

    fn of(&self, look: &Look) -> Vec<Part> {
        let part = |name, works: bool| Part { name, state: if works { PartState::Up } else { PartState::Down } };
        let redis = match self.auth.parts.limiter.sharing() {
            Sharing::Off => None,
            Sharing::On => Some(PartState::Up),
            Sharing::Down { .. } => Some(PartState::Degraded),
        };
        let parts = [
            part("database", look.database == DatabaseState::Up),
            part("audit", look.audit == AuditState::Writable),
            part("keys", !self.auth.parts.signer.published().is_empty()),
            part("restore", !self.auth.is_locked_down()),
        ];
        parts.into_iter().chain(redis.map(|state| Part { name: "redis", state })).collect()
    }
}

/// The running daemon with the configuration it runs on.
pub(super) struct Running {
    pub(super) daemon: Arc<Daemon>,
    pub(super) loaded: Mutex<Loaded>,
    pub(super) args: Args,
    pub(super) log: LogHandle,
    pub(super) trusted_proxies: watch::Sender<Vec<IpNet>>,
    pub(super) listen: SocketAddr,
    pub(super) since_ms: i64,
}

impl Running {
    pub(super) fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn auth(&self) -> &Auth {
        &self.daemon.auth
    }

    /// Reads the configuration again; off the event loop, because files can be slow.
    async fn read_again(&self) -> Result<Loaded, Vec<Problem>> {
        let args = self.args.clone();
        match tokio::task::spawn_blocking(move || Config::load(&args)).await {
            Ok(Ok(new)) => Ok(new),
            Ok(Err(problems)) => Err(problems.0.into_iter().map(problem).collect()),
            Err(panicked) => Err(vec![plain_problem(panicked.to_string())]),
        }
    }

    /// Puts the live part of a new configuration into force.
    async fn adopt(&self, new: Loaded) -> Result<(), Vec<Problem>> {
        let next = self.loaded().config.with_live_of(&new.config);
        let (daemon, config) = (self.daemon.clone(), next.clone());
        // The list of refused passwords is read again.
        let adopted = tokio::task::spawn_blocking(move || daemon.reconfigure(&config)).await;
        let failed = |error: &dyn std::fmt::Display| vec![plain_problem(error.to_string())];
        adopted.map_err(|panicked| failed(&panicked))?.map_err(|error| failed(&error))?;
        self.log.set_level(next.log.level);
        self.trusted_proxies.send_replace(next.server.trusted_proxies.clone());
        *self.loaded() = Loaded { config: next, ..new };
        // Live limits lie above the configured ones; should storage be away, the next poll lays them there.
        let _ = self.auth().poll_settings().await.is_ok();
        Ok(())
    }

    /// What to do after the database was moved.
    fn moved_away(&self) -> Option<String> {
        let Writes::Moved { to, .. } = self.auth().parts.upkeep.writes() else { return None };
        Some(format!("the database was moved to {to}: change database.url and key.encryption_key, then restart authd"))
    }

    async fn keys(&self) -> Keys {
        let keys = self.auth().list_keys().await.unwrap_or_default();
        let of = |state| keys.iter().find(|key| key.state == state).map(|key| key.id.to_string());
        Keys { active: of(KeyState::Active), staged: of(KeyState::Staged) }
    }

    /// SIGHUP and `authctl reload`: `by` is who asked on the socket.
    ///
    /// # Errors
    /// [`StoreError`] when an operator's reload could not be recorded: nothing has changed then. A signal has nobody to
    /// tell, so its reload goes on.
    pub(super) async fn reload_for(&self, by: Option<&Operator>) -> Result<Reloaded, StoreError> {
        let new = match self.read_again().await {
            Ok(new) => new,
            Err(problems) => return Ok(self.reject(by, problems).await),
        };
        let (applied, restart) = changes(&self.loaded().config, &new.config);
        let reloaded = Reloaded { applied, restart, problems: Vec::new() };
        if let Err(error) = self.note_reload(by, &reloaded).await {
            tracing::warn!(%error, "the reload could not be recorded in the audit");
            if by.is_some() {
                return Err(error);
            }
        }
        match self.adopt(new).await {
            Ok(()) => Ok(reloaded),
            Err(problems) => Ok(self.reject(by, problems).await),
        }
    }

    /// Nothing changes, so this is told even if it cannot be recorded.
    async fn reject(&self, by: Option<&Operator>, problems: Vec<Problem>) -> Reloaded {
        let rejected = Reloaded { applied: Vec::new(), restart: Vec::new(), problems };
        if let Err(error) = self.note_reload(by, &rejected).await {
            tracing::warn!(%error, "the rejected reload could not be recorded in the audit");
        }
        rejected
    }

    async fn note_reload(&self, by: Option<&Operator>, reloaded: &Reloaded) -> Result<(), StoreError> {
        let (action, outcome) = if reloaded.problems.is_empty() {
            (Action::ConfigReloaded, EventOutcome::Ok)
        } else {
            (Action::ConfigRejected, EventOutcome::Error)
        };
        let names = |changes: &[Change]| changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>().join(" ");
        let detail = vec![
            ("applied", names(&reloaded.applied)),
            ("restart", names(&reloaded.restart)),
            ("problems", reloaded.problems.len().to_string()),
        ];
        let retention = reloaded.applied.iter().find(|change| change.key == "audit.retention");
        let retention = retention.map(|change| ("retention", format!("{} to {}", change.from, change.to)));
        let detail = detail.into_iter().chain(retention).collect::<Vec<_>>();
        tracing::info!(action = action.as_str(), applied = %names(&reloaded.applied), problems = reloaded.problems.len(), "configuration read again");
        self.auth().note_daemon(action, outcome, by, detail).await
    }
}

/// An alarm as a part that works less well than it should.
fn alarm(alarm: Alarm) -> Degraded {
    let effect = match alarm.policy {
        PolicyName::LoginGlobal => "attack mode: unknown devices have a quarter of login.ip and login.net",
        _ => "more registrations than register.global: addresses have a quarter of register.ip",
    };
    Degraded { part: alarm.policy.as_str().to_owned(), since: Timestamp(alarm.since_ms), effect: effect.to_owned() }
}

fn trouble(trouble: AuditTrouble) -> Degraded {
    Degraded { part: "audit".to_owned(), since: Timestamp(trouble.since_ms), effect: trouble.effect }
}

fn problem(problem: config::Problem) -> Problem {
    let (file, line) = match &problem.origin {
        Origin::File { path, line } => (Some(path.display().to_string()), u64::try_from(*line).ok()),
        Origin::Default | Origin::Env(_) | Origin::Flag(_) => (None, None),
    };
    let key = Some(problem.key).filter(|key| !key.is_empty());
    Problem { key, file, line, message: problem.message, hint: problem.hint }
}

fn plain_problem(message: String) -> Problem {
    Problem { key: None, file: None, line: None, message, hint: None }
}

/// What differs: `(takes effect now, waits for a restart)`.
fn changes(old: &Config, new: &Config) -> (Vec<Change>, Vec<Change>) {
    let differing = config::differences(old, new).into_iter();
    let (live, restart): (Vec<_>, Vec<_>) = differing.partition(|difference| difference.effect == Effect::Live);
    let change = |difference: Difference| Change { key: difference.key, from: difference.from, to: difference.to };
    (live.into_iter().map(change).collect(), restart.into_iter().map(change).collect())
}

pub(super) fn sharing_state(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Off => "off",
        Sharing::On => "up",
        Sharing::Down { .. } => "down",
    }
}

fn open_breakers(auth: &Auth) -> Vec<Degraded> {
    let open = |report: CircuitReport| {
        let name = report.name;
        let effect = match report.held {
            Held::Open => format!("{name} is not called, by an operator; to close it: authctl breaker close {name}"),
            Held::Automatic | Held::Closed => format!("{name} is not called; it closes by itself when {name} is back"),
        };
        Some(Degraded { part: format!("breaker {name}"), since: Timestamp(report.since_ms?), effect })
    };
    auth.breakers().into_iter().filter_map(open).collect()
}

fn degraded((condition, since_ms): (Condition, i64)) -> Degraded {
    let (part, effect) = (condition.part().to_owned(), condition.effect());
    Degraded { part, since: Timestamp(since_ms), effect: format!("{}: {effect}", condition.name()) }
}

#[async_trait::async_trait]
impl Control for Running {
    async fn status(&self) -> StatusReport {
        let health = Health::new(self.daemon.auth.clone());
        let look = health.look().await;
        let parts = health.of(&look);
        let ready = parts.iter().all(|part| part.state != PartState::Down);
        let readiness = &self.auth().parts.readiness;
        let load = self.auth().parts.hasher.load();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let restored = self.auth().is_locked_down().then(|| {
            "the database is older than what was seen before; accept it with: \
             authctl session epoch-bump --accept-restore"
                .to_owned()
        });
        let encryption = self.auth().encryption().await.ok().and_then(|found| found.advice());
        let warnings = self
            .loaded()
            .warnings
            .iter()
            .map(|warning| format!("{}: {}", warning.key, warning.message))
            .collect::<Vec<_>>();
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready,
            since: Timestamp(self.since_ms),
            listen: Some(self.listen.to_string()),
            mode: self.auth().mode().mode,
            database: Database {
                kind: readiness.kind().to_owned(),
                state: match look.database {
                    DatabaseState::Up => "up",
                    DatabaseState::ReadOnly => "read_only",
                    DatabaseState::Down => "down",
                }
                .to_owned(),
            },
            redis: Redis { state: sharing_state(self.auth().parts.limiter.sharing()).to_owned() },
            keys: self.keys().await,
            hashing: Hashing {
                workers: count(load.workers),
                busy: count(load.busy),
                queued: count(load.queued),
                evaluated: load.evaluated,
            },
            sessions: Sessions { live: census::live_sessions(self.auth()).await },
            degraded: look
                .conditions
                .into_iter()
                .map(degraded)
                .chain(open_breakers(self.auth()))
                .chain(self.auth().alarms().into_iter().map(alarm))
                .chain(self.auth().audit_troubles().into_iter().map(trouble))
                .collect(),
            problems: restored.into_iter().chain(self.moved_away()).chain(encryption).chain(warnings).collect(),
        }
    }

    async fn checkup(&self) -> Examined {
        let degraded = self.status().await.degraded.into_iter().map(|one| format!("{}: {}", one.part, one.effect));
        self.examine(degraded.collect()).await
    }

    async fn metrics(&self) -> String {
        metrics::page(self).await
    }

    fn show_config(&self) -> Page<Setting> {
        let loaded = self.loaded();
        let settings = config::describe(&loaded.config, &loaded.origins);
        Page::whole(
            settings
                .into_iter()
                .map(|key| Setting {
                    key: key.key,
                    value: key.value.into(),
                    default: key.default.into(),
                    origin: key.origin.to_string(),
                    live: key.effect == Effect::Live,
                })
                .collect(),
        )
    }

    async fn check_config(&self) -> Checked {
        match self.read_again().await {
            Ok(new) => {
                let (live, restart) = changes(&self.loaded().config, &new.config);
                Checked { problems: Vec::new(), live, restart }
            }
            Err(problems) => Checked { problems, live: Vec::new(), restart: Vec::new() },
        }
    }

    async fn reload(&self, operator: &Operator) -> Result<Reloaded, StoreError> {
        self.reload_for(Some(operator)).await
    }

    async fn keep_anchor(&self) -> Result<(), StoreError> {
        let path = self.loaded().config.places.audit_anchor.clone();
        anchor::check(&self.daemon.auth, &path).await
    }

    fn configuration_for(&self, to: &str) -> String {
        moved::configuration(&self.loaded().config, to)
    }

    fn instance(&self) -> &str {
        &self.daemon.instance
    }
}
