//! Refresh tokens taken apart and written again: what somebody can do who has tokens and no keys.

use authd::domain::token::{Handle, MAC_LEN, SIGNED_LEN, TokenMac, issue};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The parts of a refresh token, to be changed at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgery {
    /// Id of the HMAC key.
    pub key: u8,
    /// Handle of the session.
    pub handle: [u8; 16],
    /// Secret.
    pub secret: [u8; 32],
    /// HMAC.
    pub tag: [u8; MAC_LEN],
}

/// Takes a token apart.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn parts(token: &str) -> Forgery {
    let encoded = token.strip_prefix("art1_").expect("the prefix of refresh tokens");
    let encoded = &encoded[..encoded.len() - 6];
    let bytes = URL_SAFE_NO_PAD.decode(encoded).expect("base64url");
    let (signed, tag) = bytes.split_at(SIGNED_LEN);
    Forgery {
        key: signed[0],
        handle: signed[1..17].try_into().expect("16 bytes"),
        secret: signed[17..].try_into().expect("32 bytes"),
        tag: tag.try_into().expect("16 bytes"),
    }
}

/// Signs everything with one tag.
struct Fixed(Forgery);

impl TokenMac for Fixed {
    fn current_key(&self) -> u8 {
        self.0.key
    }

    fn mac(&self, _: u8, _: &[u8]) -> Option<[u8; MAC_LEN]> {
        Some(self.0.tag)
    }
}

impl Forgery {
    /// The token, with a checksum that fits.
    ///
    /// # Panics
    /// Never: the tag is at hand.
    #[must_use]
    pub fn text(&self) -> String {
        let token = issue(&Fixed(*self), Handle(self.handle), &self.secret).expect("a fixed tag is always there");
        token.text().reveal().to_owned()
    }
}
