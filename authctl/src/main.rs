//! `authctl`: the operator's command line for authd.

fn main() {
    // Not by returning: a prompt's thread that still waits for a key must not keep the process alive.
    std::process::exit(authctl::main(std::env::args_os()).into())
}
