//! Manual pages: authctl(1) with what all commands share, and one page for each noun.

use crate::{cli::Cli, error::Exit};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use shared::roff;
use std::{fmt::Write as _, io};

const TAIL: &str = include_str!("man/authctl.1.roff");
/// What the audit log proves, and how.
const AUDIT: &str = include_str!("man/authctl-audit.roff");

/// What an operator does step by step.
const DB: &str = include_str!("man/authctl-db.roff");

/// Every page: its file name (`authctl-session.1`) and its text.
///
/// # Errors
/// [`io::Error`] never in practice: the pages are rendered into memory.
pub fn man_pages() -> io::Result<Vec<(String, String)>> {
    // Not built: a noun's page then lacks the flags of all commands, which authctl(1) has once.
    let root = Cli::command();
    let nouns: Vec<&Command> = root.get_subcommands().filter(|noun| noun.has_subcommands()).collect();
    let mut pages = vec![("authctl.1".to_owned(), main_page(&root)?)];
    for noun in nouns {
        pages.push((format!("authctl-{}.1", noun.get_name()), noun_page(noun)?));
    }
    Ok(pages)
}

fn main_page(root: &Command) -> io::Result<String> {
    let usage = "authctl [OPTIONS] COMMAND [ARGUMENT]...";
    let man = Man::new(root.clone().disable_help_subcommand(true).override_usage(usage));
    let mut page = head("authctl");
    page += &part(|to| man.render_name_section(to))?;
    page += &part(|to| man.render_synopsis_section(to))?;
    page += &part(|to| man.render_description_section(to))?;
    page += ".SH COMMANDS\n";
    for command in root.get_subcommands() {
        let about = about(command);
        let name = command.get_name();
        if command.has_subcommands() {
            let verbs: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let verbs = verbs.join(" | ").replace('-', "\\-");
            let _ = write!(page, ".TP\n.BR \"{name} {verbs}\"\n{about}: see\n.BR authctl\\-{name} (1).\n");
        } else {
            page += &command_entry("authctl", command, Heading::Tagged)?;
        }
    }
    page += &part(|to| man.render_options_section(to))?;
    page += ".SH \"EXIT STATUS\"\n";
    for exit in EXITS {
        let _ = write!(page, ".TP\n.B {}\n{}\n", exit.code(), meaning(exit));
    }
    Ok(roff::tidy(&(page + TAIL)))
}

fn noun_page(noun: &Command) -> io::Result<String> {
    let name = noun.get_name().to_owned();
    let title = format!("authctl-{name}");
    let man = Man::new(plain(noun).display_name(&title));
    let mut page = head(&title);
    page += &part(|to| man.render_name_section(to))?;
    page += ".SH SYNOPSIS\n";
    let usages: Vec<String> = noun.get_subcommands().map(|verb| usage(&format!("authctl {name}"), verb)).collect();
    page += &usages.join(".br\n");
    let _ = write!(page, ".SH DESCRIPTION\n{}.\n", about(noun));
    page += "The options of\n.BR authctl (1)\napply to every command: form of the output, parts of a list, dry run, reason.\n";
    page += ".SH COMMANDS\n";
    for verb in noun.get_subcommands() {
        page += &command_entry(&format!("authctl {name}"), verb, Heading::Section)?;
    }
    page += match name.as_str() {
        "audit" => AUDIT,
        "db" => DB,
        _ => "",
    };
    let more = match name.as_str() {
        "audit" => ".BR authd.toml (5),\n.BR authd\\-events (7),\n",
        "limit" => ".BR authd.toml (5),\n",
        "db" => ".BR authctl\\-session (1),\n.BR authd.toml (5),\n",
        "mode" | "breaker" => ".BR authd\\-failures (7),\n",
        _ => "",
    };
    Ok(roff::tidy(&(page + ".SH \"SEE ALSO\"\n.BR authctl (1),\n" + more + ".BR authd (8)\n")))
}

enum Heading {
    /// An entry of a list.
    Tagged,
    /// A section of its own.
    Section,
}

/// What a command does and what it takes.
fn command_entry(parent: &str, command: &Command, heading: Heading) -> io::Result<String> {
    let name = command.get_name();
    let takes = part(|to| Man::new(plain(command)).render_options_section(to))?;
    let takes = takes.trim_start_matches(".SH OPTIONS\n");
    let (usage, about) = (usage(parent, command), about(command));
    let indented = if takes.is_empty() { String::new() } else { format!(".RS\n{takes}.RE\n") };
    Ok(match heading {
        Heading::Tagged => format!(".TP\n.B {}\n{about}.\n{indented}", name.replace('-', "\\-")),
        Heading::Section => {
            let more = more(command);
            format!(".SS {}\n{usage}.PP\n{about}.\n{more}{takes}", name.replace('-', "\\-"))
        }
    })
}

/// Without what every command has.
fn plain(command: &Command) -> Command {
    command.clone().disable_help_flag(true).disable_version_flag(true).disable_help_subcommand(true)
}

/// The command with all it takes, in one line.
fn usage(parent: &str, command: &Command) -> String {
    let name = format!("{parent} {}", command.get_name());
    let text = plain(command).bin_name(&name).render_usage().to_string().replace("Usage: ", "");
    let takes = text.strip_prefix(&name).unwrap_or_default().trim().replace('-', "\\-");
    let takes = if takes.is_empty() { takes } else { takes + "\n" };
    format!(".B {}\n{takes}", name.replace('-', "\\-"))
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default().replace('-', "\\-").replace('\'', "\\(aq")
}

/// What its help says beyond the first line, a paragraph each.
fn more(command: &Command) -> String {
    let text = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let paragraph = |text: &str| format!(".PP\n{}\n", text.trim().replace('-', "\\-").replace('\'', "\\(aq"));
    text.split("\n\n").skip(1).map(paragraph).collect()
}

/// What the generator writes before every part, once.
const HEAD: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// The title, and text that breaks no names.
fn head(name: &str) -> String {
    HEAD.to_owned() + &roff::title(name, 1, env!("CARGO_PKG_VERSION"), "authd")
}

fn part(render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<String> {
    let mut text = Vec::new();
    render(&mut text)?;
    let text = String::from_utf8_lossy(&text).replace(HEAD, "").replace(".br\n\n.br\n", ".br\n");
    Ok(text.lines().map(|line| line.trim_end().to_owned() + "\n").collect())
}

/// In the order of their numbers.
const EXITS: [Exit; 15] = [
    Exit::Done,
    Exit::Unexpected,
    Exit::Usage,
    Exit::NotReady,
    Exit::NotFound,
    Exit::Conflict,
    Exit::Partly,
    Exit::Declined,
    Exit::CheckFailed,
    Exit::Unreachable,
    Exit::Internal,
    Exit::Temporary,
    Exit::NotAuthorised,
    Exit::Configuration,
    Exit::Interrupted,
];

fn meaning(exit: Exit) -> &'static str {
    match exit {
        Exit::Done => "Done. An empty list is done too.",
        Exit::Unexpected => "Something unexpected: an answer that cannot be read, an output that cannot be written.",
        Exit::Usage => "The command line, or a value in it, is wrong.",
        Exit::NotReady => "The daemon runs and is not ready\n.RB ( status ).",
        Exit::NotFound => "There is no such thing.",
        Exit::Conflict => "Conflict: the target is ambiguous, a set is not of the expected size, or it exists already.",
        Exit::Partly => "Some of several targets failed; the others are done.",
        Exit::Declined => "The question was answered with no, or there was no terminal to ask on.",
        Exit::CheckFailed => {
            "A check found problems\n.RB ( doctor \", \" \"audit verify\" \", \" \"db verify\\-backup\" )."
        }
        Exit::Unreachable => "The daemon cannot be reached.",
        Exit::Internal => "Internal error of the daemon; its log has the details under the request id.",
        Exit::Temporary => "Temporary: storage is away, the daemon is busy, or it did not answer in time. Try again.",
        Exit::NotAuthorised => {
            "Not authorised; the message says which rule. Also when somebody else than the daemon listens."
        }
        Exit::Configuration => {
            "The configuration that the daemon would read is wrong\n.RB ( reload \", \" \"config check\" )."
        }
        Exit::Interrupted => "Interrupted from the keyboard.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(name: &str) -> String {
        let pages = man_pages().unwrap();
        pages.into_iter().find(|(file, _)| file == name).map(|(_, text)| text).unwrap()
    }

    #[test]
    fn every_noun_has_a_page_with_all_its_commands_and_without_the_common_flags() {
        for noun in Cli::command().get_subcommands().filter(|noun| noun.has_subcommands()) {
            let page = page(&format!("authctl-{}.1", noun.get_name()));
            for verb in noun.get_subcommands() {
                let heading = format!("\n.SS {}\n", verb.get_name().replace('-', "\\-"));
                assert!(page.contains(&heading), "{heading} in {page}");
            }
            assert!(!page.contains("print\\-request"), "{page}");
        }
    }

    #[test]
    fn the_main_page_has_the_common_flags_and_every_exit_code_in_order() {
        let page = page("authctl.1");
        for word in ["\\-\\-print\\-request", "authctl\\-session", "\n.B completion\n", "AUTHCTL_SOCKET"] {
            assert!(page.contains(word), "{word} in {page}");
        }
        let see_also = page.split_once(".SH \"SEE ALSO\"").unwrap().1;
        for noun in Cli::command().get_subcommands().filter(|noun| noun.has_subcommands()) {
            let reference = format!(".BR authctl\\-{} (1)", noun.get_name());
            assert!(see_also.contains(&reference), "{reference}");
        }
        assert!(EXITS.is_sorted_by_key(|exit| exit.code()));
        assert!(EXITS.iter().all(|exit| page.contains(&format!("\n.B {}\n", exit.code()))));
    }
}
