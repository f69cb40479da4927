//! An export of the audit log, batch by batch: everything a check needs away from the daemon.

use crate::auth::{Auth, Operator, OperatorRefusal};
use crate::domain::store_error::StoreError;
use shared::chain::{
    Checkpoint, GENESIS,
    export::{End, FORMAT, Header, Line, readable_time},
    verify::Tail,
};
use std::collections::VecDeque;

/// Rows that are read at once.
const BATCH: u32 = 500;

/// An export under way.
#[derive(Debug)]
pub struct AuditExport {
    tail: Tail,
    begin: i64,
    after: i64,
    begin_hash: Vec<u8>,
    checkpoints: VecDeque<Checkpoint>,
    checkpoint: Option<i64>,
    last_checkpoint: i64,
    events: u64,
    tombstones: usize,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Head,
    Body,
    Done,
}

impl Auth {
    /// Begins an export of everything, or of what follows this event. The read is recorded.
    ///
    /// # Errors
    /// [`OperatorRefusal::Unknown`] when there is no such event.
    pub async fn begin_export(&self, operator: &Operator, after: Option<i64>) -> Result<AuditExport, OperatorRefusal> {
        self.note_audit_read(operator, "export").await?;
        let begin_hash = match after {
            None | Some(0) => GENESIS.to_vec(),
            Some(seq) => {
                let before = self.parts.chain.find("", Some(seq)).await?;
                before
                    .and_then(|entry| entry.hash)
                    .ok_or_else(|| OperatorRefusal::none_called("event", &seq.to_string()))?
            }
        };
        let (tail, begin) = (self.parts.chain.tail().await?, after.unwrap_or(0));
        // Those made later may sign events that come later.
        let last_checkpoint = self.parts.chain.last_checkpoint().await?.map_or(0, |last| last.number);
        Ok(AuditExport {
            tail,
            begin,
            after: begin,
            begin_hash,
            checkpoints: VecDeque::new(),
            checkpoint: Some(i64::MIN),
            last_checkpoint,
            events: 0,
            tombstones: 0,
            step: Step::Head,
        })
    }
}

impl AuditExport {
    /// The next lines; none after the last.
    ///
    /// # Errors
    /// [`StoreError`]; they can be asked for again.
    pub async fn next(&mut self, auth: &Auth) -> Result<Vec<Line>, StoreError> {
        match self.step {
            Step::Head => self.head(auth).await,
            Step::Body => self.body(auth).await,
            Step::Done => Ok(Vec::new()),
        }
    }

    async fn head(&mut self, auth: &Auth) -> Result<Vec<Line>, StoreError> {
        let header = Header {
            format: FORMAT.to_owned(),
            at: readable_time(auth.parts.clock.now_ms()),
            after_seq: self.begin,
            after_hash: self.begin_hash.clone(),
        };
        let keys = auth.parts.chain.keys().await?.into_iter().map(|(key, _)| Line::Key(key));
        let tombstones = auth.parts.chain.tombstones().await?;
        self.tombstones = tombstones.len();
        let tombstones = tombstones.into_iter().map(Line::Tombstone);
        self.step = Step::Body;
        Ok(std::iter::once(Line::Header(header)).chain(keys).chain(tombstones).collect())
    }

    async fn body(&mut self, auth: &Auth) -> Result<Vec<Line>, StoreError> {
        let up_to = self.tail.last.as_ref().map_or(0, |(seq, _)| *seq);
        let batch = auth.parts.chain.sealed(self.after, up_to, BATCH).await?;
        let next = batch.first().and_then(|entry| entry.seq);
        if next != self.after.checked_add(1) && auth.parts.chain.tombstones().await?.len() != self.tombstones {
            // What this export has said of them is not true any more.
            return Err(StoreError::unavailable("events were purged while they were exported: export them again"));
        }
        let mut lines = Vec::with_capacity(batch.len());
        if batch.is_empty() {
            // Checkpoints of events that are not there tell of them.
            self.after = i64::MAX;
            while let Some(checkpoint) = self.checkpoint_at(auth).await? {
                lines.push(Line::Checkpoint(checkpoint));
            }
            self.step = Step::Done;
            let (seq, hash) = (self.tail.head_seq, self.tail.head_hash.clone());
            lines.push(Line::End(End { events: self.events, seq, hash }));
            return Ok(lines);
        }
        for entry in batch {
            self.after = entry.seq.unwrap_or(self.after);
            self.events += 1;
            lines.push(Line::Event(Box::new(entry.into())));
            while let Some(checkpoint) = self.checkpoint_at(auth).await? {
                lines.push(Line::Checkpoint(checkpoint));
            }
        }
        Ok(lines)
    }

    /// The next checkpoint, if the export has come to its place.
    async fn checkpoint_at(&mut self, auth: &Auth) -> Result<Option<Checkpoint>, StoreError> {
        loop {
            if let Some(after) = self.checkpoint.filter(|_| self.checkpoints.is_empty()) {
                let batch = auth.parts.chain.checkpoints(after, BATCH).await?;
                self.checkpoint = batch.last().map(|(last, _)| last.number);
                let known = batch.into_iter().map(|(checkpoint, _)| checkpoint);
                self.checkpoints.extend(known.filter(|checkpoint| checkpoint.number <= self.last_checkpoint));
            }
            match self.checkpoints.front() {
                Some(next) if next.seq <= self.begin => drop(self.checkpoints.pop_front()),
                Some(next) if next.seq <= self.after => return Ok(self.checkpoints.pop_front()),
                Some(_) | None => return Ok(None),
            }
        }
    }
}
