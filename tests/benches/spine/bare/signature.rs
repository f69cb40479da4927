//! Bare verification of Ed25519 signatures: one thread for each processor, as many as go.

use crate::{bare::hash::workers, measure::Sample};
use ed25519_dalek::{Signer as _, SigningKey};
use std::{
    thread,
    time::{Duration, Instant},
};

/// As many bytes as an access token signs.
const MESSAGE: [u8; 600] = [b'x'; 600];

/// Verifies for this long.
pub(crate) fn measure(counted_ms: u64) -> Sample {
    let threads: Vec<_> = (0..workers()).map(|_| thread::spawn(move || verify(counted_ms))).collect();
    let mut all = Sample::default();
    for thread in threads {
        all.absorb(thread.join().expect("verifying does not panic"));
    }
    all
}

fn verify(counted_ms: u64) -> Sample {
    let key = SigningKey::from_bytes(&[7; 32]);
    let (public, signature) = (key.verifying_key(), key.sign(&MESSAGE));
    let (begin, mut took) = (Instant::now(), Vec::new());
    let counted = Duration::from_millis(counted_ms);
    while begin.elapsed() < counted {
        let asked = Instant::now();
        public.verify_strict(std::hint::black_box(&MESSAGE), &signature).expect("its own signature");
        took.push(asked.elapsed());
    }
    Sample { rate: took.len() as f64 / begin.elapsed().as_secs_f64(), took, ..Sample::default() }
}
