//! The audit chain as the daemon keeps it: sealed in time, signed in checkpoints, known to the anchor.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::{
    audit::{Action, EventOutcome, StoredEvent},
    chain::{ChainStats, Placed},
    store_error::StoreError,
};
use shared::chain::{Anchor, AuditKey, Checkpoint, Entry, Tombstone, verify::Tail};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

/// Between two checkpoints, if there is something new, in milliseconds.
const CHECKPOINT_MS: i64 = 60_000;
/// Sealing that is later than this is told of (reliability: seal lag), in milliseconds.
const MAX_LAG_MS: i64 = 10_000;

/// When to make a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointPace {
    /// A minute after the last one.
    Due,
    /// Now.
    Now,
}

/// Something that is wrong with the audit log, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditTrouble {
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// What it is, and what to do.
    pub effect: String,
}

/// What this instance knows of the chain.
#[derive(Debug, Default)]
pub(super) struct ChainState {
    /// When everything committed was sealed last, by the monotonic clock.
    caught_up_ms: AtomicI64,
    is_lagging: AtomicBool,
    anchor: Mutex<Option<Anchor>>,
    keys: Mutex<Vec<AuditKey>>,
    pub(super) tampered: Mutex<Option<AuditTrouble>>,
    pub(super) purge_refused: Mutex<Option<AuditTrouble>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ChainState {
    pub(super) fn started(monotonic_ms: i64) -> Self {
        Self { caught_up_ms: AtomicI64::new(monotonic_ms), ..Self::default() }
    }
}

impl Auth {
    /// Gives committed events their numbers; how many. One that somebody without the key wrote or changed is sealed
    /// too, so that the chain does not stall, and told of in an event of its own. None as long as a restored database
    /// waits to be accepted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seal_events(&self, batch: u32) -> Result<u32, StoreError> {
        if self.is_locked_down() {
            // An older database must not come as far as the anchor while nobody has accepted it: it would pass for new.
            self.chain.caught_up_ms.store(self.parts.clock.monotonic_ms(), Ordering::Relaxed);
            return Ok(0);
        }
        let sealed = match self.parts.audit.seal(batch).await {
            Err(fault @ StoreError::Corrupt(_)) => {
                self.suspect(&format!("events cannot be sealed any more ({fault})")).await;
                return Err(fault);
            }
            sealed => sealed?,
        };
        self.parts.guard.advance(sealed.head);
        if sealed.count < batch {
            self.chain.caught_up_ms.store(self.parts.clock.monotonic_ms(), Ordering::Relaxed);
        }
        let found = [
            (&sealed.forged, "mac", "was written without the audit key"),
            (&sealed.misplaced, "place", "was put into the chain, or changed there, by somebody else than authd"),
        ];
        for (events, reason, what) in found {
            if let Some(first) = events.first() {
                self.suspect(&format!("event {first} {what}")).await;
                let event = self.job_event("seal", Action::AuditTampered).about("event", first).denied(reason);
                self.parts.audit.append(vec![event.with("events", events.len())]).await?;
            }
        }
        Ok(sealed.count)
    }

    /// Remembers that somebody touched the audit log.
    pub(super) async fn suspect(&self, what: &str) {
        let effect = format!("{what}; to see what else: authctl audit verify");
        lock(&self.chain.tampered).get_or_insert(AuditTrouble { since_ms: self.now_ms(), effect });
    }

    /// Whether sealing has fallen behind since the last call, as the event that is written of it.
    pub async fn watch_sealing(&self) -> (Option<StoredEvent>, Result<(), StoreError>) {
        let lag_ms = self.seal_lag_ms();
        if lag_ms <= MAX_LAG_MS {
            self.chain.is_lagging.store(false, Ordering::Relaxed);
            return (None, Ok(()));
        }
        // While the database is away nothing is committed either, and that is told of elsewhere.
        if self.parts.readiness.outages().since_ms().is_some() || self.chain.is_lagging.swap(true, Ordering::Relaxed) {
            return (None, Ok(()));
        }
        let event = self.job_event("seal", Action::AuditLagging).about("audit", "seal").with("seconds", lag_ms / 1_000);
        let event = crate::domain::audit::Event { outcome: EventOutcome::Error, ..event };
        let kept = self.keep_somewhere(vec![event.clone()]).await;
        (Some(StoredEvent::from(&event)), kept.map(|_| ()))
    }

    /// For how long committed events have waited for their place, in milliseconds.
    #[must_use]
    pub fn seal_lag_ms(&self) -> i64 {
        self.parts.clock.monotonic_ms().saturating_sub(self.chain.caught_up_ms.load(Ordering::Relaxed)).max(0)
    }

    /// What is wrong with the audit log.
    #[must_use]
    pub fn audit_troubles(&self) -> Vec<AuditTrouble> {
        let lag_ms = self.seal_lag_ms();
        let is_away = self.parts.readiness.outages().since_ms().is_some();
        let lagging = (lag_ms > MAX_LAG_MS && !is_away).then(|| AuditTrouble {
            since_ms: self.now_ms().saturating_sub(lag_ms),
            effect: "events are not sealed: they are kept, and not yet protected by the chain; see the log".to_owned(),
        });
        let known = [&self.chain.tampered, &self.chain.purge_refused].map(|trouble| lock(trouble).clone());
        lagging.into_iter().chain(known.into_iter().flatten()).collect()
    }

    /// Puts the public half of the audit key beside those of earlier times.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn publish_audit_key(&self) -> Result<(), StoreError> {
        let notary = &self.parts.notary;
        let key = AuditKey { id: notary.key_id().to_owned(), public: notary.public(), created_ms: self.now_ms() };
        let mac = notary.keyed(&key.message());
        self.parts.chain.add_key(key, mac).await?;
        let keys = self.parts.chain.keys().await?;
        let ours = keys.into_iter().filter(|(key, mac)| notary.keyed(&key.message()).as_slice() == mac);
        *lock(&self.chain.keys) = ours.map(|(key, _)| key).collect();
        Ok(())
    }

    /// Signs how far the chain has come, if it has moved; `None` if not, if it is not time yet, or if another instance
    /// was faster.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoint(&self, pace: CheckpointPace) -> Result<Option<Checkpoint>, StoreError> {
        let chain = &self.parts.chain;
        let Tail { head_seq, head_hash, last } = chain.tail().await?;
        let before = chain.last_checkpoint().await?;
        let (number, signed_seq, made_ms) = match before {
            Some(before) if self.is_signed(&before) => (before.number, before.seq, before.at_ms),
            Some(before) => {
                // Whoever puts one there must not end the signing.
                self.suspect(&format!("checkpoint {} was not signed by this installation", before.number)).await;
                (before.number, 0, i64::MIN)
            }
            None => (0, 0, i64::MIN),
        };
        let (now_ms, _) = chain.last_run("checkpoint").await?;
        // A clock that went back does not put it off.
        let is_due = pace == CheckpointPace::Now || now_ms.abs_diff(made_ms) >= CHECKPOINT_MS.unsigned_abs();
        if head_seq <= signed_seq || !is_due {
            return Ok(None);
        }
        let at_head = chain.find("", Some(head_seq)).await?.and_then(|event| event.hash);
        if at_head.as_ref() != Some(&head_hash) {
            self.suspect("the head of the audit chain is not its last event, and is not signed").await;
            return Ok(None);
        }
        if last.is_some_and(|(last, _)| last != head_seq) {
            self.suspect("an event stands behind the head of the audit chain").await;
        }
        let mut checkpoint = Checkpoint {
            number: number.saturating_add(1),
            seq: head_seq,
            hash: head_hash,
            at_ms: now_ms,
            anchored_seq: self.anchor().and_then(|anchor| anchor.checkpoint).map_or(0, |anchored| anchored.seq),
            key: self.parts.notary.key_id().to_owned(),
            signature: Vec::new(),
        };
        checkpoint.signature = self.parts.notary.sign(&checkpoint.message());
        let added = chain.add_checkpoint(checkpoint.clone()).await?;
        Ok(Some(checkpoint).filter(|_| added))
    }

    /// [`Auth::checkpoint`] by an operator: everything committed before is sealed and signed.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn checkpoint_now(&self, operator: &Operator) -> Result<Option<Checkpoint>, OperatorRefusal> {
        if operator.is_dry_run() {
            return Ok(self.parts.chain.last_checkpoint().await?);
        }
        let event = self.operator_event(operator, Action::AuditCheckpointed).about("audit", "checkpoint");
        self.parts.audit.append(vec![event]).await?;
        while self.seal_events(1_000).await? == 1_000 {}
        match self.checkpoint(CheckpointPace::Now).await? {
            Some(checkpoint) => Ok(Some(checkpoint)),
            None => Ok(self.parts.chain.last_checkpoint().await?),
        }
    }

    /// The anchor for this checkpoint: what the journal and the anchor file say.
    #[must_use]
    pub fn anchor_of(&self, checkpoint: Checkpoint) -> Anchor {
        let epoch = self.anchor().map_or(0, |anchor| anchor.epoch);
        Anchor { seq: checkpoint.seq, epoch, checkpoint: Some(checkpoint), keys: self.audit_keys() }
    }

    /// Public halves of the audit key.
    #[must_use]
    pub fn audit_keys(&self) -> Vec<AuditKey> {
        lock(&self.chain.keys).clone()
    }

    /// What the anchor file says, as far as this instance knows.
    #[must_use]
    pub fn anchor(&self) -> Option<Anchor> {
        lock(&self.chain.anchor).clone()
    }

    /// Remembers what the anchor file says now.
    pub fn remember_anchor(&self, anchor: Anchor) {
        *lock(&self.chain.anchor) = Some(anchor);
    }

    /// Whether the database still has this checkpoint, or has purged it.
    pub(super) async fn has_checkpoint(&self, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
        let placed = self.parts.chain.checkpoints(checkpoint.number.saturating_sub(1), 1).await?;
        let is_it = |(found, hash): &Placed| found == checkpoint && hash.as_ref() == Some(&checkpoint.hash);
        if placed.first().is_some_and(is_it) {
            return Ok(true);
        }
        let keys = self.audit_keys();
        let is_ours = |last: &Tombstone| {
            keys.iter().any(|key| key.id == last.key && key.verifies(&last.message(), &last.signature))
        };
        let tombstones = self.parts.chain.tombstones().await?;
        Ok(tombstones.last().is_some_and(|last| last.checkpoint >= checkpoint.number && is_ours(last)))
    }

    /// Whether this installation signed it.
    pub(super) fn is_signed(&self, checkpoint: &Checkpoint) -> bool {
        let keys = self.audit_keys();
        keys.iter().any(|key| key.id == checkpoint.key && key.verifies(&checkpoint.message(), &checkpoint.signature))
    }

    /// Whether the database was compared with an anchor before, by what was signed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn had_anchor(&self) -> Result<bool, StoreError> {
        Ok(self.signed_checkpoint().await?.is_some_and(|last| last.anchored_seq > 0))
    }

    /// The last checkpoint, if it was signed by this installation.
    pub(super) async fn signed_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.parts.chain.last_checkpoint().await?.filter(|last| self.is_signed(last)))
    }

    /// One event by id or place, with its MAC and hash. The read is recorded.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn show_event(&self, operator: &Operator, id: &str) -> Result<Entry, OperatorRefusal> {
        self.note_audit_read(operator, "show").await?;
        let found = self.parts.chain.find(id, id.parse().ok()).await?;
        found.ok_or_else(|| OperatorRefusal::none_called("event", id))
    }

    /// Numbers about the log. The read is recorded.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn audit_stats(&self, operator: &Operator, since_ms: i64) -> Result<AuditStats, OperatorRefusal> {
        self.note_audit_read(operator, "stats").await?;
        let chain = &self.parts.chain;
        Ok(AuditStats {
            stats: chain.stats(since_ms).await?,
            tail: chain.tail().await?,
            last_checkpoint: chain.last_checkpoint().await?,
            tombstones: chain.tombstones().await?,
        })
    }
}

/// The log in numbers.
#[derive(Debug, Clone)]
pub struct AuditStats {
    /// Counts.
    pub stats: ChainStats,
    /// How far it has come.
    pub tail: Tail,
    /// The last checkpoint.
    pub last_checkpoint: Option<Checkpoint>,
    /// What was purged.
    pub tombstones: Vec<shared::chain::Tombstone>,
}
