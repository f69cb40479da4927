//! Key derivation and keyed hashes, and one unambiguous way to write several fields as one message.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A 256-bit key that is erased when dropped.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// HKDF-SHA-256 (RFC 5869) to 32 bytes; `None` cannot happen at this length, but a key of zeros must not either.
pub(super) fn hkdf(salt: &[u8], ikm: &[u8], info: &[u8]) -> Option<Key> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, key.as_mut_slice()).ok()?;
    Some(key)
}

/// HMAC-SHA-256 (RFC 2104).
pub(super) fn hmac(key: &Key, message: &[u8]) -> [u8; 32] {
    // RFC 2104 pads a key shorter than the block with zeros; doing so here leaves nothing that could fail.
    let mut block = Zeroizing::new([0; 64]);
    for (padded, byte) in block.iter_mut().zip(key.iter()) {
        *padded = *byte;
    }
    let block: &[u8; 64] = &block;
    let mut mac = Hmac::<Sha256>::new(block.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The fields with their lengths before them, so that no two lists of fields give the same bytes.
pub(super) fn frame(fields: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let size = fields.iter().map(|field| field.len() + 8).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    for field in fields {
        bytes.extend_from_slice(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_padded_hmac_is_the_hmac_of_the_key() {
        let key = Zeroizing::new([7; 32]);
        let mut plain = Hmac::<Sha256>::new_from_slice(key.as_slice()).unwrap();
        plain.update(b"message");
        assert_eq!(hmac(&key, b"message"), <[u8; 32]>::from(plain.finalize().into_bytes()));
    }

    #[test]
    fn hkdf_agrees_with_rfc_5869_appendix_a_1() {
        let salt: Vec<u8> = (0..=12).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let key = hkdf(&salt, &[0x0b; 22], &info).unwrap();
        assert_eq!(key[..8], [0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a]);
    }

    #[test]
    fn fields_cannot_be_moved_across_their_border() {
        assert_ne!(frame(&[b"ab", b"c"]), frame(&[b"a", b"bc"]));
        assert_ne!(frame(&[b"ab"]), frame(&[b"ab", b""]));
    }
}
