//! Retention: events that have outlived `audit.retention` go in whole, proven ranges, and leave a signed tombstone.

use crate::auth::{
    Auth, Operator, OperatorRefusal,
    chain::{AuditTrouble, lock},
};
use crate::domain::{
    audit::{Action, Event},
    chain::Purged,
    clock::MAX_STEP_MS,
    store_error::StoreError,
};
use shared::chain::{Checkpoint, Tombstone};

/// The job, as its last run is recorded.
const JOB: &str = "purge";
/// A checkpoint must have been in an anchor for this long.
const EXPORTED_MS: i64 = 24 * 3_600_000;
/// A clock that is farther from the last recorded run than this is not believed (reliability §3).
const MAX_SILENCE_MS: i64 = 2 * 24 * 3_600_000;
/// Events that go in one transaction, unless a single range holds more.
const MOST: i64 = 10_000;
/// Ranges in one turn.
const RANGES: u32 = 20;
/// Events that are checked at once.
const BATCH: u32 = 1_000;

/// Whether the time since the last run is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockTrust {
    /// By the rule.
    Ruled,
    /// An operator says that the clock is right.
    Confirmed,
}

/// What a turn did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PurgeTurn {
    /// Events that went; in a dry run those that would go first.
    pub purged: u64,
    /// The last one.
    pub up_to_seq: Option<i64>,
    /// What was older than this had outlived its retention.
    pub cut_off_ms: i64,
    /// Why nothing went that could have.
    pub refused: Option<String>,
}

/// Why the clock that says what is old is not believed; nothing when it is.
pub(super) fn doubt(now_ms: i64, ran_ms: Option<i64>, step_ms: Option<i64>, trust: ClockTrust) -> Option<String> {
    const CONFIRM: &str = "if the time is right, run: authctl audit purge --confirm-clock";
    if let Some(step_ms) = step_ms {
        let hours = MAX_STEP_MS / 3_600_000;
        let moved = step_ms / 1_000;
        return Some(format!("the clock moved by {moved} s, more than {hours} h: put it right and restart authd"));
    }
    let silent_ms = now_ms.abs_diff(ran_ms?);
    if trust == ClockTrust::Confirmed || silent_ms <= MAX_SILENCE_MS.unsigned_abs() {
        return None;
    }
    Some(format!("the last run was {} days from now by the clock; {CONFIRM}", silent_ms / 86_400_000))
}

impl Auth {
    /// One turn of the job. Nothing goes while the clock is not believed, or when what would go does not verify.
    ///
    /// # Errors
    /// [`StoreError`]; what went is gone, the rest stays.
    pub async fn purge_events(&self, trust: ClockTrust) -> Result<PurgeTurn, StoreError> {
        let event = self.job_event(JOB, Action::AuditPurged);
        self.purge(trust, &event).await
    }

    /// The same by an operator.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn purge_now(&self, operator: &Operator, trust: ClockTrust) -> Result<PurgeTurn, OperatorRefusal> {
        let event = self.operator_event(operator, Action::AuditPurged);
        if !operator.is_dry_run() {
            if trust == ClockTrust::Confirmed {
                // Their word takes the place of a rule, whether or not anything goes then.
                let confirmed = self.operator_event(operator, Action::ClockConfirmed).about("clock", JOB);
                self.parts.audit.append(vec![confirmed]).await?;
            }
            return Ok(self.purge(trust, &event).await?);
        }
        let (now_ms, cut_off_ms) = self.cut_off().await?;
        let found = self.parts.chain.purgeable(cut_off_ms, now_ms.saturating_sub(EXPORTED_MS), i64::MAX / 2).await?;
        let done = self.parts.chain.tombstones().await?.last().map_or(0, |last| last.up_to_seq);
        let up_to_seq = found.map(|checkpoint| checkpoint.seq);
        let purged = u64::try_from(up_to_seq.unwrap_or(done).saturating_sub(done)).unwrap_or(0);
        Ok(PurgeTurn { purged, up_to_seq, cut_off_ms, refused: None })
    }

    /// Database time, and when it was last believed. The record of that can be deleted by whoever sets the clock; what was
    /// signed tells the time too.
    pub(super) async fn last_purge(&self) -> Result<(i64, Option<i64>), StoreError> {
        let (now_ms, ran_ms) = self.parts.chain.last_run(JOB).await?;
        let ran_ms = match ran_ms {
            None => self.signed_checkpoint().await?.map(|last| last.at_ms),
            ran_ms => ran_ms,
        };
        Ok((now_ms, ran_ms))
    }

    async fn cut_off(&self) -> Result<(i64, i64), StoreError> {
        let (now_ms, _) = self.parts.chain.last_run(JOB).await?;
        Ok((now_ms, now_ms.saturating_sub(self.settings().audit_retention_ms)))
    }

    async fn purge(&self, trust: ClockTrust, event: &Event) -> Result<PurgeTurn, StoreError> {
        let chain = &self.parts.chain;
        let (now_ms, ran_ms) = self.last_purge().await?;
        // Looks at the clock; a jump is recorded.
        self.is_clock_believed().await?;
        let (_, cut_off_ms) = self.cut_off().await?;
        let mut turn = PurgeTurn { cut_off_ms, ..PurgeTurn::default() };
        turn.refused = doubt(now_ms, ran_ms, self.clock_step_ms(), trust);
        if turn.refused.is_none() {
            // Whatever else keeps events: the time is believed, and sessions may go by it.
            chain.job_ran(JOB, now_ms).await?;
            turn.refused = self.doubt_tombstones().await?;
        }
        if turn.refused.is_none() {
            for _ in 0..RANGES {
                let exported_ms = now_ms.saturating_sub(EXPORTED_MS);
                let Some(checkpoint) = chain.purgeable(cut_off_ms, exported_ms, MOST).await? else { break };
                match self.purge_range(&checkpoint, now_ms, cut_off_ms, event).await? {
                    Ok(count) => {
                        turn.purged = turn.purged.saturating_add(count);
                        turn.up_to_seq = Some(checkpoint.seq);
                    }
                    Err(why) => {
                        turn.refused = Some(why);
                        break;
                    }
                }
            }
        }
        let mut refused = lock(&self.chain.purge_refused);
        *refused = turn.refused.as_ref().map(|why| AuditTrouble {
            since_ms: refused.as_ref().map_or_else(|| self.now_ms(), |before| before.since_ms),
            effect: format!("old events are kept: {why}"),
        });
        drop(refused);
        Ok(turn)
    }

    /// Purges up to and with this checkpoint; or says why not.
    async fn purge_range(
        &self,
        checkpoint: &Checkpoint,
        now_ms: i64,
        cut_off_ms: i64,
        event: &Event,
    ) -> Result<Result<u64, String>, StoreError> {
        let chain = &self.parts.chain;
        let last = chain.tombstones().await?.pop();
        let from_seq = last.as_ref().map_or(0, |last| last.up_to_seq).saturating_add(1);
        if let Some(why) = self.doubt_range(checkpoint).await? {
            self.suspect(&why).await;
            return Ok(Err(format!("{why}; run: authctl audit verify")));
        }
        let mut tombstone = Tombstone {
            number: last.map_or(0, |last| last.number).saturating_add(1),
            from_seq,
            up_to_seq: checkpoint.seq,
            hash: checkpoint.hash.clone(),
            count: checkpoint.seq.saturating_sub(from_seq).saturating_add(1),
            checkpoint: checkpoint.number,
            cut_off_ms,
            at_ms: now_ms,
            key: self.parts.notary.key_id().to_owned(),
            signature: Vec::new(),
        };
        tombstone.signature = self.parts.notary.sign(&tombstone.message());
        let event = Event { id: self.event_id(), ..event.clone() }.about("audit", "events");
        let event = event.with("events", tombstone.count).with("up_to", tombstone.up_to_seq);
        let event = event.with("cut_off", shared::chain::export::readable_time(cut_off_ms));
        let count = u64::try_from(tombstone.count).unwrap_or(0);
        Ok(match chain.purge(tombstone, event).await? {
            Purged::Done => Ok(count),
            Purged::Overtaken => Ok(0),
            Purged::Differs { found } => Err(format!("{found} events are there instead of {count}")),
        })
    }

    /// What is wrong with what stands in the place of purged events: it says where the next purge begins.
    async fn doubt_tombstones(&self) -> Result<Option<String>, StoreError> {
        let (verifier, _) = self.verifier(Vec::new()).await?;
        let Some(finding) = verifier.report().findings.first() else { return Ok(None) };
        self.suspect(&finding.message).await;
        Ok(Some(format!("{}; run: authctl audit verify", finding.message)))
    }

    /// What is wrong with the events up to this checkpoint: evidence is not purged.
    async fn doubt_range(&self, checkpoint: &Checkpoint) -> Result<Option<String>, StoreError> {
        let (mut verifier, _) = self.verifier(Vec::new()).await?;
        let mut after = i64::MIN;
        loop {
            let batch = self.parts.chain.sealed(after, checkpoint.seq, BATCH).await?;
            for entry in &batch {
                verifier.event(entry, self.authenticity(entry));
            }
            match batch.last().and_then(|last| last.seq) {
                Some(last) => after = last,
                None => break,
            }
        }
        let fits = self.is_signed(checkpoint) && verifier.hash_at(checkpoint.seq) == Some(checkpoint.hash.as_slice());
        let first = verifier.report().findings.first();
        Ok(match first {
            Some(finding) => Some(format!("events that would be purged do not verify: {}", finding.message)),
            None if !fits => Some(format!("checkpoint {} does not fit to the events before it", checkpoint.number)),
            None => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumped_or_a_run_that_is_long_ago_stops_the_purge_until_it_is_confirmed() {
        let day = 86_400_000;
        assert_eq!(doubt(0, None, None, ClockTrust::Ruled), None, "the first run has nothing to compare with");
        assert_eq!(doubt(9 * day, Some(7 * day), None, ClockTrust::Ruled), None);
        for ran_ms in [7 * day - 1, 11 * day + 1] {
            let why = doubt(9 * day, Some(ran_ms), None, ClockTrust::Ruled).unwrap();
            assert!(why.contains("--confirm-clock"), "{why}");
            assert_eq!(doubt(9 * day, Some(ran_ms), None, ClockTrust::Confirmed), None);
        }
        assert!(doubt(0, None, Some(-7_200_000), ClockTrust::Confirmed).is_some());
    }
}
