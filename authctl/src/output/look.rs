//! How values look: times relative or absolute, missing values, several values in one cell.

use crate::{
    cli::Global,
    output::{Format, text::clean},
    when::{self, Utc},
};
use jiff::tz::TimeZone;
use shared::time::Timestamp;
use std::io::{self, IsTerminal};

/// What stands where there is no value.
pub const NOTHING: &str = "-";

/// How values are shown.
#[derive(Debug, Clone)]
pub struct Look {
    now: Timestamp,
    zone: TimeZone,
    relative: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { now: when::now(), zone: TimeZone::UTC, relative: false }
    }
}

impl Look {
    /// Relative times for people at a terminal, absolute ones for everything else.
    #[must_use]
    pub fn of(flags: &Global) -> Self {
        let utc = if flags.utc { Utc::Yes } else { Utc::No };
        let relative = io::stdout().is_terminal() && !flags.utc && flags.output == Format::Table;
        Self { now: when::now(), zone: when::zone(utc), relative }
    }

    /// Relative times as seen from `now`.
    #[must_use]
    pub fn relative_to(now: Timestamp) -> Self {
        Self { now, zone: TimeZone::UTC, relative: true }
    }

    /// The same with absolute times.
    #[must_use]
    pub fn absolute(&self) -> Self {
        Self { relative: false, ..self.clone() }
    }

    /// A time.
    #[must_use]
    pub fn time(&self, time: Timestamp) -> String {
        if self.relative { self.distance(time) } else { self.clock(time) }
    }

    /// A time that may be missing.
    #[must_use]
    pub fn time_or_nothing(&self, time: Option<Timestamp>) -> String {
        time.map_or_else(|| NOTHING.to_owned(), |time| self.time(time))
    }

    fn clock(&self, time: Timestamp) -> String {
        let Ok(moment) = jiff::Timestamp::from_millisecond(time.as_millis()) else { return NOTHING.to_owned() };
        if self.zone.to_offset(moment).is_zero() {
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        }
        moment.to_zoned(self.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    fn distance(&self, time: Timestamp) -> String {
        let seconds = time.as_millis().saturating_sub(self.now.as_millis()) / 1_000;
        // What was set for six hours ends in 6h, also a moment later.
        let nearest = |away: u64, unit: u64| away.saturating_add(unit / 2) / unit;
        let length = match seconds.unsigned_abs() {
            0..5 => return "now".to_owned(),
            away @ 5..120 => format!("{away}s"),
            away @ 120..7_200 => format!("{}m", nearest(away, 60)),
            away @ 7_200..172_800 => format!("{}h", nearest(away, 3_600)),
            away => format!("{}d", nearest(away, 86_400)),
        };
        if seconds < 0 { format!("{length} ago") } else { format!("in {length}") }
    }
}

/// A text that may be missing, printable.
#[must_use]
pub fn text(value: Option<&str>) -> String {
    match value {
        None | Some("") => NOTHING.to_owned(),
        Some(text) => clean(text),
    }
}

/// Something that may be missing.
#[must_use]
pub fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| clean(&value.to_string()))
}

/// Several values in one cell.
#[must_use]
pub fn joined<S: AsRef<str>>(values: &[S]) -> String {
    if values.is_empty() {
        return NOTHING.to_owned();
    }
    values.iter().map(|value| clean(value.as_ref())).collect::<Vec<_>>().join(",")
}

/// The name a value has in JSON: what scripts and people see must not differ.
#[must_use]
pub fn name(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => clean(&name),
        Ok(serde_json::Value::Null) | Err(_) => NOTHING.to_owned(),
        Ok(other) => clean(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_short_and_say_the_direction() {
        let look = Look::relative_to(Timestamp(1_000_000_000));
        let at = |seconds: i64| look.time(Timestamp(1_000_000_000 + seconds * 1_000));
        assert_eq!(at(-2), "now");
        assert_eq!(at(-60), "60s ago");
        assert_eq!(at(-180), "3m ago");
        assert_eq!(at(7_200), "in 2h");
        assert_eq!((at(21_599).as_str(), at(3_599).as_str()), ("in 6h", "in 60m"));
        assert_eq!(at(-864_000), "10d ago");
    }

    #[test]
    fn absolute_times_are_rfc_3339() {
        assert_eq!(Look::default().time(Timestamp(1_700_000_000_123)), "2023-11-14T22:13:20Z");
        assert_eq!(Look::default().time(Timestamp(i64::MAX)), "-");
    }
}
