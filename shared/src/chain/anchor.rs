//! The anchor: how far the audit had come, as text to keep outside of the database.

use super::record::{AuditKey, Checkpoint};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

const FORMAT: &str = "authd-anchor/2";

/// What an anchor says. The journal's lines about checkpoints hold one too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Anchor {
    /// Last sealed sequence number.
    pub seq: i64,
    /// The global epoch.
    pub epoch: i64,
    /// The last checkpoint, where there was one.
    pub checkpoint: Option<Checkpoint>,
    /// Public halves of the audit key.
    pub keys: Vec<AuditKey>,
}

/// Text that is no anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an anchor of this version: {0}")]
pub struct InvalidAnchor(String);

#[derive(Serialize, Deserialize)]
struct Text {
    format: String,
    seq: i64,
    epoch: i64,
    checkpoint: Option<Checkpoint>,
    keys: Vec<AuditKey>,
}

impl Anchor {
    /// One line, as in the journal.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(&self.text()).unwrap_or_default()
    }

    fn text(&self) -> Text {
        let (checkpoint, keys) = (self.checkpoint.clone(), self.keys.clone());
        Text { format: FORMAT.to_owned(), seq: self.seq, epoch: self.epoch, checkpoint, keys }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(&self.text()).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

impl FromStr for Anchor {
    type Err = InvalidAnchor;

    /// Reads an anchor of this version or of the first, which had no checkpoint.
    fn from_str(text: &str) -> Result<Self, InvalidAnchor> {
        if let Some(rest) = text.trim().strip_prefix("authd-anchor/1 seq=") {
            return first_version(rest);
        }
        let text: Text = serde_json::from_str(text).map_err(|cause| InvalidAnchor(cause.to_string()))?;
        if text.format != FORMAT {
            return Err(InvalidAnchor(format!("its format is {:?}", text.format)));
        }
        Ok(Self { seq: text.seq, epoch: text.epoch, checkpoint: text.checkpoint, keys: text.keys })
    }
}

fn first_version(rest: &str) -> Result<Anchor, InvalidAnchor> {
    let invalid = || InvalidAnchor("its numbers do not read".to_owned());
    let (seq, epoch) = rest.split_once(" epoch=").ok_or_else(invalid)?;
    let number = |text: &str| text.parse::<i64>().map_err(|_| invalid());
    Ok(Anchor { seq: number(seq)?, epoch: number(epoch)?, checkpoint: None, keys: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_reads_back_in_both_forms_and_another_text_is_refused() {
        let checkpoint = Checkpoint {
            number: 2,
            seq: 40,
            hash: vec![1; 32],
            at_ms: 5,
            anchored_seq: 30,
            key: "aud_1".to_owned(),
            signature: vec![2; 64],
        };
        let key = AuditKey { id: "aud_1".to_owned(), public: vec![3; 32], created_ms: 4 };
        let anchor = Anchor { seq: 42, epoch: 3, checkpoint: Some(checkpoint), keys: vec![key] };
        assert_eq!(anchor.to_string().parse(), Ok(anchor.clone()));
        assert_eq!(anchor.line().parse(), Ok(anchor.clone()));
        assert!(!anchor.line().contains('\n'));
        let first = Anchor { checkpoint: None, keys: Vec::new(), ..anchor };
        assert_eq!("authd-anchor/1 seq=42 epoch=3\n".parse(), Ok(first));
        for text in ["", "{}", "authd-anchor/1 se", "authd-anchor/1 seq=1 epoch=x", "authd-anchor/3 seq=1 epoch=1"] {
            assert!(text.parse::<Anchor>().is_err(), "{text}");
        }
    }
}
