//! `authctl config`

use crate::{
    context::Context,
    error::Error,
    output::{
        Done,
        look::{NOTHING, name},
        table::{Column, Room, Row},
        text::clean,
    },
};
use clap::Subcommand;
use shared::admin::{
    Empty,
    config::{Change, Check, Problem, Setting, Show},
};

/// Commands about the configuration.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Show every setting in force
    #[command(visible_alias = "list", alias = "ls")]
    Show {
        /// Also say where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Read the files and say what is wrong and what a reload would change
    Check,
}

impl Row for Setting {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "KEY", room: Room::Keep, cell: |setting, _| clean(&setting.key) },
        Column { name: "VALUE", room: Room::Cut, cell: |setting, _| name(&setting.value) },
        Column { name: "ORIGIN", room: Room::Wide, cell: |setting, _| clean(&setting.origin) },
        Column {
            name: "LIVE",
            room: Room::Optional,
            cell: |setting, _| if setting.live { "yes" } else { NOTHING }.to_owned(),
        },
        Column { name: "DEFAULT", room: Room::Wide, cell: |setting, _| name(&setting.default) },
    ];

    fn id(&self) -> String {
        self.key.clone()
    }
}

/// Runs one of the commands.
///
/// # Errors
/// [`Error::Configuration`] when the check finds problems.
pub async fn run(context: &mut Context<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Show { origin } => {
            if origin {
                context.output.choose_columns(&["key", "value", "live", "origin"]);
            }
            context.list::<Show, _>("config.show", |_| Empty {}).await
        }
        Command::Check => check(context).await,
    }
}

async fn check(context: &mut Context<'_>) -> Result<(), Error> {
    let Some(checked) = context.call::<Check>(&Empty {}).await? else { return Ok(()) };
    let mut lines: Vec<String> = checked.problems.iter().map(problem_line).collect();
    if lines.is_empty() {
        lines.push("the configuration is good".to_owned());
        lines.extend(change_lines("a reload would apply", &checked.live));
        lines.extend(change_lines("needs a restart", &checked.restart));
    }
    let ids = checked.problems.iter().filter_map(|problem| problem.key.clone()).collect();
    context.output.done(&Done { schema: "config.check", data: &checked, ids, lines, needed: vec![] })?;
    match checked.problems.len() {
        0 => Ok(()),
        count => Err(Error::Configuration(count)),
    }
}

/// `verb: key = to (was from)`, a line each.
pub(super) fn change_lines(verb: &str, changes: &[Change]) -> Vec<String> {
    let one = |change: &Change| format!("{verb}: {} = {} (was {})", change.key, change.to, change.from);
    changes.iter().map(one).collect()
}

/// A problem with its place and what to write instead.
pub(super) fn problem_line(problem: &Problem) -> String {
    let mut line = String::new();
    if let Some(file) = &problem.file {
        line.push_str(file);
        if let Some(number) = problem.line {
            line.push_str(&format!(":{number}"));
        }
        line.push_str(": ");
    }
    if let Some(key) = &problem.key {
        line.push_str(&format!("{key}: "));
    }
    line.push_str(&problem.message);
    if let Some(hint) = &problem.hint {
        line.push_str(&format!(" ({hint})"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_place_and_the_way_out() {
        let problem = Problem {
            key: Some("server.listen".to_owned()),
            file: Some("/etc/authd/authd.toml".to_owned()),
            line: Some(3),
            message: "not an address".to_owned(),
            hint: Some("write 127.0.0.1:8480".to_owned()),
        };
        let expected = "/etc/authd/authd.toml:3: server.listen: not an address (write 127.0.0.1:8480)";
        assert_eq!(problem_line(&problem), expected);
    }
}
