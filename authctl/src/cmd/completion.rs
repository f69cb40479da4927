//! `authctl completion`

use crate::{context::Context, error::Error};
use clap_complete::Shell;

/// Prints a completion script.
///
/// # Errors
/// [`Error::Io`].
pub fn run(context: &mut Context<'_>, shell: Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::command(), "authctl", &mut script);
    context.output.raw(&String::from_utf8_lossy(&script))
}
