//! Rates as operators write them: `30/min`, `10/15min`, `3/h`, `off`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// Text that is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a rate like 30/min, 10/s, 3/h, 10/15min or off")]
pub struct InvalidRate;

/// How many in how long, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// No limit.
    Off,
    /// `count` in `period_ms`.
    Per {
        /// How many, at least one.
        count: u32,
        /// In how many milliseconds, at least one.
        period_ms: u64,
    },
}

const UNITS: [(&str, u64); 4] = [("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for Rate {
    type Err = InvalidRate;
    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let text = text.trim();
        if text == "off" {
            return Ok(Self::Off);
        }
        let (count, period) = text.split_once('/').ok_or(InvalidRate)?;
        let digits = period.bytes().take_while(u8::is_ascii_digit).count();
        let (times, unit) = period.split_at(digits);
        let times: u64 = if times.is_empty() { 1 } else { times.parse().map_err(|_| InvalidRate)? };
        let (_, each) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidRate)?;
        let period_ms = times.checked_mul(*each).filter(|ms| *ms > 0).ok_or(InvalidRate)?;
        let count: u32 = count.parse().ok().filter(|count| *count > 0).ok_or(InvalidRate)?;
        // GCRA counts in microseconds: a rate it cannot tell from infinite is refused, not rounded.
        if u64::from(count) > period_ms.saturating_mul(1_000) || period_ms > 366 * 86_400_000 {
            return Err(InvalidRate);
        }
        Ok(Self::Per { count, period_ms })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Per { count, period_ms } => {
                let (unit, each) =
                    UNITS.into_iter().rev().find(|(_, each)| period_ms % each == 0).unwrap_or(("s", 1_000));
                match period_ms / each {
                    1 => write!(f, "{count}/{unit}"),
                    times => write!(f, "{count}/{times}{unit}"),
                }
            }
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_back_and_nonsense_is_refused() {
        for text in ["30/min", "10/s", "3/h", "10/15min", "200/h", "off"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "30", "0/min", "30/0min", "-1/s", "30/week", "1.5/s", "/min", "4294967295/s"] {
            assert_eq!(text.parse::<Rate>(), Err(InvalidRate), "{text}");
        }
    }
}
