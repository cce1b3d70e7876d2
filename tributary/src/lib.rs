//! Tributary's one binary: everything on embedded engines with `tributary up`, or one role each on Kafka and ClickHouse.
//!
//! Wiring is done by hand: `up` and `role` each put their parts together on one page, from `parts` that both use.

pub mod cli;
mod data_dir;
mod error;
mod event;
mod first_start;
mod greeting;
mod installation;
mod interference;
mod ops;
mod parts;
mod reference;
mod replay;
mod role;
mod settings;
mod up;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use cli::{Cli, Command};
pub use error::Error;
pub use interference::{BeforeWarehouse, Interference};
pub use reference::render as settings_reference;
pub use settings::Settings;

/// Runs a command line to its end. An error is one line on standard error and a code that is not 0.
pub fn run(cli: Cli) -> ExitCode {
    run_with(cli, &Interference::default())
}

/// Runs a command line to its end as [`run`] does, with something in the process that is there for a test.
pub fn run_with(cli: Cli, interference: &Interference) -> ExitCode {
    let done = match cli.command {
        // The engine's child is not ours to dress: it speaks with its parent.
        Command::Engine { arguments } => return warehouse::embedded::run_child(arguments),
        Command::Config => print(&match reference::render() {
            Ok(text) => text,
            Err(error) => return fail(&error),
        }),
        Command::Event(arguments) => event::run(arguments),
        Command::Up(arguments) => up::run(arguments, interference),
        Command::Ingest(arguments) => role::run(role::Role::Ingest, &arguments, interference),
        Command::Processor(arguments) => role::run(role::Role::Processor, &arguments, interference),
        Command::Sink(arguments) => role::run(role::Role::Sink, &arguments, interference),
        Command::QueryApi(arguments) => role::run(role::Role::QueryApi, &arguments, interference),
        Command::Migrate(arguments) => role::migrate(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Verify(arguments) => match verify::run(&arguments) {
            Ok(true) => Ok(()),
            // What differs was printed.
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(std::io::stderr(), "tributary: {error}");
    ExitCode::FAILURE
}

fn print(text: &str) -> Result<(), Error> {
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)
}
