//! `authctl doctor`: looks at the daemon, this machine and the way clients come, and says what to put right.

mod host;
mod jwks;

use crate::{
    context::Context,
    error::Error,
    output::{
        look::{NOTHING, name, text},
        table::{Column, Room, Row},
        text::clean,
    },
};
use shared::admin::{
    Empty, Page,
    doctor::{Check, Checkup, Examined, Verdict},
};

impl Row for Check {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "CHECK", room: Room::Keep, cell: |check, _| clean(&check.check) },
        Column { name: "RESULT", room: Room::Keep, cell: |check, _| name(check.result) },
        Column { name: "FINDING", room: Room::Cut, cell: |check, _| clean(&check.finding) },
        Column { name: "FIX", room: Room::Wide, cell: |check, _| text(check.fix.as_deref()) },
    ];

    fn id(&self) -> String {
        self.check.clone()
    }
}

/// Examines everything; what the daemon cannot tell because it is away is left out.
///
/// # Errors
/// [`Error::CheckFailed`] when something is bad, after showing all; what the call fails with, after showing what this
/// program can see alone.
pub(super) async fn run(context: &mut Context<'_>) -> Result<(), Error> {
    let examined = match context.call::<Checkup>(&Empty {}).await {
        Ok(None) => return Ok(()),
        Ok(Some(examined)) => Ok(examined),
        Err(error) => Err(error),
    };
    let (mut checks, failure) = match examined {
        Ok(examined) => (of_running(context, examined).await, None),
        Err(error) => {
            let fix = "systemctl status authd; journalctl -u authd -n 50";
            (vec![Check::bad("daemon", error.line(), fix)], Some(error))
        }
    };
    checks.push(host::other_daemon());
    checks.push(host::time_synchronised().await);
    match (show(context, checks)?, failure) {
        (_, Some(error)) => Err(error),
        (0, None) => Ok(()),
        (bad, None) => Err(Error::CheckFailed(bad)),
    }
}

async fn of_running(context: &Context<'_>, examined: Examined) -> Vec<Check> {
    let mut checks = vec![host::socket("admin socket", &examined.admin_socket, &examined.groups.0, &examined.data_dir)];
    checks.push(host::socket("read socket", &examined.read_socket, &examined.groups.1, &examined.data_dir));
    checks.push(host::program(examined.pid));
    checks.push(jwks::check(&context.client, &examined.public_url).await);
    examined.checks.into_iter().chain(checks).collect()
}

/// Shows the checks, the worst first; how many are bad.
fn show(context: &mut Context<'_>, mut checks: Vec<Check>) -> Result<u64, Error> {
    checks.sort_by_key(|check| std::cmp::Reverse(check.result));
    let bad = checks.iter().filter(|check| check.result == Verdict::Bad).count();
    let bad = u64::try_from(bad).unwrap_or(u64::MAX);
    let fixes: Vec<String> = checks.iter().filter_map(fix_line).collect();
    context.output.list("doctor", &Page::whole(checks))?;
    for line in fixes {
        context.output.advise(&line)?;
    }
    Ok(bad)
}

/// What was found and what to do, in full: a table has no room for it.
fn fix_line(check: &Check) -> Option<String> {
    let fix = check.fix.as_deref().filter(|fix| *fix != NOTHING)?;
    let (what, found) = (clean(&check.check), clean(&check.finding));
    Some(format!("\n{what} is {}: {found}\n  fix: {}", name(check.result), clean(fix)))
}
