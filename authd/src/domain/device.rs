//! Known devices: the token that says that an account has logged in from here before, and the store that keeps them.
//!
//! A device is no authenticator: it only chooses the lane in which a password is checked. Its token is `adt1_` +
//! base64url(secret ‖ HMAC) + the checksum of [`crate::domain::token`]; the HMAC tells one that was issued here from a
//! guess before the database is asked.

use crate::domain::{
    audit::Event,
    identifier::IdentifierKind,
    login::Sealer,
    secret::Secret,
    store_error::StoreError,
    token::{MAC_LEN, TokenHash, checksum, decode_base64url, encode_base64url, split_checksum},
};
use shared::id::{DeviceId, UserId};
use zeroize::Zeroizing;

/// What every device token starts with.
pub const PREFIX: &str = "adt1_";
/// Life of a device since its last login, in milliseconds.
pub const LIFE_MS: i64 = 180 * 24 * 3_600_000;
/// Devices of one account; beyond it the one that was longest without a login goes, first those that never came back.
pub const MAX_PER_ACCOUNT: u32 = 20;
const SECRET_LEN: usize = 32;

/// A device that is known to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Whose it is.
    pub account: UserId,
}

/// A device to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Its id.
    pub id: DeviceId,
    /// What is stored of its token.
    pub token: TokenHash,
}

/// The device that a session is opened from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionDevice {
    /// It is known; its life begins anew.
    Known(DeviceId),
    /// It is not, and is remembered from now on.
    New(NewDevice),
}

impl SessionDevice {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &DeviceId {
        match self {
            Self::Known(id) | Self::New(NewDevice { id, .. }) => id,
        }
    }
}

/// What a wrong password meant for the device it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFate {
    /// It stays known, or was not any more.
    Kept,
    /// It was the last that was allowed: it is known no more.
    Dropped,
}

/// A token with this secret.
#[must_use]
pub fn issue(sealer: &dyn Sealer, secret: &[u8; SECRET_LEN]) -> Secret {
    let mut bytes = Zeroizing::new(secret.to_vec());
    bytes.extend_from_slice(&tag(sealer, secret));
    let body = Zeroizing::new(format!("{PREFIX}{}", encode_base64url(&bytes)));
    Secret::new(format!("{}{}", body.as_str(), checksum(&body)))
}

/// What is stored of a token that was issued here; `None` for any other text. Asks no database.
#[must_use]
pub fn recognise(sealer: &dyn Sealer, text: &str) -> Option<TokenHash> {
    let bytes = Zeroizing::new(decode_base64url(split_checksum(text)?.strip_prefix(PREFIX)?)?);
    let (secret, given) = bytes.split_at_checked(SECRET_LEN)?;
    bool::from(subtle::ConstantTimeEq::ct_eq(tag(sealer, secret).as_slice(), given)).then(|| TokenHash::of(text))
}

fn tag(sealer: &dyn Sealer, secret: &[u8]) -> [u8; MAC_LEN] {
    let whole = sealer.tag("device-token", secret);
    whole.first_chunk().copied().unwrap_or_default()
}

/// Keeps known devices. They are made and used by the transaction that opens a session, and dropped by those that end
/// one; what is here is the rest.
#[async_trait::async_trait]
pub trait DeviceStore: Send + Sync {
    /// The device with this token, if the account with this name knows it now.
    async fn find(&self, token: TokenHash, kind: IdentifierKind, canonical: &str)
    -> Result<Option<Device>, StoreError>;

    /// Counts a wrong password; the `max`-th in a row drops the device and writes `event`.
    async fn fail(&self, id: &DeviceId, max: u32, event: Event) -> Result<DeviceFate, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{rotation::Sealed, token::TokenMac};
    use sha2::{Digest, Sha256};

    struct FixedKey(u8);
    impl TokenMac for FixedKey {
        fn current_key(&self) -> u8 {
            0
        }
        fn mac(&self, _: u8, _: &[u8]) -> Option<[u8; MAC_LEN]> {
            None
        }
    }
    impl Sealer for FixedKey {
        fn seal(&self, _: &Secret, _: Option<&str>, _: &Secret) -> Option<Sealed> {
            None
        }
        fn open(&self, _: &Secret, _: Option<&str>, _: &Sealed) -> Option<Secret> {
            None
        }
        fn tag(&self, purpose: &'static str, message: &[u8]) -> [u8; 32] {
            Sha256::digest([&[self.0], purpose.as_bytes(), message].concat()).into()
        }
    }

    #[test]
    fn an_issued_token_is_recognised_and_nothing_else_is() {
        let text = issue(&FixedKey(1), &[9; 32]).reveal().to_owned();
        assert_eq!(recognise(&FixedKey(1), &text), Some(TokenHash::of(&text)));
        assert_eq!(recognise(&FixedKey(2), &text), None, "of another installation");
        for at in 0..text.len() {
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                assert_eq!(recognise(&FixedKey(1), &String::from_utf8(bytes).unwrap()), None, "{at} {bit}");
            }
        }
        for other in ["", PREFIX, "é", "adt1_éééééé", &text[..text.len() - 1], &format!("{text}0"), &format!(" {text}")]
        {
            assert_eq!(recognise(&FixedKey(1), other), None, "{other}");
        }
    }

    #[test]
    fn a_token_fits_into_the_field_that_carries_it() {
        assert_eq!(issue(&FixedKey(1), &[9; 32]).reveal().len(), 75);
    }
}
