//! `authctl man`: the manual pages of this program.

use crate::{context::Context, error::Error, output::Done};
use serde_json::json;
use std::{io, path::Path};

/// Prints authctl(1), or writes every page of this program into a directory.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn run(context: &mut Context<'_>, directory: Option<&Path>) -> Result<(), Error> {
    let pages = crate::man_pages()?;
    let Some(directory) = directory else {
        let main = pages.into_iter().find(|(name, _)| name == "authctl.1").map(|(_, text)| text);
        return context.output.raw(&main.unwrap_or_default());
    };
    let failed = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    let mut written = Vec::new();
    for (name, text) in pages {
        let file = directory.join(name);
        std::fs::write(&file, text).map_err(|error| failed(&file, error))?;
        written.push(file.display().to_string());
    }
    context.output.done(&Done {
        schema: "man",
        data: &json!({"pages": written}),
        ids: written.clone(),
        lines: vec![format!(
            "{} pages written; read one with: man -l {}/authctl.1",
            written.len(),
            directory.display()
        )],
        needed: vec![],
    })
}
