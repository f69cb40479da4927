//! The check of an export without a daemon: line by line, in bounded memory.

use super::{
    anchor::Anchor,
    export::{End, FORMAT, Header, Line, readable_facts, readable_time},
    record::Entry,
    verify::{Authenticity, FindingKind, Report, Tail, Verifier},
};

/// A check of an export under way.
#[derive(Debug)]
pub struct FileCheck {
    verifier: Verifier,
    header: Option<Header>,
    end: Option<End>,
    /// Whether keys come from the anchor; else the export vouches for itself.
    is_anchored: bool,
    has_begun: bool,
}

impl FileCheck {
    /// A check against an anchor, whose keys alone are believed then.
    #[must_use]
    pub fn new(anchor: Option<Anchor>) -> Self {
        let keys = anchor.as_ref().map(|anchor| anchor.keys.clone()).unwrap_or_default();
        let is_anchored = !keys.is_empty();
        let mut verifier = Verifier::new(anchor.into_iter().collect());
        keys.into_iter().for_each(|key| verifier.trust(key));
        Self { verifier, header: None, end: None, is_anchored, has_begun: false }
    }

    /// How many events were checked.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.verifier.report().events
    }

    /// A line that does not read.
    pub fn unreadable(&mut self, number: u64, why: &str) {
        self.verifier.find(FindingKind::Unproven, None, None, format!("line {number} does not read: {why}"));
    }

    /// The next line.
    pub fn line(&mut self, line: Line) {
        if self.end.is_some() {
            self.verifier.find(FindingKind::Unproven, None, None, "something follows the end of the export");
        }
        match line {
            Line::Header(header) if header.format == FORMAT && self.header.is_none() => self.header = Some(header),
            Line::Header(_) => {
                self.verifier.find(FindingKind::Unproven, None, None, format!("it is no export of the form {FORMAT}"));
            }
            Line::Key(key) if !self.is_anchored => self.verifier.trust(key),
            Line::Key(key) if self.verifier.trusts(&key) => {}
            Line::Key(key) => {
                let message = "the anchor does not know this public key";
                self.verifier.find(FindingKind::Key, None, Some(&key.id), message);
            }
            Line::Tombstone(tombstone) => self.verifier.tombstone(&tombstone),
            Line::Event(event) => {
                self.begin();
                if event.at != readable_time(event.at_ms) || event.detail != readable_facts(&event.facts) {
                    let message = "`at` or `detail` says something else than what was hashed";
                    self.verifier.find(FindingKind::Edited, event.seq, Some(&event.id), message);
                }
                self.verifier.event(&Entry::from(*event), Authenticity::Unchecked);
            }
            Line::Checkpoint(checkpoint) => {
                let hash = self.verifier.hash_at(checkpoint.seq).map(<[u8]>::to_vec);
                self.verifier.checkpoint(&checkpoint, hash.as_deref());
            }
            Line::End(end) => self.end = Some(end),
        }
    }

    fn begin(&mut self) {
        if let Some(header) = self.header.as_ref().filter(|_| !self.has_begun) {
            self.verifier.begin_after(header.after_seq, &header.after_hash);
        }
        self.has_begun = true;
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.begin();
        if self.header.is_none() {
            self.verifier.find(FindingKind::Unproven, None, None, "the export has no header");
        }
        match self.end.take() {
            None => self.verifier.find(FindingKind::Truncated, None, None, "the export was cut off: it has no end"),
            Some(end) => {
                let seq = self.verifier.seq();
                let last = self.verifier.hash_at(seq).map(|hash| (seq, Some(hash.to_vec())));
                self.verifier.tail(&Tail { head_seq: end.seq, head_hash: end.hash, last });
                let checked = self.verifier.report().events;
                if checked != end.events {
                    let message = format!("the export has {checked} events; its end says {}", end.events);
                    self.verifier.find(FindingKind::Truncated, Some(end.seq), None, message);
                }
            }
        }
        let (signed, last) = (self.verifier.signed_seq(), self.verifier.seq());
        if signed < last && self.verifier.report().events > 0 {
            self.verifier.note(format!(
                "no checkpoint signs what comes after event {signed}: whether it is genuine only the daemon can tell"
            ));
        }
        if !self.is_anchored {
            self.verifier.note("the public keys come from the export itself: give an anchor that was kept elsewhere");
        }
        self.verifier.finish()
    }
}
