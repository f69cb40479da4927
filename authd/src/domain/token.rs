//! The refresh token's form: `art1_` + base64url(key id ‖ family handle ‖ secret ‖ HMAC) + a CRC-32 of it all.
//!
//! The checksum lets secret scanners recognise a token and refuses a typing error before anything is asked; the HMAC
//! tells a token that this installation issued from a guess, without a row per spent token.

use crate::domain::secret::Secret;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What every refresh token starts with.
pub const PREFIX: &str = "art1_";
/// Bytes before the HMAC: key id, handle, secret.
pub const SIGNED_LEN: usize = 1 + 16 + 32;
/// Bytes of the truncated HMAC-SHA-256.
pub const MAC_LEN: usize = 16;
const CHECKSUM_LEN: usize = 6;

/// Names a session in its tokens; random, never shown to operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub [u8; 16]);

/// SHA-256 of a token's text; all that is stored of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Hash of any token text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

/// A token that is well formed and whose HMAC has been checked or just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    text: Secret,
    handle: Handle,
}

impl RefreshToken {
    /// The token as the client keeps it.
    #[must_use]
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// The session it belongs to.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.text.reveal())
    }
}

/// Makes and recognises the HMAC in refresh tokens; the key never leaves the implementation.
pub trait TokenMac: Send + Sync {
    /// The id of the key that signs now.
    fn current_key(&self) -> u8;
    /// HMAC under key `key`; `None` when there is no such key.
    fn mac(&self, key: u8, message: &[u8]) -> Option<[u8; MAC_LEN]>;
}

/// A new token of the family `handle` with this secret.
///
/// Returns `None` only when `mac` does not know its own current key.
pub fn issue(mac: &dyn TokenMac, handle: Handle, secret: &[u8; 32]) -> Option<RefreshToken> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SIGNED_LEN + MAC_LEN));
    bytes.push(mac.current_key());
    bytes.extend_from_slice(&handle.0);
    bytes.extend_from_slice(secret);
    let tag = mac.mac(mac.current_key(), &bytes)?;
    bytes.extend_from_slice(&tag);
    let body = format!("{PREFIX}{}", encode_base64url(&bytes));
    let text = format!("{body}{}", checksum(&body));
    Some(RefreshToken { text: Secret::new(text), handle })
}

/// What a text that should be a refresh token turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recognised {
    /// Issued here.
    Issued(RefreshToken),
    /// Not issued here: wrong form, checksum, key or HMAC.
    Foreign,
}

/// Reads a token and checks its checksum and HMAC; asks no database.
pub fn recognise(mac: &dyn TokenMac, text: &str) -> Recognised {
    read(mac, text).map_or(Recognised::Foreign, Recognised::Issued)
}

fn read(mac: &dyn TokenMac, text: &str) -> Option<RefreshToken> {
    let bytes = Zeroizing::new(decode_base64url(split_checksum(text)?.strip_prefix(PREFIX)?)?);
    let (signed, tag) = bytes.split_at_checked(SIGNED_LEN)?;
    let expected = mac.mac(*signed.first()?, signed)?;
    if !bool::from(subtle::ConstantTimeEq::ct_eq(expected.as_slice(), tag)) {
        return None;
    }
    let handle = signed.get(1..17)?.try_into().ok()?;
    Some(RefreshToken { text: Secret::new(text), handle: Handle(handle) })
}

/// What stands before a token's checksum, if the checksum is right.
pub(super) fn split_checksum(text: &str) -> Option<&str> {
    let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM_LEN)?)?;
    (checksum(body) == sum).then_some(body)
}

pub(super) fn encode_base64url(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}

/// Canonical base64url only: no padding, no stray trailing bits.
pub(super) fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text).ok()
}

/// CRC-32 in base 62, six characters.
pub(super) fn checksum(body: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut left = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        let place = usize::try_from(left % 62).unwrap_or_default();
        *digit = DIGITS.get(place).copied().unwrap_or(b'0');
        left /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct FixedMac;
    impl TokenMac for FixedMac {
        fn current_key(&self) -> u8 {
            1
        }
        fn mac(&self, key: u8, message: &[u8]) -> Option<[u8; MAC_LEN]> {
            (key == 1).then(|| {
                let mut tag = [0; MAC_LEN];
                tag.copy_from_slice(&Sha256::digest(message)[..MAC_LEN]);
                tag
            })
        }
    }

    fn token() -> RefreshToken {
        issue(&FixedMac, Handle([7; 16]), &[9; 32]).unwrap()
    }

    #[test]
    fn an_issued_token_is_recognised_with_its_handle() {
        assert_eq!(recognise(&FixedMac, token().text().reveal()), Recognised::Issued(token()));
    }

    #[test]
    fn every_other_text_is_foreign() {
        let text = token().text().reveal().to_owned();
        for at in 0..text.len() {
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                assert_eq!(recognise(&FixedMac, &changed), Recognised::Foreign, "{at} {bit}");
            }
        }
        for other in
            ["", "art1_", "é", "art1_éééééé", &text[..text.len() - 1], &format!("{text}0"), &format!(" {text}")]
        {
            assert_eq!(recognise(&FixedMac, other), Recognised::Foreign, "{other}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_token() {
        let shown = format!("{:?}", token());
        assert!(!shown.contains("art1_"), "{shown}");
    }
}
