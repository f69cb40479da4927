//! Starts `authd`.

use std::process::ExitCode;

fn main() -> ExitCode {
    authd::cli::main()
}
