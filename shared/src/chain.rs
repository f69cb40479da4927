//! The audit chain as anybody can check it: what is hashed, what is signed, what an export holds and what a check
//! finds.
//!
//! Nothing here knows a secret. MACs are made and checked where the key is; everything else can be checked with the
//! public halves of the audit key alone, without a daemon.

pub mod anchor;
pub mod canonical;
pub mod export;
pub mod file;
pub mod record;
pub mod verify;

pub use anchor::Anchor;
pub use canonical::{Fields, GENESIS, Hash, Keyed};
pub use record::{AuditKey, Checkpoint, Entry, Tombstone};
pub use verify::{Authenticity, Finding, FindingKind, Report, Verifier};
