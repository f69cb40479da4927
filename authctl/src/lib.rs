//! The operator's command line for authd as a library: `main.rs` only starts it.
//!
//! `client` speaks to the admin socket and knows no output; `output` prints and knows no socket; `cmd` has one file a
//! noun and joins the two through `context`. Every failure is one [`error::Error`], mapped to an exit code in one
//! place.

pub mod cli;
pub mod client;
pub mod cmd;
pub mod completing;
pub mod context;
pub mod draft;
pub mod error;
mod man;
pub mod output;
pub mod progress;
pub mod prompt;
pub mod schema;
pub mod when;

pub use man::man_pages;

use clap::{CommandFactory, Parser, error::ErrorKind};
use cli::Cli;
use client::Asked;
use context::Context;
use error::Error;
use output::{Format, Output};
use std::{
    ffi::OsString,
    io::{self, Write},
};

/// The command with all its subcommands, for completions and documentation.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program with these arguments and returns its exit code.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(code) = completing::answer(&args) {
        return code;
    }
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(refusal) => return report_usage(&refusal, &args),
    };
    let mut output = Output::new(&cli.global);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.report(&Error::Io(error)),
    };
    let mut asked = Asked::default();
    let result = Context::new(&cli.global, &mut output).and_then(|mut context| {
        let result = runtime.block_on(run_until_interrupted(&mut context, cli.command));
        asked = context.client.asked();
        result
    });
    let code = match result {
        Ok(()) => 0,
        Err(error) => output.report_about(&error, noun(&args).as_deref(), asked),
    };
    runtime.shutdown_background();
    code
}

async fn run_until_interrupted(context: &mut Context<'_>, command: cli::Command) -> Result<(), Error> {
    tokio::select! {
        result = cmd::run(context, command) => result,
        _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
    }
}

/// The noun of the command line, for hints.
fn noun(args: &[OsString]) -> Option<String> {
    command().try_get_matches_from(args).ok()?.subcommand_name().map(str::to_owned)
}

fn report_usage(refusal: &clap::Error, args: &[OsString]) -> u8 {
    match refusal.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that stopped reading help has read enough.
            drop(write!(io::stdout(), "{refusal}"));
            0
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            drop(write!(io::stderr(), "{refusal}"));
            error::Exit::Usage.code()
        }
        _ => {
            let format = if wants_json(args) { Format::Json } else { Format::Table };
            Output::plain(format).report(&Error::from(refusal))
        }
    }
}

/// Whether the arguments ask for JSON, for errors found before they are understood.
fn wants_json(args: &[OsString]) -> bool {
    let texts: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).take_while(|arg| *arg != "--").collect();
    texts.iter().any(|arg| matches!(*arg, "-ojson" | "-o=json" | "--output=json"))
        || texts.windows(2).any(|pair| matches!(pair, ["-o" | "--output", "json"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn json_is_noticed_before_the_arguments_are_understood() {
        let args = |texts: &[&str]| texts.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(wants_json(&args(&["authctl", "-o", "json", "nonsense"])));
        assert!(wants_json(&args(&["authctl", "--output=json", "nonsense"])));
        assert!(!wants_json(&args(&["authctl", "api", "--", "-o", "json"])));
    }
}
