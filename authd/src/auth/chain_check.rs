//! The check of the whole audit log, step by step and in bounded memory: `audit verify`.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::store_error::StoreError;
use shared::chain::{Anchor, Authenticity, Entry, FindingKind, Report, Verifier, verify::Tail};

/// Rows that are read at once.
const BATCH: u32 = 1_000;
/// How often a check starts over because events were purged under it.
const ATTEMPTS: u32 = 3;

/// How far a check has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckStep {
    /// So many events of so many.
    Under {
        /// Checked.
        checked: u64,
        /// To be checked.
        of: u64,
    },
    /// All of it.
    Done(Report),
}

#[derive(Debug)]
enum Phase {
    Begin,
    Checkpoints { after: i64 },
    Events { after: i64 },
    Unsealed { after: String },
    End,
}

/// A check under way.
#[derive(Debug)]
pub struct AuditCheck {
    verifier: Verifier,
    anchors: Vec<Anchor>,
    phase: Phase,
    up_to: i64,
    tombstones: usize,
    attempts_left: u32,
}

impl Auth {
    /// Begins a check against these anchors and this instance's own. The read is recorded.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn begin_check(&self, operator: &Operator, given: Vec<Anchor>) -> Result<AuditCheck, OperatorRefusal> {
        self.note_audit_read(operator, "verify").await?;
        let anchors = given.into_iter().chain(self.anchor()).collect();
        Ok(AuditCheck {
            verifier: Verifier::default(),
            anchors,
            phase: Phase::Begin,
            up_to: 0,
            tombstones: 0,
            attempts_left: ATTEMPTS,
        })
    }

    pub(super) fn authenticity(&self, entry: &Entry) -> Authenticity {
        let mac = entry.fields().mac(|known| self.parts.notary.keyed(known));
        if mac.as_slice() == entry.mac { Authenticity::Good } else { Authenticity::Bad }
    }

    /// A check that believes the keys of this installation, and has seen what was purged.
    pub(super) async fn verifier(&self, anchors: Vec<Anchor>) -> Result<(Verifier, usize), StoreError> {
        let mut verifier = Verifier::new(anchors);
        let (chain, notary) = (&self.parts.chain, &self.parts.notary);
        for (key, mac) in chain.keys().await? {
            if notary.keyed(&key.message()).as_slice() == mac {
                verifier.trust(key);
            } else {
                verifier.find(FindingKind::Key, None, Some(&key.id), "this public key is not one of this installation");
            }
        }
        let own = shared::chain::AuditKey {
            id: notary.key_id().to_owned(),
            public: notary.public(),
            created_ms: self.now_ms(),
        };
        if !verifier.trusts(&own) {
            verifier.find(FindingKind::Key, None, Some(&own.id), "the public key of this installation is not listed");
            verifier.trust(own);
        }
        let tombstones = chain.tombstones().await?;
        for tombstone in &tombstones {
            verifier.tombstone(tombstone);
        }
        Ok((verifier, tombstones.len()))
    }
}

impl AuditCheck {
    /// One step of bounded work.
    ///
    /// # Errors
    /// [`StoreError`]; the step can be taken again.
    pub async fn step(&mut self, auth: &Auth) -> Result<CheckStep, StoreError> {
        let chain = &auth.parts.chain;
        self.phase = match &self.phase {
            Phase::Begin => {
                // The end first: what comes while the check runs is none of its business.
                let tail: Tail = chain.tail().await?;
                (self.verifier, self.tombstones) = auth.verifier(self.anchors.clone()).await?;
                self.verifier.tail(&tail);
                self.up_to = tail.last.map_or(0, |(seq, _)| seq);
                Phase::Checkpoints { after: i64::MIN }
            }
            Phase::Checkpoints { after } => {
                let batch = chain.checkpoints(*after, BATCH).await?;
                for (checkpoint, hash) in &batch {
                    self.verifier.checkpoint(checkpoint, hash.as_deref());
                }
                match batch.last() {
                    Some((last, _)) => Phase::Checkpoints { after: last.number },
                    None => Phase::Events { after: i64::MIN },
                }
            }
            Phase::Events { after } => {
                let batch = chain.sealed(*after, self.up_to, BATCH).await?;
                for entry in &batch {
                    self.verifier.event(entry, auth.authenticity(entry));
                }
                match batch.last().and_then(|last| last.seq) {
                    Some(after) => Phase::Events { after },
                    None => Phase::Unsealed { after: String::new() },
                }
            }
            Phase::Unsealed { after } => {
                let batch = chain.unsealed(after, BATCH).await?;
                for entry in &batch {
                    self.verifier.unsealed(entry, auth.authenticity(entry));
                }
                match batch.last() {
                    Some(last) => Phase::Unsealed { after: last.id.clone() },
                    None => Phase::End,
                }
            }
            Phase::End => return self.end(auth).await,
        };
        let checked = self.verifier.report().events;
        let of = u64::try_from(self.up_to.saturating_sub(self.verifier.seq()).max(0)).unwrap_or(0);
        Ok(CheckStep::Under { checked, of: checked.saturating_add(of) })
    }

    async fn end(&mut self, auth: &Auth) -> Result<CheckStep, StoreError> {
        if auth.parts.chain.tombstones().await?.len() != self.tombstones && self.attempts_left > 0 {
            self.attempts_left -= 1;
            self.phase = Phase::Begin;
            return Ok(CheckStep::Under { checked: 0, of: 0 });
        }
        let report = std::mem::take(&mut self.verifier).finish();
        if report.found > 0 {
            auth.suspect("the audit log does not verify").await;
        }
        Ok(CheckStep::Done(report))
    }
}
