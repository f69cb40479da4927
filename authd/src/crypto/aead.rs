//! AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce written before the ciphertext.

use crate::{
    crypto::derive::Key,
    domain::clock::{Random, random_bytes},
};
use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Nonce, Payload},
};
use zeroize::Zeroizing;

const NONCE_LEN: usize = 12;

/// Encrypts; what is bound by `aad` must be given again to open it.
pub(super) fn encrypt(key: &Key, aad: &[u8], plain: &[u8], random: &dyn Random) -> Option<Vec<u8>> {
    let nonce: [u8; NONCE_LEN] = random_bytes(random);
    let sealed = cipher(key).encrypt(&Nonce::<Aes256Gcm>::from(nonce), Payload { msg: plain, aad }).ok()?;
    let mut bytes = Vec::with_capacity(NONCE_LEN + sealed.len());
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&sealed);
    Some(bytes)
}

/// Decrypts; `None` when key, `aad` or a bit of the text is another.
pub(super) fn decrypt(key: &Key, aad: &[u8], bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
    let opened = cipher(key).decrypt(&Nonce::<Aes256Gcm>::from(*nonce), Payload { msg: sealed, aad }).ok()?;
    Some(Zeroizing::new(opened))
}

fn cipher(key: &Key) -> Aes256Gcm {
    let bytes: &[u8; 32] = key;
    Aes256Gcm::new(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fakes::CountedRandom;

    #[test]
    fn every_flipped_bit_another_key_and_another_context_are_refused() {
        let key = Zeroizing::new([1; 32]);
        let sealed = encrypt(&key, b"context", b"plain", &CountedRandom::default()).unwrap();
        assert_eq!(decrypt(&key, b"context", &sealed).unwrap().as_slice(), b"plain");
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(decrypt(&key, b"context", &changed).is_none(), "{at}");
        }
        assert!(decrypt(&key, b"other", &sealed).is_none());
        assert!(decrypt(&Zeroizing::new([2; 32]), b"context", &sealed).is_none());
        assert!(decrypt(&key, b"context", &sealed[..11]).is_none());
    }

    #[test]
    fn the_same_text_never_looks_the_same_twice() {
        let (key, random) = (Zeroizing::new([1; 32]), CountedRandom::default());
        assert_ne!(encrypt(&key, b"", b"plain", &random), encrypt(&key, b"", b"plain", &random));
    }
}
