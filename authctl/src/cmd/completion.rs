//! `authctl completion`

use crate::{completing, context::Context, error::Error};
use clap_complete::Shell;

/// Prints the script that makes a shell ask this program how to go on.
///
/// # Errors
/// [`Error::Io`].
pub fn run(context: &mut Context<'_>, shell: Shell) -> Result<(), Error> {
    let script = completing::script(shell)?;
    context.output.raw(&script)
}
