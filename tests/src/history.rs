//! Histories of many clients under faults, and whether they are true.
//!
//! ```text
//!   crowd    people who register, log in, refresh, change their minds, and are cut off
//!   person   one of them: what they do next
//!   settle   what they ask when the daemon is back, and what their tokens are good for at last
//!   oracle   what one account may look like after what its owner was told
//!   recorder every operation of everybody, with its outcome
//!   ledger   the database's side: every effect has one event, every event its operation
//!   chain    the sealed order of the events
//! ```
//! An outcome that nobody was told is *unknown*: it may have happened, and never twice.

pub mod chain;
pub mod crowd;
pub mod ledger;
pub mod oracle;
pub mod person;
pub mod recorder;
mod settle;
mod snapshot;
