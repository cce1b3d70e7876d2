//! The child process: one engine, one HTTP server on the loopback interface, one parent.

use std::ffi::OsString;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::USER;
use super::directory;
use super::engine::{Engine, Limits};
use super::http::{Credentials, Server, ServerSettings};
use super::process::{ChildArguments, READY};

/// A statement may run this long unless its request says otherwise. The engine cannot be told that a client has
/// gone, so this is also what ends a forgotten statement.
const EXECUTION_TIME_S: u64 = 60;

/// One statement may take three quarters of the engine's memory.
const QUERY_MEMORY_PER_CENT: u64 = 75;

/// How long a stop waits for running statements; the supervisor's own deadline may be shorter.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the engine's child process. `arguments` are those after the subcommand, as the supervisor gives them.
pub fn run_child(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    let arguments = ChildArguments::parse(arguments)?;
    die_with_parent(arguments.parent)?;
    let mut password = String::new();
    io::stdin().lock().read_line(&mut password).map_err(|error| format!("engine: no password: {error}"))?;
    let password = password.trim_end_matches('\n').to_owned();
    if password.is_empty() {
        return Err("engine: this subcommand is started by tributary itself".to_owned());
    }
    let _lock = directory::lock(&arguments.data)
        .map_err(|error| format!("engine: cannot lock the data directory: {error}"))?;
    let limits = Limits {
        memory_bytes: arguments.memory_bytes,
        query_memory_bytes: arguments.memory_bytes / 100 * QUERY_MEMORY_PER_CENT,
        execution_time_s: EXECUTION_TIME_S,
    };
    let engine = Engine::start(&arguments.library, &arguments.data, limits)
        .map(Arc::new)
        .map_err(|error| format!("engine: {error}"))?;
    let credentials = Credentials { user: USER.to_owned(), password };
    let settings = ServerSettings { engine: Arc::clone(&engine), credentials, stop_timeout: STOP_TIMEOUT };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("engine: no runtime: {error}"))?;
    let ended = runtime.block_on(serve(settings, arguments.port))?;
    if !ended {
        // A connection must not be closed under a running statement, and a runtime waits for its threads, so the
        // process ends where it stands: the engine's data is safe against that.
        let _ = writeln!(io::stderr(), "engine: stopped with statements still running");
        let _ = kill(Pid::this(), Signal::SIGKILL);
    }
    runtime.shutdown_timeout(STOP_TIMEOUT);
    drop(engine);
    Ok(())
}

async fn serve(settings: ServerSettings, port: u16) -> Result<bool, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| format!("engine: cannot listen on port {port}: {error}"))?;
    let port = listener.local_addr().map_err(|error| format!("engine: no port: {error}"))?.port();
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| format!("engine: no signals: {error}"))?;
    let parent_gone = parent_gone();
    writeln!(io::stdout(), "{READY}{port}")
        .map_err(|error| format!("engine: the parent is gone: {error}"))?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = parent_gone => {}
        }
    };
    Ok(Server::new(settings).run(listener, stop).await)
}

/// Has the kernel end this process when the parent ends, however it does.
fn die_with_parent(parent: u32) -> Result<(), String> {
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|errno| format!("engine: no parent death signal: {errno}"))?;
    // The parent may have ended before the line above.
    if u32::try_from(getppid().as_raw()) == Ok(parent) {
        Ok(())
    } else {
        Err("engine: the parent is gone".to_owned())
    }
}

/// Resolves when the parent closes its end of stdin: its way to say "stop".
fn parent_gone() -> oneshot::Receiver<()> {
    let (gone, received) = oneshot::channel();
    // Reading stdin cannot be interrupted, so the thread is left to the end of the process.
    std::thread::spawn(move || {
        let mut ignored = [0_u8; 64];
        while matches!(io::stdin().lock().read(&mut ignored), Ok(1..)) {}
        let _ = gone.send(());
    });
    received
}
