//! A progress bar on a person's terminal, on standard error; nowhere else.

use super::text::fit;
use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

/// Columns of the bar itself.
const BAR: u64 = 24;

/// One line that is written over and over; gone when it is dropped.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    is_wanted: bool,
}

impl Progress {
    /// Shows itself on a terminal only, and not when nothing is wanted.
    #[must_use]
    pub fn new(is_wanted: bool) -> Self {
        Self { shown: false, is_wanted: is_wanted && io::stderr().is_terminal() }
    }

    /// Shows how far `what` is.
    pub fn show(&mut self, what: impl Display, done: u64, total: u64) {
        if !self.is_wanted {
            return;
        }
        let columns = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| usize::from(width.0));
        let line = fit(&line(&what.to_string(), done, total), columns.saturating_sub(1));
        self.shown = true;
        // A terminal that has gone has nobody to show it to.
        drop(write!(io::stderr(), "\r\u{1b}[K{line}"));
    }
}

fn line(what: &str, done: u64, total: u64) -> String {
    let share = |of: u64| done.min(total).saturating_mul(of).checked_div(total).unwrap_or(of);
    let full = usize::try_from(share(BAR)).unwrap_or(0);
    let rest = usize::try_from(BAR).unwrap_or(0).saturating_sub(full);
    format!("[{}{}] {:>3} %  {what}", "#".repeat(full), " ".repeat(rest), share(100))
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            drop(write!(io::stderr(), "\r\u{1b}[K"));
        }
    }
}

/// A size as people read it: `1.4 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut rest = bytes;
    let mut text = format!("{bytes} B");
    for unit in UNITS {
        if rest < 1_024 {
            break;
        }
        text = format!("{}.{} {unit}", rest / 1_024, rest % 1_024 * 10 / 1_024);
        rest /= 1_024;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_the_work_is_done() {
        assert_eq!(line("x", 0, 10), format!("[{}]   0 %  x", " ".repeat(24)));
        assert_eq!(line("x", 5, 10), format!("[{}{}]  50 %  x", "#".repeat(12), " ".repeat(12)));
        assert_eq!(line("x", 30, 10), format!("[{}] 100 %  x", "#".repeat(24)));
        assert_eq!(line("x", 0, 0), format!("[{}] 100 %  x", "#".repeat(24)));
    }

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        let sizes = [0, 1_023, 1_024, 1_536, 1_500_000, 5 << 30].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.4 MiB", "5.0 GiB"]);
    }
}
