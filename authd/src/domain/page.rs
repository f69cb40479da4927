//! Keyset pages: a bounded slice of a sorted list and where the next one starts.

use std::{fmt, str::FromStr};

/// At most this many rows in one page, whatever was asked.
pub const MAX_PAGE: u32 = 1_000;

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// How many rows, 1 to [`MAX_PAGE`].
    pub limit: u32,
    /// The sort key of the last row of the page before: an opaque text of the store.
    pub after: Option<String>,
}

impl PageRequest {
    /// The first `limit` rows.
    #[must_use]
    pub fn first(limit: u32) -> Self {
        Self { limit: limit.clamp(1, MAX_PAGE), after: None }
    }
}

/// A slice of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Give this as `after` for the next page; `None` at the end.
    pub next: Option<String>,
    /// How many rows match in all, where that is cheap to know.
    pub total: Option<u64>,
}

impl<T> Page<T> {
    /// The same page with other rows.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next: self.next, total: self.total }
    }
}

/// Where a page ended: the sort key of its last row. Its text is what [`Page::next`] and [`PageRequest::after`] hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The time the list is sorted by, in Unix milliseconds.
    pub at_ms: i64,
    /// The id that tells rows of one instant apart.
    pub id: String,
}

/// Text that no page ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: use the `next` of the page before")]
pub struct InvalidCursor;

const MAX_CURSOR_ID: usize = 64;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at_ms, self.id)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (at, id) = text.split_once('.').ok_or(InvalidCursor)?;
        let at_ms: i64 = at.parse().map_err(|_| InvalidCursor)?;
        let plain = id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        // One spelling a cursor: no signs, no leading zeros.
        if at_ms < 0 || at_ms.to_string() != at || id.is_empty() || id.len() > MAX_CURSOR_ID || !plain {
            return Err(InvalidCursor);
        }
        Ok(Self { at_ms, id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_other_texts_are_refused() {
        let cursor = Cursor { at_ms: 1_700_000_000_000, id: "ses_01k".into() };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", ".", "1.", ".a", "1", "-1.a", "+1.a", "01.a", "9223372036854775808.a", "1.A", "1.a'", "1.a.b"]
        {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
