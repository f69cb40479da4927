//! How far long work has come, on a terminal's standard error and nowhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Redraws a second.
const HERTZ: u8 = 10;
/// Where the end is known.
const BAR: &str = "{bar:32} {percent:>3}%  {msg}  {eta}";
/// Where it is not.
const COUNT: &str = "{spinner} {msg}  {elapsed}";

/// A bar or, where the end is not known, a count.
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows nothing where there is no terminal, or to those who want quiet.
    #[must_use]
    pub fn new(noise: Noise) -> Self {
        let target = match noise {
            Noise::Wanted => ProgressDrawTarget::stderr_with_hz(HERTZ),
            Noise::Unwanted => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style(COUNT));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    /// Shows that so much is done, out of a total where that is known, and says of what.
    pub fn reach(&self, done: u64, total: Option<u64>, message: String) {
        if self.0.length() != total {
            match total {
                Some(total) => self.0.set_length(total),
                None => self.0.unset_length(),
            }
            self.0.set_style(style(if total.is_some() { BAR } else { COUNT }));
        }
        self.0.set_position(done);
        self.0.set_message(message);
    }

    /// Takes the bar away while something else is written.
    pub fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are literals: a test reads them.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("##-")
}

/// Whether somebody wants to see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Yes.
    Wanted,
    /// No: `--quiet`.
    Unwanted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_read() {
        for template in [BAR, COUNT] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn without_a_terminal_it_writes_nothing_and_does_not_fail_whatever_is_known_of_the_end() {
        let progress = Progress::new(Noise::Unwanted);
        for total in [None, Some(10), Some(20), None] {
            progress.reach(5, total, "five".to_owned());
            assert_eq!((progress.beside(|| 7), progress.0.length(), progress.0.position()), (7, total, 5));
        }
    }
}
