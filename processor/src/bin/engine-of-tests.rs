//! The warehouse engine's child process as a program of its own, for this crate's tests: the product's binary runs the same
//! function under its hidden subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The subcommand is the supervisor's; this program knows no other.
    warehouse::embedded::run_child(std::env::args_os().skip(2))
}
