//! The program: parses, runs, exits. Everything else is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    signetfs::cli::run(std::env::args_os().collect())
}
