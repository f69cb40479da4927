//! What the daemon tells its operators by itself: metrics, events, the journal, and refusals while storage is away.

mod events;
mod journal;
mod metrics;
mod spool;
