//! The one binary.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    tributary::run(tributary::cli::Cli::parse())
}
