//! A file of accounts, read a batch of lines at a time: however large it is, so much is in memory and no more.

use shared::admin::user::transfer::{IMPORT_MAX, Record};
use std::io::{self, BufRead, Read};

/// Longest line, in bytes.
const LINE_MAX: usize = 16 << 10;
/// Bytes of lines in one batch: with its JSON around them far from the megabyte that a call may have.
const BATCH_BYTES: usize = 512 << 10;

/// What is left of a file.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    /// The last line that was read, from 1.
    number: u64,
    /// Bytes that were read.
    bytes: u64,
}

/// Some lines of it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Accounts, each with the number of its line.
    pub(super) records: Vec<(u64, Record)>,
    /// Lines that hold none, and why.
    pub(super) bad: Vec<(u64, String)>,
    /// The last line.
    pub(super) last: u64,
    /// Bytes of the file up to there.
    pub(super) bytes: u64,
    /// Whether the file goes on.
    pub(super) has_more: bool,
}

impl Lines {
    /// All of what `reader` gives.
    pub(super) fn new(reader: Box<dyn BufRead + Send>) -> Self {
        Self { reader, number: 0, bytes: 0 }
    }

    /// Reads on; lines before `from` are left out.
    pub(super) fn next_batch(&mut self, from: u64) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let end = self.bytes + BATCH_BYTES as u64;
        while batch.records.len() < IMPORT_MAX && self.bytes < end {
            let Some(line) = self.next_line()? else {
                return Ok(Batch { last: self.number, bytes: self.bytes, ..batch });
            };
            if self.number < from {
                continue;
            }
            match line.and_then(|line| read(&line)) {
                Ok(Some(record)) => batch.records.push((self.number, record)),
                Ok(None) => {}
                Err(why) => batch.bad.push((self.number, why)),
            }
        }
        Ok(Batch { last: self.number, bytes: self.bytes, has_more: true, ..batch })
    }

    /// The next line, or what is wrong with it as one.
    fn next_line(&mut self) -> io::Result<Option<Result<Vec<u8>, String>>> {
        let mut line = Vec::new();
        let got = self.reader.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line)?;
        if got == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += got as u64;
        if got <= LINE_MAX || line.ends_with(b"\n") {
            return Ok(Some(Ok(line)));
        }
        loop {
            let mut rest = Vec::new();
            let got = self.reader.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut rest)?;
            self.bytes += got as u64;
            if got == 0 || rest.ends_with(b"\n") {
                return Ok(Some(Err(format!("the line is longer than {LINE_MAX} bytes"))));
            }
        }
    }
}

/// The account of a line; none on a blank one.
fn read(line: &[u8]) -> Result<Option<Record>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(None);
    }
    let record: Record = serde_json::from_str(text).map_err(|error| {
        // The position is that in the line, which has a number of its own.
        error.to_string().replace(" at line 1 column", " at column")
    })?;
    let hash = record.password_hash.as_ref().map(shared::admin::WireSecret::expose);
    let texts = [Some(record.email.as_str()), record.username.as_deref(), hash];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err("a text contains NUL".to_owned());
    }
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Lines {
        Lines::new(Box::new(io::Cursor::new(text.as_bytes().to_vec())))
    }

    #[test]
    fn good_lines_are_read_and_bad_ones_are_named() {
        let long = format!("{{\"email\":\"{}\"}}", "x".repeat(40_000));
        let text = [
            "\u{feff}{\"email\":\"one@example.org\"}\r",
            "",
            "{\"email\":\"two@example.org\",\"usrname\":\"two\"}",
            "{\"email\":\"a\u{1b}b@example.org\"}",
            "{\"email\":\"a\\u0000@example.org\"}",
            &long,
            "{\"email\":\"last@example.org\",\"password_hash\":null}",
        ]
        .join("\n");
        let batch = lines(&text).next_batch(0).unwrap();
        let emails: Vec<_> = batch.records.iter().map(|(number, record)| (*number, record.email.as_str())).collect();
        assert_eq!(emails, [(1, "one@example.org"), (7, "last@example.org")]);
        let bad: Vec<u64> = batch.bad.iter().map(|(number, _)| *number).collect();
        assert_eq!(bad, [3, 4, 5, 6]);
        assert_eq!((batch.last, batch.bytes, batch.has_more), (7, text.len() as u64, false));
    }

    #[test]
    fn a_file_comes_in_batches_and_can_be_entered_at_any_line() {
        let text = "{\"email\":\"x@example.org\"}\n".repeat(IMPORT_MAX + 7);
        let mut all = lines(&text);
        let first = all.next_batch(0).unwrap();
        assert_eq!((first.records.len(), first.has_more), (IMPORT_MAX, true));
        let second = all.next_batch(0).unwrap();
        assert_eq!((second.records.len(), second.has_more), (7, false));
        let rest = lines(&text).next_batch(506).unwrap();
        assert_eq!(rest.records.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [506, 507]);
    }

    #[test]
    fn a_failure_to_read_does_not_show_a_hash() {
        let record = read(br#"{"email":"a@example.org","password_hash":"$2b$12$secret"}"#).unwrap().unwrap();
        assert!(!format!("{record:?}").contains("secret"));
    }
}
