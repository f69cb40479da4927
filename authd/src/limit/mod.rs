//! Limiters.

mod bucket;
pub mod memory;
mod shard;
