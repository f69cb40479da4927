//! Raw Argon2id: one thread for each processor, with a kept buffer, as many hashes as go.

use crate::measure::Sample;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::{
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

/// KiB, passes and lanes of production.
pub(crate) const COST: (u32, u32, u32) = (19_456, 2, 1);

/// Threads that hash: one for each processor, as in the daemon.
pub(crate) fn workers() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Hashes for this long.
pub(crate) fn measure(counted_ms: u64) -> Sample {
    let threads: Vec<_> = (0..workers()).map(|_| thread::spawn(move || hash(counted_ms))).collect();
    let mut all = Sample::default();
    for thread in threads {
        all.absorb(thread.join().expect("hashing does not panic"));
    }
    all
}

fn hash(counted_ms: u64) -> Sample {
    let (memory_kib, passes, lanes) = COST;
    let params = Params::new(memory_kib, passes, lanes, Some(32)).expect("parameters of production");
    let mut blocks = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (mut output, mut took) = ([0; 32], Vec::new());
    // The first hash touches the memory.
    let begin = Instant::now();
    let warm = Duration::from_millis(200);
    let end = begin + warm + Duration::from_millis(counted_ms);
    let mut start = None;
    loop {
        let asked = Instant::now();
        if asked >= end {
            break;
        }
        if start.is_none() && asked >= begin + warm {
            start = Some(asked);
        }
        argon2
            .hash_password_into_with_memory(b"a password of some length", b"sixteen of salt.", &mut output, &mut blocks)
            .expect("parameters of production");
        if start.is_some() {
            took.push(asked.elapsed());
        }
    }
    let counted = start.map_or(Duration::ZERO, |start| start.elapsed());
    Sample { rate: took.len() as f64 / counted.as_secs_f64().max(0.001), took, ..Sample::default() }
}
