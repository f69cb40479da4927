//! Timed work.
