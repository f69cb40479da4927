//! What the daemon tells its operators by itself: metrics, events, the journal, and refusals while storage is away.

mod metrics;
mod spool;
