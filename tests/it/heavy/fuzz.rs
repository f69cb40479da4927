//! What strangers send, changed at random: every reader takes it or refuses it, and never does anything else.

mod addresses;
mod config;
mod edge;
mod names;
mod tokens;
mod values;

use tests::fuzz::Reading;

/// What a reader gave: taken or refused.
fn reading<T, E>(result: &Result<T, E>) -> Reading {
    if result.is_ok() { Reading::Taken } else { Reading::Refused }
}

/// Goes on where `holds`, else says what is wrong.
fn must(holds: bool, wrong: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}
