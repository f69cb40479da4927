//! Limiters.

mod bucket;
pub mod memory;
pub mod redis;
mod shard;
