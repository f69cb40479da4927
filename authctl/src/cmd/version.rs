//! `authctl version`

use crate::{context::Context, error::Error, output::Done};
use serde_json::json;

/// Prints the version of this program; `authctl status` has the daemon's.
///
/// # Errors
/// [`Error::Io`].
pub fn run(context: &mut Context<'_>) -> Result<(), Error> {
    let version = env!("CARGO_PKG_VERSION");
    context.output.done(&Done {
        schema: "version",
        data: &json!({"version": version}),
        ids: vec![version.to_owned()],
        lines: vec![format!("authctl {version}")],
        needed: vec![version.to_owned()],
    })
}
