//! A list of passwords that must not be chosen, from a file: only hashes of its lines are kept.

use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};
use unicode_normalization::UnicodeNormalization;

/// The longest list: 50 million passwords take 400 MB.
const MAX_ENTRIES: usize = 50_000_000;
/// What of a line is read; no password is longer.
const MAX_LINE_LEN: u64 = 4_096;

/// Why a list cannot be used. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BlocklistError {
    /// It does not read.
    #[error("password.blocklist {} cannot be read ({cause}): let authd's user read it, or set it to \"\"", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// More lines than the longest list may have.
    #[error("password.blocklist {} has more than 50 million lines: use the most common ones", .0.display())]
    TooLong(PathBuf),
}

/// Passwords by the first 64 bits of their SHA-256, folded to lower case and composed; sorted.
#[derive(Debug, Default)]
pub struct Blocklist(Vec<u64>);

impl Blocklist {
    /// A list without passwords.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads a file with one password a line. Bytes that are not UTF-8 match nothing.
    ///
    /// # Errors
    /// [`BlocklistError`].
    pub fn load(path: &Path) -> Result<Self, BlocklistError> {
        let unreadable = |cause| BlocklistError::Unreadable { path: path.to_owned(), cause };
        let list = Self::read(BufReader::new(File::open(path).map_err(unreadable)?)).map_err(unreadable)?;
        if list.0.len() > MAX_ENTRIES { Err(BlocklistError::TooLong(path.to_owned())) } else { Ok(list) }
    }

    /// Reads at most one line more than a list may have.
    pub(super) fn read(mut lines: impl BufRead) -> io::Result<Self> {
        let (mut hashes, mut line) = (Vec::new(), Vec::new());
        while hashes.len() <= MAX_ENTRIES {
            line.clear();
            if (&mut lines).take(MAX_LINE_LEN).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if let Ok(text @ [_, ..]) = std::str::from_utf8(text).map(str::as_bytes) {
                hashes.push(hash(&String::from_utf8_lossy(text).to_lowercase()));
            }
        }
        hashes.sort_unstable();
        hashes.dedup();
        hashes.shrink_to_fit();
        Ok(Self(hashes))
    }

    /// Whether it holds this password, which is in lower case already.
    #[must_use]
    pub fn contains(&self, folded: &str) -> bool {
        !self.0.is_empty() && self.0.binary_search(&hash(folded)).is_ok()
    }
}

/// Among 50 million entries a password that is not there is taken for one with a chance of 1 in 10¹¹.
fn hash(folded: &str) -> u64 {
    let composed = zeroize::Zeroizing::new(folded.nfc().collect::<String>());
    Sha256::digest(composed.as_bytes()).first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_ending_length_and_encoding_are_survived() {
        let mut text = b"one\r\ntwo\n\n\n\xff\xfe\nthree".to_vec();
        text.extend_from_slice(&[b'\n'; 3]);
        text.extend_from_slice(&[b'x'; 10_000]);
        let list = Blocklist::read(text.as_slice()).unwrap();
        assert!(["one", "two", "three"].iter().all(|word| list.contains(word)));
        assert!(!list.contains("") && !list.contains("four") && !Blocklist::empty().contains("one"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Blocklist::load(Path::new("/nonexistent/list")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/list") && error.contains("password.blocklist"), "{error}");
    }
}
