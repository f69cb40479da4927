//! Bytes as text.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Two hexadecimal digits a byte, in lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_two_digits() {
        assert_eq!(hex(&[]), "");
        assert_eq!(hex(&[0, 1, 0x1f, 0xa0, 0xff]), "00011fa0ff");
    }
}
