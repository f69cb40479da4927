//! Questions to the person at the terminal; without one they are failures, never silent answers.

use crate::error::Error;
use shared::admin::WireSecret;
use std::io::{self, IsTerminal, Read};

/// Longest secret that is read from standard input, in bytes.
const SECRET_LIMIT: u64 = 4_096;

/// Whether there is somebody to ask.
#[must_use]
pub fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question whose default answer is no.
///
/// # Errors
/// [`Error::Declined`] for no, [`Error::NoTerminal`] without a terminal.
pub async fn confirm(question: String) -> Result<(), Error> {
    if !has_terminal() {
        return Err(Error::NoTerminal(question.replace('\n', " ")));
    }
    let ask = move || dialoguer::Confirm::new().with_prompt(question).default(false).interact_opt();
    match off_the_loop(ask).await? {
        Some(true) => Ok(()),
        Some(false) | None => Err(Error::Declined),
    }
}

/// Asks for a new password, twice and unseen.
///
/// # Errors
/// [`Error::NoTerminal`] without a terminal.
pub async fn new_password() -> Result<WireSecret, Error> {
    if !has_terminal() {
        return Err(Error::NoTerminal("the new password".to_owned()));
    }
    let ask = || {
        dialoguer::Password::new()
            .with_prompt("New password")
            .with_confirmation("Once more", "The two differ, try again")
            .interact()
    };
    Ok(WireSecret::new(off_the_loop(ask).await?))
}

/// Asks for a secret that exists already, once and unseen.
///
/// # Errors
/// [`Error::NoTerminal`] without a terminal.
pub async fn unseen(what: &'static str) -> Result<WireSecret, Error> {
    if !has_terminal() {
        return Err(Error::NoTerminal(what.to_owned()));
    }
    let ask = move || dialoguer::Password::new().with_prompt(what).interact();
    Ok(WireSecret::new(off_the_loop(ask).await?))
}

/// Reads a secret, which `what` says what it is, from standard input: all of it, without one final line end.
///
/// # Errors
/// [`Error::Usage`] when it is empty, too long or not UTF-8.
pub async fn secret_from_stdin(what: &str) -> Result<WireSecret, Error> {
    let read = || {
        let mut text = String::new();
        io::stdin().take(SECRET_LIMIT + 1).read_to_string(&mut text).map(|_| text)
    };
    let text = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?;
    let text = text.map_err(|error| Error::usage(format!("standard input: {error}"), "pipe the secret in as UTF-8"))?;
    secret_of(text, what)
}

fn secret_of(mut text: String, what: &str) -> Result<WireSecret, Error> {
    if text.len() as u64 > SECRET_LIMIT {
        return Err(Error::usage("the secret on standard input is too long", "pipe in the secret alone"));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(Error::usage(format!("standard input is empty: {what} is missing"), "pipe it in"));
    }
    Ok(WireSecret::new(text))
}

/// Runs a question on a thread of its own, so that an interrupt is noticed meanwhile.
async fn off_the_loop<T: Send + 'static>(
    ask: impl FnOnce() -> dialoguer::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(ask).await.map_err(io::Error::other)? {
        Ok(answer) => Ok(answer),
        Err(dialoguer::Error::IO(error)) if error.kind() == io::ErrorKind::Interrupted => Err(Error::Interrupted),
        Err(dialoguer::Error::IO(error)) => Err(Error::Io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_final_line_end_is_not_part_of_a_secret() {
        for (typed, secret) in
            [("pass word\n", "pass word"), ("pass\r\n", "pass"), ("pass\n\n", "pass\n"), (" p ", " p ")]
        {
            assert_eq!(secret_of(typed.to_owned(), "it").unwrap().expose(), secret);
        }
        assert!(secret_of("\n".to_owned(), "it").is_err());
        assert!(secret_of("x".repeat(5_000), "it").is_err());
    }
}
