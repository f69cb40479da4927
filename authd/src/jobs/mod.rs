//! Timed work: no input, idempotent, bounded, on a timer. Every instance runs all of it.
//!
//! | job | every | what |
//! | --- | --- | --- |
//! | settings | 500 ms | how many instances live; limits, bans, allowances and modes of all; accounts opened on another
//! one |
//! | alarms | 1 s | ends of alarms; alarms that could not be written |
//! | revocation | 500 ms | ended sessions of all instances; ends that still have to become durable |
//! | keys | 500 ms | signing keys of all instances |
//! | rotate | 5 s | heartbeat; steps of the key life cycle that are due |
//! | rewrap | 5 s | what is still encrypted under a key-encryption key that is being replaced |
//! | seal | 250 ms | sequence numbers and hashes of committed events |
//! | checkpoint | 5 s | a signature over the chain, a minute after the last one if it has moved |
//! | purge | 1 h | events that have outlived their retention |
//! | sweep | 5 s | outlived revocations and the like; seals whose grace has ended, in the next slice of sessions |
//! | past | 60 s | sessions that were over for longer than they are kept |
//! | breakers | 250 ms | whether a database that was away is back; what breakers did, into the audit |
//! | costs | 60 s | which costs the stored passwords have, so that refusals do not tell |
//! | denials | 5 s | refusals that were counted, once their minute is over |
//! | watch | 500 ms | a database that goes away or comes back |
//! | news | 500 ms | what operators are told of in the log |
//! | spool | 1 s | refusals that were kept on disk while storage was away |

mod announce;

use crate::{
    auth::{Auth, CheckpointPace, ClockTrust, Flush},
    domain::store_error::StoreError,
    tasks::{Stop, Tasks},
};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

const SEAL_BATCH: u32 = 1_000;
const SWEEP_BATCH: u32 = 1_000;
/// At most so many batches in one turn: a long backlog must not keep a job from seeing the stop signal.
const MAX_BATCHES: u32 = 20;

type Turn = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// One job: its name, its period and one turn of its work.
struct Job {
    name: &'static str,
    period: Duration,
    turn: Box<dyn Fn() -> Turn + Send + Sync>,
}

fn job<F, Work>(name: &'static str, period_ms: u64, auth: &Arc<Auth>, work: F) -> Job
where
    F: Fn(Arc<Auth>) -> Work + Send + Sync + 'static,
    Work: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let auth = auth.clone();
    Job { name, period: Duration::from_millis(period_ms), turn: Box::new(move || Box::pin(work(auth.clone()))) }
}

/// Starts all jobs. `instance` names this process in heartbeats.
pub fn start(auth: &Arc<Auth>, instance: &str, tasks: &Tasks) {
    let instance: Arc<str> = instance.into();
    let jobs = [
        job("settings", 500, auth, |auth| async move {
            auth.follow_instances().await?;
            auth.poll_settings().await?;
            auth.follow_openings().await
        }),
        job("alarms", 1_000, auth, |auth| async move { auth.poll_alarms().await }),
        job("revocation", 500, auth, |auth| async move {
            auth.poll_revocations().await?;
            auth.retry_pending_ends().await
        }),
        job("keys", 500, auth, |auth| async move { auth.poll_keys().await.map(drop) }),
        job("rotate", 5_000, auth, move |auth| {
            let instance = instance.clone();
            async move { auth.beat(&instance).await }
        }),
        job("rewrap", 5_000, auth, |auth| async move {
            let moved = auth.rewrap().await?;
            if let Some(advice) = auth.encryption().await?.advice().filter(|_| moved > 0) {
                info!(moved, "{advice}");
            }
            Ok(())
        }),
        job("seal", 250, auth, |auth| async move {
            for _ in 0..MAX_BATCHES {
                if auth.seal_events(SEAL_BATCH).await? < SEAL_BATCH {
                    break;
                }
            }
            Ok(())
        }),
        job("checkpoint", 5_000, auth, |auth| async move { checkpoint(&auth, CheckpointPace::Due).await }),
        job("purge", 3_600_000, auth, |auth| async move { purge(&auth).await }),
        job("sweep", 5_000, auth, |auth| async move {
            for _ in 0..MAX_BATCHES {
                if auth.sweep(SWEEP_BATCH).await? < u64::from(SWEEP_BATCH) {
                    break;
                }
            }
            Ok(())
        }),
        job("past", 60_000, auth, |auth| async move {
            for _ in 0..MAX_BATCHES {
                if auth.forget_sessions(SWEEP_BATCH).await? < u64::from(SWEEP_BATCH) {
                    break;
                }
            }
            Ok(())
        }),
        job("breakers", 250, auth, |auth| async move {
            auth.breaker_news().iter().for_each(|event| announce::announce(event, auth.tally()));
            auth.tend_breakers().await
        }),
        job("census", 1_000, auth, |auth| async move { auth.follow_census().await }),
        job("costs", 60_000, auth, |auth| async move { auth.follow_hash_costs().await }),
        job("denials", 5_000, auth, |auth| async move { auth.flush_denials(Flush::Closed).await }),
        job("watch", 500, auth, |auth| async move {
            let (event, kept) = auth.watch_storage().await;
            event.iter().for_each(|event| announce::announce(event, auth.tally()));
            kept?;
            let (event, kept) = auth.watch_sealing().await;
            event.iter().for_each(|event| announce::announce(event, auth.tally()));
            kept
        }),
        job("news", 500, auth, |auth| async move { tell_news(&auth).await }),
        job("spool", 1_000, auth, |auth| async move {
            let merged = auth.merge_spool().await?;
            if merged > 0 {
                info!(merged, "refusals from while storage was away are in the audit now");
            }
            Ok(())
        }),
    ];
    for job in jobs {
        tasks.spawn(job.name, run(job, tasks.stop()));
    }
}

/// Writes into the log what operators want to hear of at once.
///
/// # Errors
/// [`StoreError`]; it is told the next time.
pub async fn tell_news(auth: &Auth) -> Result<(), StoreError> {
    auth.news().await?.iter().for_each(|event| announce::announce(event, auth.tally()));
    Ok(())
}

/// Signs how far the audit chain has come, and says so in the log: what stands there can be compared with later.
///
/// # Errors
/// [`StoreError`]; it is done the next time.
pub async fn checkpoint(auth: &Auth, pace: CheckpointPace) -> Result<(), StoreError> {
    if let Some(checkpoint) = auth.checkpoint(pace).await? {
        let seq = checkpoint.seq;
        info!(seq, anchor = auth.anchor_of(checkpoint).line(), "audit checkpoint");
    }
    Ok(())
}

async fn purge(auth: &Auth) -> Result<(), StoreError> {
    let turn = auth.purge_events(ClockTrust::Ruled).await?;
    if let Some(why) = turn.refused {
        warn!(why, "old events of the audit log are kept");
    }
    if turn.purged > 0 {
        info!(events = turn.purged, "events that have outlived audit.retention are purged");
    }
    Ok(())
}

/// Takes turns until told to stop; says when the work begins to fail and when it works again, not every time.
async fn run(job: Job, mut stop: Stop) {
    let mut timer = tokio::time::interval(job.period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.wait() => return,
            _ = timer.tick() => {}
        }
        match (job.turn)().await {
            Ok(()) if failing => {
                failing = false;
                info!(job = job.name, "job works again");
            }
            Ok(()) => {}
            Err(error) if !failing => {
                failing = true;
                warn!(job = job.name, %error, "job fails; it is tried again at every turn");
            }
            Err(_) => {}
        }
    }
}
