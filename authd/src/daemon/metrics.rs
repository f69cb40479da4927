//! The page of metrics: what every part has counted, gathered when somebody asks.

use crate::{
    daemon::{
        Daemon, census,
        control::{Running, sharing_state},
    },
    domain::{
        breaker::BreakerState,
        key::KeyState,
        limit::PolicyName,
        tally::{Kind as _, StorageWork},
    },
    metrics::{self, Page},
};
use shared::mode::Mode;
use std::time::Duration;

/// For the few numbers that only the database knows; without them the page is still worth having.
const PATIENCE: Duration = Duration::from_secs(3);

/// All metrics.
pub(super) async fn page(running: &Running) -> String {
    let mut page = Page::default();
    page.series(&metrics::BUILD, [(vec![env!("CARGO_PKG_VERSION")], 1)]);
    page.number(&metrics::START, u64::try_from(running.since_ms / 1_000).unwrap_or(0));
    if let Some(bytes) = resident_bytes().await {
        page.number(&metrics::MEMORY, bytes);
    }
    counted(&mut page, &running.daemon);
    stored(&mut page, &running.daemon).await;
    page.text()
}

/// From memory.
fn counted(page: &mut Page, daemon: &Daemon) {
    let (auth, requests) = (&daemon.auth, &daemon.requests);
    let by_class = requests
        .routes()
        .flat_map(|route| route.classes.all().map(|(class, count)| (vec![route.route.as_str(), class.name()], count)));
    page.series(&metrics::REQUESTS, by_class);
    page.times(&metrics::REQUEST_TIMES, requests.routes().map(|route| (route.route.as_str(), route.times.seen())));
    let tally = auth.tally();
    page.counts(&metrics::LOGINS, &tally.logins);
    page.counts(&metrics::REFRESHES, &tally.refreshes);
    let decisions = tally.limits().flat_map(|(policy, counts)| {
        counts.all().map(move |(outcome, count)| (vec![policy.as_str(), outcome.name()], count))
    });
    page.series(&metrics::LIMITS, decisions);
    page.counts(&metrics::DENIALS, &tally.denials);
    page.number(&metrics::SPOOL, auth.parts.spool.depth());
    let load = auth.parts.hasher.load();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    page.number(&metrics::HASH_WORKERS, count(load.workers));
    page.number(&metrics::HASH_BUSY, count(load.busy));
    page.number(&metrics::HASH_QUEUED, count(load.queued));
    page.number(&metrics::HASH_EVALUATED, load.evaluated);
    page.number(&metrics::HASH_SHED, load.shed);
    page.number(&metrics::DATABASE_UP, u64::from(auth.parts.readiness.outages().since_ms().is_none()));
    let storage = &daemon.stores.tally;
    let times = StorageWork::ALL.iter().map(|work| (work.name(), storage.times(*work).seen()));
    page.times(&metrics::DATABASE_TIMES, times);
    page.counts(&metrics::DATABASE_FAILURES, &storage.failures);
    if let Some(loaded_ms) = auth.revoked().loaded_ms() {
        let age_ms = auth.parts.clock.now_ms().saturating_sub(loaded_ms);
        page.number(&metrics::REVOCATION_AGE, u64::try_from(age_ms / 1_000).unwrap_or(0));
    }
    page.series(&metrics::NEWS, tally.news().map(|(event, count)| (vec![event], count)));
    states(page, daemon);
}

/// What `authctl status` says in words: a series for each state there is, 1 for the one it is in.
fn states(page: &mut Page, daemon: &Daemon) {
    let auth = &daemon.auth;
    let (alarms, mode, sharing) = (auth.alarms(), auth.mode().mode, auth.parts.limiter.sharing());
    let is_raised = |policy| u64::from(alarms.iter().any(|alarm| alarm.policy == policy));
    let policies = [PolicyName::LoginGlobal, PolicyName::RegisterGlobal];
    page.series(&metrics::ALARM, policies.map(|policy| (vec![policy.as_str()], is_raised(policy))));
    page.series(&metrics::MODE, Mode::ALL.map(|one| (vec![one.as_str()], u64::from(one == mode))));
    let redis = ["off", "up", "down"].map(|state| (vec![state], u64::from(state == sharing_state(sharing))));
    page.series(&metrics::REDIS, redis);
    let breakers = auth.breakers().into_iter().flat_map(|breaker| {
        [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open]
            .map(|state| (vec![breaker.name, state.as_str()], u64::from(state == breaker.state)))
    });
    page.series(&metrics::BREAKERS, breakers);
}

/// What the database knows, if it answers.
async fn stored(page: &mut Page, daemon: &Daemon) {
    let asked = async { tokio::join!(census::live_sessions(&daemon.auth), daemon.auth.list_keys()) };
    let Ok((sessions, keys)) = tokio::time::timeout(PATIENCE, asked).await else { return };
    if let Some(live) = sessions {
        page.number(&metrics::SESSIONS, live);
    }
    if let Ok(keys) = keys {
        let states = [KeyState::Staged, KeyState::Active, KeyState::Retiring, KeyState::Retired, KeyState::Revoked];
        let of = |state: KeyState| keys.iter().filter(|key| key.state == state).count();
        let series = states.map(|state| (vec![state.as_str()], u64::try_from(of(state)).unwrap_or(u64::MAX)));
        page.series(&metrics::KEYS, series);
    }
}

/// From proc(5); `None` where there is none.
async fn resident_bytes() -> Option<u64> {
    let read = tokio::task::spawn_blocking(|| std::fs::read_to_string("/proc/self/status"));
    let status = read.await.ok()?.ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn resident_memory_is_known_on_linux() {
        assert!(super::resident_bytes().await.is_some_and(|bytes| bytes > 1 << 20));
    }
}
