//! The one binary.

use std::process::ExitCode;

use clap::Parser;

/// Events are made on one thread and freed on another, which the system's allocator pays for with a third of all CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tributary::run(tributary::cli::Cli::parse())
}
