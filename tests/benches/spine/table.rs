//! The table: rows of ratios with what they are aimed at.

use crate::measure::{Series, Times};
use std::{fmt, time::Duration};

/// What a ratio is aimed at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// Nothing is promised; the figure is for orientation.
    Nothing,
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// This or less, and what is measured no more than so many milliseconds.
    AtMostAnd(f64, f64),
}

/// A quantity with its unit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Figure {
    /// A second.
    Rate(f64),
    /// A time.
    Time(Duration),
    /// Memory.
    Kib(u64),
    /// A little memory.
    Bytes(f64),
}

impl Figure {
    fn value(self) -> f64 {
        match self {
            Self::Rate(rate) => rate,
            Self::Time(time) => time.as_secs_f64() * 1_000.0,
            Self::Kib(kib) => kib as f64,
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Rate(rate) => format!("{} /s", digits(rate)),
            Self::Time(time) if time < Duration::from_micros(100) => format!("{} µs", digits(time.as_secs_f64() * 1e6)),
            Self::Time(time) => format!("{} ms", digits(time.as_secs_f64() * 1_000.0)),
            Self::Bytes(bytes) => format!("{} B", digits(bytes)),
            Self::Kib(kib) => format!("{} MiB", digits(kib as f64 / 1_024.0)),
        };
        f.pad(&text)
    }
}

/// Three digits or all before the point.
fn digits(number: f64) -> String {
    match number {
        number if number < 10.0 => format!("{number:.2}"),
        number if number < 100.0 => format!("{number:.1}"),
        number => format!("{number:.0}"),
    }
}

/// A line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    what: String,
    limit_is: String,
    measured: Figure,
    limit: Figure,
    ratio: f64,
    times: Option<Times>,
    aim: Aim,
    notes: Vec<String>,
}

impl Row {
    /// A rate and the rate that bounds it, measured by turns.
    pub(crate) fn rates(what: impl Into<String>, series: &Series, limit_is: impl Into<String>, limit: &Series) -> Self {
        let mut row = Self::figures(what, Figure::Rate(series.rate()), limit_is, Figure::Rate(limit.rate()));
        row.ratio = series.ratio_to(limit);
        row.times = Some(series.times());
        let rounds = series.unsteady(limit);
        row.notes.extend(rounds.map(|(least, most)| format!("unsteady: from {least:.2} to {most:.2} in the rounds")));
        row.notes.extend(series.refusals());
        row.notes.extend(limit.refusals().map(|refusals| format!("the limit: {refusals}")));
        row
    }

    /// How long nearly all answers of one series took, and those of another.
    pub(crate) fn p99(what: impl Into<String>, series: &Series, limit_is: impl Into<String>, limit: &Series) -> Self {
        let times = series.times();
        let mut row = Self::figures(what, Figure::Time(times.p99), limit_is, Figure::Time(limit.times().p99));
        row.times = Some(times);
        row.notes.extend(series.refusals());
        row
    }

    /// Two figures.
    pub(crate) fn figures(
        what: impl Into<String>,
        measured: Figure,
        limit_is: impl Into<String>,
        limit: Figure,
    ) -> Self {
        let ratio = measured.value() / limit.value();
        let (what, limit_is) = (what.into(), limit_is.into());
        Self { what, limit_is, measured, limit, ratio, times: None, aim: Aim::Nothing, notes: Vec::new() }
    }

    /// Says what it is aimed at.
    pub(crate) fn aim(self, aim: Aim) -> Self {
        Self { aim, ..self }
    }

    /// Says how long things took.
    pub(crate) fn times(self, times: Times) -> Self {
        Self { times: Some(times), ..self }
    }

    fn aim_text(&self) -> String {
        let (text, met) = match self.aim {
            Aim::Nothing => return String::new(),
            Aim::AtLeast(least) => (format!("≥ {least}"), self.ratio >= least),
            Aim::AtMost(most) => (format!("≤ {most}"), self.ratio <= most),
            Aim::AtMostAnd(most, most_ms) => {
                (format!("≤ {most}"), self.ratio <= most && self.measured.value() <= most_ms)
            }
        };
        format!("{text:<6} {}", if met { "" } else { "✗" }).trim_end().to_owned()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |pick: fn(Times) -> Duration| {
            self.times.map_or_else(String::new, |times| digits(pick(times).as_secs_f64() * 1_000.0))
        };
        let Self { what, limit_is, measured, limit, ratio, .. } = self;
        let (p50, p99, aim) = (time(|times| times.p50), time(|times| times.p99), self.aim_text());
        let line =
            format!("  {what:<33} {measured:>9}  ÷ {limit_is:<33} {limit:>9} {ratio:>6.2} {p50:>5} {p99:>5}  {aim}",);
        write!(f, "{}", line.trim_end())?;
        self.notes.iter().try_for_each(|note| write!(f, "\n      {note}"))
    }
}

/// Rows that belong together.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// What they are about.
    pub(crate) title: String,
    /// The rows.
    pub(crate) rows: Vec<Row>,
}

/// Prints everything.
pub(crate) fn print(sections: &[Section]) {
    println!(
        "\n  {:<33} {:>9}    {:<33} {:>9} {:>6} {:>5} {:>5}  aim",
        "what", "measured", "its limit", "limit's", "ratio", "p50", "p99"
    );
    println!("{}", "─".repeat(118));
    for section in sections {
        println!("{}", section.title);
        section.rows.iter().for_each(|row| println!("{row}"));
    }
    println!("{}", "─".repeat(118));
    println!("Times are milliseconds. ✗: the figure aimed at was missed in this run; nothing fails because of it.");
}
