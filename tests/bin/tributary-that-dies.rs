//! Tributary as it is, but it ends itself by SIGKILL when it reaches a point for the nth time:
//! `tributary-that-dies --die-at POINT N up …`. For tests alone.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use tributary::Interference;
use tributary::cli::Cli;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let mut interference = Interference::default();
    // Without it this is the warehouse's engine, which the process starts as its own program once more.
    if arguments.get(1).is_some_and(|first| first == "--die-at") {
        let mut words = arguments.drain(1..4.min(arguments.len())).skip(1).map(OsString::into_string);
        let (point, times) = (words.next(), words.next());
        drop(words);
        let (Some(Ok(point)), Some(Ok(times))) = (point, times) else { return ExitCode::FAILURE };
        match times.parse().ok().and_then(|times| tests::death::at(&point, times)) {
            Some(dying) => interference = dying,
            None => return ExitCode::FAILURE,
        }
    }
    tributary::run_with(Cli::parse_from(arguments), &interference)
}
