//! `authctl config`

use crate::{
    context::Context,
    error::Error,
    output::{
        Done,
        look::{NOTHING, name, text},
        table::{Column, Room, Row},
        text::{clean, clean_json},
    },
};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use shared::admin::{
    Empty, Page,
    config::{Change, Check, Checked, Problem, Schema, Setting, Show},
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
    /// List the settings whose value in the files is not the one in force
    Diff,
    /// Print the JSON schema of authd.toml
    Schema,
}

/// A setting that differs between the running daemon and the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `section.key`.
    pub key: String,
    /// The value in force.
    pub running: String,
    /// What the files, variables and flags say.
    pub files: String,
    /// What puts it into force.
    pub takes: Takes,
}

/// What puts a setting into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// `authctl reload`.
    Reload,
    /// A restart of the daemon.
    Restart,
}

impl Row for Difference {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "KEY", room: Room::Keep, cell: |setting, _| clean(&setting.key) },
        Column { name: "RUNNING", room: Room::Cut, cell: |setting, _| text(Some(&setting.running)) },
        Column { name: "FILES", room: Room::Cut, cell: |setting, _| text(Some(&setting.files)) },
        Column { name: "TAKES", room: Room::Keep, cell: |setting, _| name(setting.takes) },
    ];

    fn id(&self) -> String {
        self.key.clone()
    }
}

impl Row for Setting {
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "KEY", room: Room::Keep, cell: |setting, _| clean(&setting.key) },
        Column { name: "VALUE", room: Room::Cut, cell: |setting, _| name(&setting.value) },
        Column { name: "ORIGIN", room: Room::Optional, cell: |setting, _| clean(&setting.origin) },
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
        Command::Diff => diff(context).await,
        Command::Schema => {
            let Some(schema) = context.call::<Schema>(&Empty {}).await? else { return Ok(()) };
            context.output.raw(&clean_json(&format!("{schema:#}\n")))
        }
    }
}

async fn diff(context: &mut Context<'_>) -> Result<(), Error> {
    let Some(checked) = context.call::<Check>(&Empty {}).await? else { return Ok(()) };
    if !checked.problems.is_empty() {
        for problem in &checked.problems {
            context.output.warn(problem_line(problem));
        }
        return Err(Error::Configuration(checked.problems.len()));
    }
    let differences = differences(checked);
    if differences.is_empty() {
        context.output.note("the files say what is in force");
    }
    context.output.list("config.diff", &Page::whole(differences))
}

fn differences(checked: Checked) -> Vec<Difference> {
    let all = |changes: Vec<Change>, takes: Takes| {
        changes.into_iter().map(move |Change { key, from, to }| Difference { key, running: from, files: to, takes })
    };
    all(checked.live, Takes::Reload).chain(all(checked.restart, Takes::Restart)).collect()
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
    fn a_difference_says_what_puts_it_into_force() {
        let change = |key: &str| Change { key: key.to_owned(), from: "1s".to_owned(), to: "2s".to_owned() };
        let checked =
            Checked { problems: vec![], live: vec![change("session.idle")], restart: vec![change("server.listen")] };
        let found: Vec<_> = differences(checked).into_iter().map(|one| (one.key, one.takes)).collect();
        let expected = [("session.idle".to_owned(), Takes::Reload), ("server.listen".to_owned(), Takes::Restart)];
        assert_eq!(found, expected);
    }

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
