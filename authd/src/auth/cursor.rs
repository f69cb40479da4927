//! Cursors that leave the daemon: bound to the account they were made for, so that none can be made up or exchanged.

use crate::auth::Auth;
use crate::domain::login::Sealer;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use shared::id::UserId;

const MAC_LEN: usize = 16;
/// Longer ones were not made here.
const MAX_LEN: usize = 512;

impl Auth {
    /// The cursor for the page after `after`, for `account` alone.
    #[must_use]
    pub fn sign_cursor(&self, account: &UserId, after: &str) -> String {
        sign(self.parts.sealer.as_ref(), account, after)
    }

    /// The `after` of a cursor made for `account`; `None` for any other text.
    #[must_use]
    pub fn open_cursor(&self, account: &UserId, cursor: &str) -> Option<String> {
        open(self.parts.sealer.as_ref(), account, cursor)
    }
}

fn sign(sealer: &dyn Sealer, account: &UserId, after: &str) -> String {
    URL_SAFE_NO_PAD.encode([mac(sealer, account, after).as_slice(), after.as_bytes()].concat())
}

fn open(sealer: &dyn Sealer, account: &UserId, cursor: &str) -> Option<String> {
    if cursor.len() > MAX_LEN {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (given, after) = bytes.split_at_checked(MAC_LEN)?;
    let after = std::str::from_utf8(after).ok()?;
    let expected = mac(sealer, account, after);
    bool::from(subtle::ConstantTimeEq::ct_eq(expected.as_slice(), given)).then(|| after.to_owned())
}

fn mac(sealer: &dyn Sealer, account: &UserId, after: &str) -> [u8; MAC_LEN] {
    let [mac @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
        sealer.tag("cursor", format!("{account}\n{after}").as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        rotation::Sealed,
        secret::Secret,
        token::{MAC_LEN as TOKEN_MAC_LEN, TokenMac},
    };
    use sha2::{Digest, Sha256};

    struct Hashing;

    impl TokenMac for Hashing {
        fn current_key(&self) -> u8 {
            0
        }
        fn mac(&self, _: u8, _: &[u8]) -> Option<[u8; TOKEN_MAC_LEN]> {
            None
        }
    }

    impl Sealer for Hashing {
        fn seal(&self, _: &Secret, _: Option<&str>, _: &Secret) -> Option<Sealed> {
            None
        }
        fn open(&self, _: &Secret, _: Option<&str>, _: &Sealed) -> Option<Secret> {
            None
        }
        fn tag(&self, purpose: &'static str, message: &[u8]) -> [u8; 32] {
            Sha256::digest([b"key", purpose.as_bytes(), message].concat()).into()
        }
    }

    #[test]
    fn a_cursor_opens_for_its_account_only_and_only_unchanged() {
        let (ada, bob) = (UserId::new(1, [1; 10]), UserId::new(1, [2; 10]));
        let cursor = sign(&Hashing, &ada, "1700000000000:ses_x");
        assert_eq!(open(&Hashing, &ada, &cursor).as_deref(), Some("1700000000000:ses_x"));
        assert_eq!(open(&Hashing, &bob, &cursor), None);
        for at in 0..cursor.len() {
            let mut forged = cursor.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(open(&Hashing, &ada, std::str::from_utf8(&forged).unwrap()), None, "{at}");
        }
        for text in ["", "-1", "9223372036854775808", "!", &"A".repeat(600)] {
            assert_eq!(open(&Hashing, &ada, text), None, "{text}");
        }
    }
}
