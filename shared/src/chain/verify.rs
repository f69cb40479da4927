//! The check itself: fed with what is stored, in order, it tells what does not fit. It holds no more than the last
//! place.

use super::{
    anchor::Anchor,
    canonical::GENESIS,
    record::{AuditKey, Checkpoint, Entry, Tombstone},
};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::HashMap};

/// Findings that are listed; further ones are counted.
pub const MOST_FINDINGS: usize = 1_000;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The MAC of an event is wrong: it was changed, or somebody without the key inserted it.
    Edited,
    /// The hash of an event does not follow from the one before it: it was changed, moved or replaced.
    Broken,
    /// Events are not there.
    Missing,
    /// An event stands where none may stand: before the beginning, or where another one is.
    Misplaced,
    /// A checkpoint is missing, not signed, or signed for another chain.
    Checkpoint,
    /// A tombstone is missing, not signed, or does not fit.
    Tombstone,
    /// A public key is unknown or changed.
    Key,
    /// The head of the chain is not its last event.
    Head,
    /// The log ends before the anchor.
    Truncated,
    /// The log contradicts the anchor.
    Forked,
    /// The anchor itself, or the file that was given, is not what it claims to be.
    Unproven,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// At which place.
    pub seq: Option<i64>,
    /// At which event, or about which key.
    pub id: Option<String>,
    /// How many events.
    pub count: u64,
    /// In words.
    pub message: String,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Events with a place that were checked.
    pub events: u64,
    /// Events without one, which come after a second at most.
    pub unsealed: u64,
    /// The first place.
    pub first_seq: Option<i64>,
    /// The last place.
    pub last_seq: Option<i64>,
    /// Checkpoints that were checked.
    pub checkpoints: u64,
    /// Tombstones that were checked.
    pub tombstones: u64,
    /// Whether MACs were checked: only the daemon can.
    pub macs_checked: bool,
    /// The place up to which an anchor proves that nothing was cut off; absent without an anchor.
    pub anchored_seq: Option<i64>,
    /// How many things are wrong.
    pub found: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
    /// What could not be checked.
    pub notes: Vec<String>,
}

/// What is known of a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authenticity {
    /// It is right.
    Good,
    /// It is wrong.
    Bad,
    /// The key is not here.
    Unchecked,
}

/// The head of the chain and the last event, as one look found them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Where the head says the chain ends.
    pub head_seq: i64,
    /// Its hash.
    pub head_hash: Vec<u8>,
    /// The last event that is there.
    pub last: Option<(i64, Option<Vec<u8>>)>,
}

/// Where the chain has come.
#[derive(Debug, Clone)]
struct Place {
    seq: i64,
    hash: Vec<u8>,
}

/// A check under way. Order: keys, tombstones, then events and checkpoints, then the rest.
#[derive(Debug)]
pub struct Verifier {
    keys: HashMap<String, AuditKey>,
    place: Place,
    last_tombstone: i64,
    purged_checkpoint: i64,
    last_checkpoint: Option<Checkpoint>,
    /// The last place that a checkpoint proves.
    signed_seq: i64,
    /// Where an export begins that does not hold everything.
    begun: Option<Place>,
    anchors: Vec<(Anchor, Option<Vec<u8>>)>,
    report: Report,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Verifier {
    /// Nothing seen yet; it is to fit to these anchors.
    #[must_use]
    pub fn new(anchors: Vec<Anchor>) -> Self {
        Self {
            keys: HashMap::new(),
            place: Place { seq: 0, hash: GENESIS.to_vec() },
            last_tombstone: 0,
            purged_checkpoint: 0,
            last_checkpoint: None,
            signed_seq: 0,
            begun: None,
            anchors: anchors.into_iter().map(|anchor| (anchor, None)).collect(),
            report: Report::default(),
        }
    }

    /// What was found so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Says what could not be checked.
    pub fn note(&mut self, text: impl Into<String>) {
        self.report.notes.push(text.into());
    }

    /// The place of the last event.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.place.seq
    }

    /// The hash at `seq`, as far as it is remembered: only of the last place.
    #[must_use]
    pub fn hash_at(&self, seq: i64) -> Option<&[u8]> {
        (self.place.seq == seq).then_some(self.place.hash.as_slice())
    }

    /// The last place that a signed checkpoint proves; 0: none.
    #[must_use]
    pub fn signed_seq(&self) -> i64 {
        self.signed_seq
    }

    /// Notes something that is wrong.
    pub fn find(&mut self, kind: FindingKind, seq: Option<i64>, id: Option<&str>, message: impl Into<String>) {
        self.find_many(Finding { kind, seq, id: id.map(str::to_owned), count: 1, message: message.into() });
    }

    fn find_many(&mut self, finding: Finding) {
        self.report.found += 1;
        if self.report.findings.len() < MOST_FINDINGS {
            self.report.findings.push(finding);
        }
    }

    /// A key that signatures are believed of.
    pub fn trust(&mut self, key: AuditKey) {
        self.keys.insert(key.id.clone(), key);
    }

    /// Whether this key is believed, with this public half.
    #[must_use]
    pub fn trusts(&self, key: &AuditKey) -> bool {
        self.keys.get(&key.id).is_some_and(|known| known.public == key.public)
    }

    fn is_signed(&self, key: &str, message: &[u8], signature: &[u8]) -> bool {
        self.keys.get(key).is_some_and(|key| key.verifies(message, signature))
    }

    /// Events that were purged: what remains follows them.
    pub fn tombstone(&mut self, tombstone: &Tombstone) {
        let wrong = |what: &str| format!("tombstone {}: {what}", tombstone.number);
        self.report.tombstones += 1;
        let seq = Some(tombstone.up_to_seq);
        if !self.is_signed(&tombstone.key, &tombstone.message(), &tombstone.signature) {
            self.find(FindingKind::Tombstone, seq, None, wrong("it was not signed by this installation"));
            return;
        }
        if tombstone.number != self.last_tombstone.saturating_add(1)
            || tombstone.from_seq != self.place.seq.saturating_add(1)
        {
            self.find(FindingKind::Tombstone, seq, None, wrong("it does not follow the one before it"));
        }
        self.last_tombstone = tombstone.number;
        self.purged_checkpoint = tombstone.checkpoint;
        self.place = Place { seq: tombstone.up_to_seq, hash: tombstone.hash.clone() };
    }

    /// Takes an export's word for where it begins, unless that is known better.
    pub fn begin_after(&mut self, seq: i64, hash: &[u8]) {
        if seq > self.place.seq {
            self.note(format!("it begins after event {seq}: what came before is not in it"));
            self.place = Place { seq, hash: hash.to_vec() };
            self.begun = Some(self.place.clone());
        }
    }

    /// The next event with a place.
    pub fn event(&mut self, entry: &Entry, mac: Authenticity) {
        let Some(seq) = entry.seq else { return self.unsealed(entry, mac) };
        let id = Some(entry.id.as_str());
        self.report.macs_checked |= mac != Authenticity::Unchecked;
        self.report.events += 1;
        let next = self.place.seq.saturating_add(1);
        let order = seq.cmp(&next);
        match order {
            Ordering::Less => {
                let message = "no event may stand at this place: another one does, or it was purged";
                self.find(FindingKind::Misplaced, Some(seq), id, message);
                return;
            }
            Ordering::Greater => self.missing(next, seq.saturating_sub(1)),
            Ordering::Equal => {}
        }
        if mac == Authenticity::Bad {
            let message = "its MAC is wrong: it was changed, or somebody without the key inserted it";
            self.find(FindingKind::Edited, Some(seq), id, message);
        }
        let expected = entry.fields().link(&self.place.hash, seq, &entry.mac);
        let follows = entry.hash.as_deref() == Some(expected.as_slice());
        // Behind a gap nothing is known of the hash before it; what is wrong with the MAC is told already.
        if !follows && order == Ordering::Equal && mac != Authenticity::Bad {
            let message = "its hash does not follow from the event before it: it was changed, moved or replaced";
            self.find(FindingKind::Broken, Some(seq), id, message);
        }
        self.report.first_seq.get_or_insert(seq);
        self.report.last_seq = Some(seq);
        // From the stored hash on: what comes after a change is not wrong because of it.
        self.place = Place { seq, hash: entry.hash.clone().unwrap_or_else(|| expected.to_vec()) };
        for (anchor, found) in &mut self.anchors {
            if anchor.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.seq == seq) {
                *found = Some(self.place.hash.clone());
            }
        }
    }

    fn missing(&mut self, from: i64, to: i64) {
        let count = to.abs_diff(from).saturating_add(1);
        let message =
            if count == 1 { format!("event {from} is gone") } else { format!("events {from} to {to} are gone") };
        self.find_many(Finding { kind: FindingKind::Missing, seq: Some(from), id: None, count, message });
    }

    /// An event that waits for its place.
    pub fn unsealed(&mut self, entry: &Entry, mac: Authenticity) {
        self.report.unsealed += 1;
        let id = Some(entry.id.as_str());
        if mac == Authenticity::Bad {
            self.find(FindingKind::Edited, None, id, "its MAC is wrong, and it has no place in the chain yet");
        } else if entry.hash.is_some() {
            self.find(FindingKind::Broken, None, id, "it has a hash and no place in the chain");
        }
    }

    /// The next checkpoint, with the hash that the chain has at its place.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint, hash: Option<&[u8]>) {
        let wrong = |what: &str| format!("checkpoint {}: {what}", checkpoint.number);
        self.report.checkpoints += 1;
        let seq = Some(checkpoint.seq);
        if !self.is_signed(&checkpoint.key, &checkpoint.message(), &checkpoint.signature) {
            self.find(FindingKind::Checkpoint, seq, None, wrong("it was not signed by this installation"));
        } else {
            match hash {
                Some(hash) if hash == checkpoint.hash => self.signed_seq = self.signed_seq.max(checkpoint.seq),
                Some(_) => self.find(FindingKind::Checkpoint, seq, None, wrong("the chain had another hash there")),
                None => self.find(FindingKind::Checkpoint, seq, None, wrong("the event it signs is gone")),
            }
        }
        let (before, seq_before) = match &self.last_checkpoint {
            Some(last) => (last.number, last.seq),
            None if self.begun.is_some() => (checkpoint.number.saturating_sub(1), 0),
            None => (self.purged_checkpoint, 0),
        };
        if checkpoint.number != before.saturating_add(1) || checkpoint.seq <= seq_before {
            let message = wrong("it does not follow the one before it: some are gone, or they were moved");
            self.find(FindingKind::Checkpoint, seq, None, message);
        }
        self.last_checkpoint = Some(checkpoint.clone());
    }

    /// The head of the chain must be its last event.
    pub fn tail(&mut self, tail: &Tail) {
        let (last_seq, last_hash) = match &tail.last {
            Some((seq, hash)) => (*seq, hash.clone().unwrap_or_default()),
            None => (self.place.seq, self.place.hash.clone()),
        };
        if tail.head_seq != last_seq || tail.head_hash != last_hash {
            let message = format!("the chain ends at event {last_seq}, and its head says {}", tail.head_seq);
            self.find(FindingKind::Head, Some(tail.head_seq), None, message);
        }
    }

    /// Compares with the anchors, and ends.
    #[must_use]
    pub fn finish(mut self) -> Report {
        for (anchor, found) in std::mem::take(&mut self.anchors) {
            self.compare(&anchor, found.as_deref());
        }
        if self.report.anchored_seq.is_none() {
            self.note("there was no anchor: events cut off at the end would not be noticed");
        }
        if !self.report.macs_checked && self.report.events > 0 {
            self.note("MACs were not checked: only the daemon has their key");
        }
        self.report
    }

    fn compare(&mut self, anchor: &Anchor, found: Option<&[u8]>) {
        let end = self.place.seq;
        if anchor.seq > end {
            let message = format!("the log ends at event {end}; the anchor has seen {}", anchor.seq);
            self.find(FindingKind::Truncated, Some(anchor.seq), None, message);
        }
        let anchored = |report: &mut Report| report.anchored_seq = report.anchored_seq.max(Some(anchor.seq.min(end)));
        let Some(checkpoint) = &anchor.checkpoint else { return anchored(&mut self.report) };
        let seq = Some(checkpoint.seq);
        if !self.is_signed(&checkpoint.key, &checkpoint.message(), &checkpoint.signature) {
            let message = "the anchor was not signed by this installation: it proves nothing here";
            return self.find(FindingKind::Unproven, seq, None, message);
        }
        if let Some(begun) = self.begun.clone().filter(|begun| checkpoint.seq <= begun.seq) {
            return self.compare_beginning(checkpoint, &begun);
        }
        anchored(&mut self.report);
        let is_purged = checkpoint.number <= self.purged_checkpoint;
        match found {
            Some(hash) if hash == checkpoint.hash => {}
            Some(_) => self.find(FindingKind::Forked, seq, None, "the anchor has seen another hash at this place"),
            None if is_purged => {}
            None => self.find(FindingKind::Truncated, seq, None, "the event that the anchor has seen last is gone"),
        }
        let last = self.last_checkpoint.as_ref().map_or(0, |last| last.number);
        if !is_purged && last < checkpoint.number {
            let message = format!("checkpoints end at {last}; the anchor has seen {}", checkpoint.number);
            self.find(FindingKind::Truncated, seq, None, message);
        }
    }

    /// An anchor from before an export begins proves where it begins, or nothing but whose signatures count.
    fn compare_beginning(&mut self, checkpoint: &Checkpoint, begun: &Place) {
        if checkpoint.seq == begun.seq && checkpoint.hash == begun.hash {
            self.report.anchored_seq = self.report.anchored_seq.max(Some(begun.seq));
        } else if checkpoint.seq == begun.seq {
            let message = "the anchor has seen another hash where the export begins";
            self.find(FindingKind::Forked, Some(begun.seq), None, message);
        } else if self.signed_seq == 0 {
            let message = format!("the export begins after event {}, which the anchor has not seen", begun.seq);
            self.find(FindingKind::Unproven, Some(begun.seq), None, message + ": nothing proves it");
        } else {
            self.note(format!("the anchor is from before event {}, where the export begins", begun.seq));
        }
    }
}
