//! authd(8): the command line from clap, the rest from a text beside this file.

use super::Cli;
use clap::CommandFactory as _;
use shared::roff::{tidy, title};
use std::{fmt::Write as _, io};

mod events;
mod failures;
mod http;
mod security;

pub use events::events_page;
pub use failures::failures_page;
pub use http::http_page;
pub use security::security_page;

const TAIL: &str = include_str!("man/authd.8.roff");

/// What the sections about events and metrics stand before.
const LIMITS: &str = ".SH \"LIMITS OF THIS VERSION\"\n";

/// What the generator writes before every part, once.
const HEAD: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// authd(8) in roff.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn man_page() -> io::Result<String> {
    let command = Cli::command().disable_help_subcommand(true).override_usage("authd [OPTIONS] [COMMAND]");
    let man = clap_mangen::Man::new(command.clone());
    let mut page = HEAD.to_owned() + &title("authd", 8, env!("CARGO_PKG_VERSION"), "System Administration");
    page += &part(|to| man.render_name_section(to))?;
    page += &part(|to| man.render_synopsis_section(to))?;
    page += &part(|to| man.render_description_section(to))?;
    page += &part(|to| man.render_options_section(to))?;
    // Not the generator's list, which names a page for each command.
    page += ".SH COMMANDS\n";
    for command in command.get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let (name, about) = (escape(command.get_name()), escape(&about));
        let _ = write!(page, ".TP\n.B {name}\n{about}.\n");
    }
    let (before, after) = TAIL.split_once(LIMITS).unwrap_or((TAIL, ""));
    Ok(tidy(&(page + before + &events_section() + &crate::metrics::man_section() + LIMITS + after)))
}

/// What there is to hear of, with the ids of the journal.
fn events_section() -> String {
    let mut section = String::from(
        ".SH EVENTS\n\
         .B \"authctl events \\-f\"\nshows these from the audit log, which is the record: a daemon that is killed may leave \
         half a second of them\nout of the journal.\nNames and ids stay what they are.\n\
         .IP\n.EX\n\
         journalctl \\-u authd \\-\\-catalog AUTHD_EVENT=session.replayed\n.EE\n",
    );
    for kind in shared::notable::NOTABLE {
        let _ = write!(section, ".TP\n.BR {} \" \" {}\n{}.\n", kind.name, kind.message_id, escape(kind.title));
        if let Some(reason) = kind.reason {
            let _ = write!(section, "In the audit log it is\n.B {}\nwith the reason\n.BR {reason} .\n", kind.action);
        }
    }
    section
}

fn part(render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<String> {
    let mut text = Vec::new();
    render(&mut text)?;
    let text = String::from_utf8_lossy(&text).replace(HEAD, "");
    Ok(text.lines().map(|line| line.trim_end().to_owned() + "\n").collect())
}

fn escape(text: &str) -> String {
    text.replace('-', "\\-").replace('\'', "\\(aq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_every_command_and_exit_code() {
        let page = man_page().unwrap();
        for word in ["generate\\-key", "config\\-schema", "\n.B 69\n", "\n.B 78\n", "\\-\\-data\\-dir"] {
            assert!(page.contains(word), "{word}\n{page}");
        }
    }
}
