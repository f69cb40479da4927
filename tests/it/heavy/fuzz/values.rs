//! Rates, lengths of time, instants, ids and page marks: what was read is written so that it reads back the same.

use super::must;
use authd::domain::page::Cursor;
use shared::{
    id::{SessionId, UserId},
    rate::Rate,
    time::{Span, Timestamp},
};
use std::{fmt::Display, str::FromStr};
use tests::fuzz::{Reading, SHORT, Target};

/// Reads, writes and reads again.
fn round_trip<T: FromStr + Display + PartialEq>(text: &str) -> Result<bool, String> {
    let Ok(read) = text.parse::<T>() else { return Ok(false) };
    let written = read.to_string();
    let again = written.parse::<T>().map_err(|_| format!("{written:?} does not read back"))?;
    must(again == read, &format!("{written:?} reads back as something else"))?;
    must(again.to_string() == written, "two ways to write one value").map(|()| true)
}

#[test]
fn what_was_read_is_written_so_that_it_reads_back() {
    let seeds = [
        "30/min",
        "10/15min",
        "3/h",
        "off",
        "10/s",
        "200/d",
        "500ms",
        "1h30m",
        "14d",
        "2w",
        "0",
        "2023-11-14T22:13:20.123Z",
        "-009999-01-02T01:59:59Z",
        "2024-02-29T00:00:00+05:30",
        "1700000000000.ses_01k",
        "ses_01h455vb4pex5vsknk084sn02q",
        "usr_7zzzzzzzzzzzzzzzzzzzzzzzzz",
    ];
    let words = [
        "/",
        "min",
        "s",
        "h",
        "d",
        "w",
        "m",
        "ms",
        "0",
        "18446744073709551615",
        "4294967295",
        "-",
        "+",
        ".",
        ":",
        "Z",
        "T",
        "[UTC]",
        "_",
    ];
    Target { name: "values", seeds: &seeds, words: &words, full_ms: SHORT }.run(|input| {
        let Ok(text) = std::str::from_utf8(input) else { return Ok(Reading::Refused) };
        let mut taken = round_trip::<Rate>(text)? | round_trip::<Span>(text)? | round_trip::<Timestamp>(text)?;
        if let Ok(cursor) = text.parse::<Cursor>() {
            must(cursor.to_string() == text, "a mark with two spellings")?;
            taken = true;
        }
        let ids = [SessionId::parse(text).map(String::from), UserId::parse(text).map(String::from)];
        for id in ids.into_iter().flatten() {
            must(id == text, "an id with two spellings")?;
            taken = true;
        }
        if let Ok(Rate::Per { count, period_ms }) = text.parse::<Rate>() {
            must(count > 0 && period_ms > 0, "a rate of nothing")?;
        }
        Ok(if taken { Reading::Taken } else { Reading::Refused })
    });
}
