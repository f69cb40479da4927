//! Times as operators write them: `15m`, `2h ago`, `yesterday`, a date, RFC 3339.

use crate::error::Error;
use jiff::{ToSpan, Zoned, civil, tz::TimeZone};
use shared::time::{Span, Timestamp};

/// Units in words, and how [`Span`] writes them.
const WORDS: [(&[&str], &str); 5] = [
    (&["second", "seconds", "sec", "secs"], "s"),
    (&["minute", "minutes", "min", "mins"], "m"),
    (&["hour", "hours"], "h"),
    (&["day", "days"], "d"),
    (&["week", "weeks"], "w"),
];

/// The present moment: the only place of this program that reads the clock.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

/// In which zone dates are meant and times are shown.
#[must_use]
pub fn zone(utc: Utc) -> TimeZone {
    match utc {
        Utc::Yes => TimeZone::UTC,
        Utc::No => TimeZone::system(),
    }
}

/// Whether `--utc` was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Utc {
    /// It was.
    Yes,
    /// It was not: the zone of the machine.
    No,
}

/// Reads a length of time; for command-line values.
///
/// # Errors
/// What is accepted, for people.
pub fn parse_span(text: &str) -> Result<Span, String> {
    text.parse::<Span>().map_err(|error| error.to_string())
}

/// Reads a time; lengths of time count back from `now`.
///
/// # Errors
/// [`Error::Usage`] with the accepted forms.
pub fn parse(text: &str, now: &Zoned) -> Result<Timestamp, Error> {
    let text = text.trim();
    let found = named(text, now).or_else(|| ago(text, now)).or_else(|| absolute(text, now.time_zone()));
    found.ok_or_else(|| {
        Error::usage(
            format!("`{text}` is not a time"),
            "write 15m, \"2h ago\", yesterday, 2026-11-20, or 2026-11-20T08:00:00Z",
        )
    })
}

fn millis(moment: &Zoned) -> Timestamp {
    Timestamp(moment.timestamp().as_millisecond())
}

fn named(text: &str, now: &Zoned) -> Option<Timestamp> {
    match text.to_ascii_lowercase().as_str() {
        "now" => Some(millis(now)),
        "today" => now.start_of_day().ok().map(|start| millis(&start)),
        "yesterday" => now.checked_sub(1.day()).ok()?.start_of_day().ok().map(|start| millis(&start)),
        _ => None,
    }
}

fn ago(text: &str, now: &Zoned) -> Option<Timestamp> {
    let lower = text.to_ascii_lowercase();
    let length = lower.strip_suffix("ago").unwrap_or(&lower);
    let span: Span = in_units(length)?.parse().ok()?;
    let then = millis(now).0.checked_sub(span.as_millis())?;
    jiff::Timestamp::from_millisecond(then).ok().map(|moment| Timestamp(moment.as_millisecond()))
}

/// `2 hours 5 min` as `2h5m`.
fn in_units(text: &str) -> Option<String> {
    let mut units = String::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (word, tail) = tail.split_at(letters);
        if number.is_empty() || word.is_empty() {
            return None;
        }
        let unit = WORDS.iter().find(|(words, _)| words.contains(&word)).map_or(word, |(_, unit)| unit);
        units.push_str(number);
        units.push_str(unit);
        rest = tail.trim_start();
    }
    Some(units)
}

fn absolute(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(moment.as_millisecond()));
    }
    // A date alone also reads as a date and time at midnight; a zone name or an offset without a meaning does not.
    let local: civil::DateTime = text.parse().ok()?;
    local.to_zoned(zone.clone()).ok().map(|moment| millis(&moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Zoned {
        "2026-11-21T12:00:00+02:00[+02:00]".parse().unwrap()
    }

    fn read(text: &str) -> String {
        parse(text, &noon()).map_or_else(|error| error.to_string(), |time| time.to_string())
    }

    #[test]
    fn lengths_count_back_from_now() {
        assert_eq!(read("15m"), "2026-11-21T09:45:00.000Z");
        assert_eq!(read("2h ago"), "2026-11-21T08:00:00.000Z");
        assert_eq!(read("2 hours ago"), "2026-11-21T08:00:00.000Z");
        assert_eq!(read("1 day 2 min ago"), "2026-11-20T09:58:00.000Z");
        assert_eq!(read("1h30m"), "2026-11-21T08:30:00.000Z");
    }

    #[test]
    fn days_begin_at_midnight_of_the_zone() {
        assert_eq!(read("yesterday"), "2026-11-19T22:00:00.000Z");
        assert_eq!(read("today"), "2026-11-20T22:00:00.000Z");
        assert_eq!(read("2026-11-20"), "2026-11-19T22:00:00.000Z");
        assert_eq!(read("2026-11-20 08:30"), "2026-11-20T06:30:00.000Z");
    }

    #[test]
    fn rfc_3339_is_taken_as_it_is() {
        assert_eq!(read("2026-11-20T08:00:00Z"), "2026-11-20T08:00:00.000Z");
        assert_eq!(read("2026-11-20T08:00:00+05:00"), "2026-11-20T03:00:00.000Z");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "soon", "15", "ago", "-5m", "5 parsecs ago", "2026-13-01", "999999999999d"] {
            assert!(parse(text, &noon()).is_err(), "{text}");
        }
    }
}
