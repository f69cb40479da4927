//! How far long work has come, on a terminal's standard error and nowhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Redraws a second.
const HERTZ: u8 = 10;

/// A bar or, where the end is not known, a count.
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows how much of `total` is done; without one how much is. Nothing where there is no terminal, or for those who
    /// want quiet.
    #[must_use]
    pub fn new(total: Option<u64>, noise: Noise) -> Self {
        let target = match noise {
            Noise::Wanted => ProgressDrawTarget::stderr_with_hz(HERTZ),
            Noise::Unwanted => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(total, target);
        let template =
            if total.is_some() { "{bar:32} {percent:>3}%  {msg}  {eta}" } else { "{spinner} {msg}  {elapsed}" };
        // The template is a literal: a test reads it.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("##-"));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    /// Shows that so much is done, and says of what.
    pub fn reach(&self, done: u64, message: String) {
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
        for template in ["{bar:32} {percent:>3}%  {msg}  {eta}", "{spinner} {msg}  {elapsed}"] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn without_a_terminal_it_writes_nothing_and_does_not_fail() {
        for total in [None, Some(10)] {
            let progress = Progress::new(total, Noise::Unwanted);
            progress.reach(5, "five".to_owned());
            assert_eq!(progress.beside(|| 7), 7);
        }
    }
}
