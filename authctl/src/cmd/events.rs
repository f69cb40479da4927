//! `authctl events`: the part of the audit log that an operator wants to hear of at once.

use super::{audit::Filter, tail};
use crate::{context::Context, error::Error};

/// Shows them.
///
/// # Errors
/// What the calls fail with.
pub(super) async fn run(context: &mut Context<'_>) -> Result<(), Error> {
    tail::run(context, &Filter::notable(), "events").await
}
