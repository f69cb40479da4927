//! Prefixed, sortable ids: `usr_01k…`, a UUIDv7 in lower-case Crockford base32 (the TypeID form).

use serde::{Deserialize, Serialize};
use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_ followed by 26 characters")]
pub struct InvalidId {
    /// The prefix that was expected, without the underscore.
    pub prefix: &'static str,
}

fn encode(prefix: &str, value: u128) -> String {
    let mut text = String::with_capacity(prefix.len() + 27);
    text.push_str(prefix);
    text.push('_');
    for place in (0..26).rev() {
        let digit = usize::try_from((value >> (place * 5)) & 31).unwrap_or_default();
        text.push(char::from(ALPHABET.get(digit).copied().unwrap_or(b'0')));
    }
    text
}

/// What [`encode`] wrote.
fn decode(text: &str) -> u128 {
    let (_, digits) = text.split_once('_').unwrap_or(("", text));
    digits.bytes().fold(0, |value, digit| (value << 5) | u128::from(digit_value(digit)))
}

/// The place of a digit in [`ALPHABET`].
fn digit_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'h' => digit - b'a' + 10,
        b'j' | b'k' => digit - b'j' + 18,
        b'm' | b'n' => digit - b'm' + 20,
        b'p'..=b't' => digit - b'p' + 22,
        b'v'..=b'z' => digit - b'v' + 27,
        _ => 0,
    }
}

fn is_canonical(prefix: &str, text: &str) -> bool {
    let Some(digits) = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')) else {
        return false;
    };
    // 26 digits hold 130 bits: the first one carries only three of the id's 128.
    digits.len() == 26
        && digits.bytes().all(|digit| ALPHABET.contains(&digit))
        && digits.bytes().next().is_some_and(|first| first <= b'7')
}

/// UUIDv7 (RFC 9562 §5.7) from Unix milliseconds and ten random bytes.
fn uuid_v7(unix_ms: i64, random: [u8; 10]) -> u128 {
    let [a, b, rest @ ..] = random;
    let stamp = u128::from(unix_ms.max(0).unsigned_abs() & 0xffff_ffff_ffff);
    let head = u128::from(u16::from_be_bytes([a, b]) & 0x0fff);
    let tail = u128::from(u64::from_be_bytes(rest) & 0x3fff_ffff_ffff_ffff);
    (stamp << 80) | (7 << 76) | (head << 64) | (2 << 62) | tail
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The prefix in front of the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id; ids sort by `unix_ms`, then by chance.
            #[must_use]
            pub fn new(unix_ms: i64, random: [u8; 10]) -> Self {
                Self(encode($prefix, uuid_v7(unix_ms, random)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The 128 bits behind the prefix, for who keeps very many in memory.
            #[must_use]
            pub fn bits(&self) -> u128 {
                decode(&self.0)
            }

            /// Reads an id.
            ///
            /// # Errors
            /// [`InvalidId`] when the text is not the canonical form.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                if is_canonical($prefix, text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { prefix: $prefix })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// An account.
    UserId, "usr"
);
id!(
    /// A session, which is also a refresh-token family.
    SessionId, "ses"
);
id!(
    /// A signing key; the same text is its `kid`.
    KeyId, "key"
);
id!(
    /// A known device.
    DeviceId, "dev"
);
id!(
    /// An audit event.
    EventId, "evt"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_other_spellings_are_refused() {
        let id = UserId::new(1_700_000_000_000, [0xff; 10]);
        assert_eq!(UserId::parse(id.as_str()), Ok(id.clone()));
        assert!(UserId::parse(&id.as_str().to_uppercase()).is_err());
        assert!(SessionId::parse(id.as_str()).is_err());
        assert!(UserId::parse("usr_8zzzzzzzzzzzzzzzzzzzzzzzzz").is_err());
    }

    #[test]
    fn the_bits_of_an_id_are_those_it_was_made_of() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_7cde_8f01_2345_6789_abcd] {
            assert_eq!(UserId::parse(&encode("usr", bits)).unwrap().bits(), bits);
        }
        assert!(ALPHABET.iter().enumerate().all(|(place, digit)| usize::from(digit_value(*digit)) == place));
    }

    #[test]
    fn ids_sort_by_time() {
        assert!(EventId::new(1, [0xff; 10]) < EventId::new(2, [0; 10]));
    }
}
