//! The parent's half: starts the child, keeps it running, and stops it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::RngExt as _;
use rand::distr::Alphanumeric;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

use super::engine::DATABASE;
use super::process::{ChildArguments, READY};
use super::{SUBCOMMAND, USER};
use crate::Endpoint;

/// Longer than the wait for the data directory's lock.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long a child that has ended at its start may still be heard.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A child that ran this long was well; its end begins a new series of attempts.
const WELL_AFTER: Duration = Duration::from_secs(30);
const PASSWORD_CHARS: usize = 32;

/// What running statements get when nobody waits for the stop.
const DROPPED_DEADLINE: Duration = Duration::from_secs(5);

/// How the embedded engine is started.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// `libchdb.so`, as `deploy/engine/fetch.sh` leaves it.
    pub library: PathBuf,
    /// Where the engine keeps its data; made if it is not there.
    pub data_dir: PathBuf,
    /// What the engine may use of memory, all statements together.
    pub memory_limit_bytes: u64,
    /// The program that calls [`super::run_child`]; `None` is this very program.
    pub program: Option<PathBuf>,
    /// The arguments before the engine's own; normally [`SUBCOMMAND`].
    pub arguments: Vec<OsString>,
    /// The port on the loopback interface; 0 is a free one, kept from then on.
    pub port: u16,
    /// The password of the one user, for who points a notebook at the engine; `None` is a random one.
    pub password: Option<Password>,
}

/// A password whose `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}

impl EmbeddedSettings {
    /// The settings of the product: this program, its hidden subcommand, a free port, a random password.
    pub fn new(library: PathBuf, data_dir: PathBuf, memory_limit_bytes: u64) -> Self {
        let arguments = vec![SUBCOMMAND.into()];
        Self { library, data_dir, memory_limit_bytes, program: None, arguments, port: 0, password: None }
    }
}

/// Why the embedded engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The library has not been fetched.
    #[error("no engine library at {0}: fetch it with deploy/engine/fetch.sh")]
    LibraryMissing(PathBuf),
    /// A password that cannot be one.
    #[error("the engine's password must not be empty or hold a line end")]
    Password,
    /// The child's own last words.
    #[error("{0}")]
    Child(String),
    /// The child could not be run.
    #[error("cannot start the engine: {0}")]
    Spawn(#[from] io::Error),
    /// The child said nothing for too long.
    #[error("the engine did not start within {} s", START_TIMEOUT.as_secs())]
    Timeout,
}

/// The running engine. Dropped, it is told to stop, without waiting for it.
#[derive(Debug)]
pub struct EmbeddedEngine {
    endpoint: Endpoint,
    pid: Arc<AtomicU32>,
    stop: Option<oneshot::Sender<Duration>>,
    stopped: Option<oneshot::Receiver<()>>,
}

impl EmbeddedEngine {
    /// Starts the engine and waits until it answers.
    pub async fn start(settings: EmbeddedSettings) -> Result<Self, StartError> {
        if !settings.library.is_file() {
            return Err(StartError::LibraryMissing(settings.library));
        }
        let password = match &settings.password {
            Some(Password(password)) if password.is_empty() || password.contains(['\n', '\r']) => {
                return Err(StartError::Password);
            }
            Some(Password(password)) => password.clone(),
            None => rand::rng().sample_iter(Alphanumeric).take(PASSWORD_CHARS).map(char::from).collect(),
        };
        let pid = Arc::new(AtomicU32::new(0));
        let (started, is_started) = oneshot::channel();
        let (stop, stopping) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        let keeper =
            Keeper { port: settings.port, settings, password: password.clone(), pid: Arc::clone(&pid) };
        // The kernel's parent death signal is tied to the thread that forks, so this thread lives as long as
        // the supervision; a worker of the caller's runtime may not.
        thread::Builder::new().name("engine-supervisor".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(keeper.keep(started, stopping)),
                Err(error) => drop(started.send(Err(error.into()))),
            }
            let _ = ended.send(());
        })?;
        let port = is_started.await.map_err(|_| io::Error::other("the supervisor ended"))??;
        let endpoint = Endpoint::new(format!("http://127.0.0.1:{port}"), USER, password, DATABASE);
        Ok(Self { endpoint, pid, stop: Some(stop), stopped: Some(stopped) })
    }

    /// Where clients reach the engine; the same through all its restarts.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// The child's process id, while it is up.
    pub fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }

    /// Whether the child is up, as far as the supervisor knows.
    pub fn is_up(&self) -> bool {
        self.pid().is_some()
    }

    /// Stops the engine: it finishes what runs until the deadline, then it is killed.
    pub async fn stop(mut self, deadline: Duration) {
        let (stop, stopped) = (self.stop.take(), self.stopped.take());
        if let (Some(stop), Some(stopped)) = (stop, stopped)
            && stop.send(deadline).is_ok()
        {
            let _ = stopped.await;
        }
    }
}

/// What the supervisor's thread owns.
struct Keeper {
    settings: EmbeddedSettings,
    password: String,
    port: u16,
    pid: Arc<AtomicU32>,
}

/// A child that answers.
struct Running {
    child: Child,
    /// Its closing tells the child to stop.
    stdin: ChildStdin,
    _stdout: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Keeper {
    async fn keep(
        mut self,
        started: oneshot::Sender<Result<u16, StartError>>,
        mut stop: oneshot::Receiver<Duration>,
    ) {
        let mut started = Some(started);
        let mut backoff = BACKOFF_MIN;
        loop {
            let begun = Instant::now();
            let running = tokio::select! {
                running = self.launch() => running,
                _ = &mut stop => return,
            };
            match running {
                Ok(mut running) => {
                    self.port = running.port;
                    self.pid.store(running.child.id().unwrap_or_default(), Ordering::Release);
                    if let Some(started) = started.take() {
                        let _ = started.send(Ok(running.port));
                    }
                    tokio::select! {
                        status = running.child.wait() => {
                            self.pid.store(0, Ordering::Release);
                            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                            tracing::warn!(status, "the warehouse engine ended; it is started again");
                        }
                        deadline = &mut stop => {
                            self.pid.store(0, Ordering::Release);
                            end(running, deadline.unwrap_or(DROPPED_DEADLINE)).await;
                            return;
                        }
                    }
                }
                Err(error) => match started.take() {
                    Some(started) => return drop(started.send(Err(error))),
                    None => tracing::error!(%error, "the warehouse engine does not start; trying again"),
                },
            }
            if begun.elapsed() >= WELL_AFTER {
                backoff = BACKOFF_MIN;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                _ = &mut stop => return,
            }
            backoff = BACKOFF_MAX.min(backoff * 2);
        }
    }

    async fn launch(&self) -> Result<Running, StartError> {
        let program = match &self.settings.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        let arguments = ChildArguments {
            library: self.settings.library.clone(),
            data: self.settings.data_dir.clone(),
            port: self.port,
            memory_bytes: self.settings.memory_limit_bytes,
            parent: std::process::id(),
        };
        let mut child = Command::new(program)
            .args(&self.settings.arguments)
            .args(arguments.to_arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at a terminal goes to the whole group; the parent drains first and then stops the child.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("no stdin"))?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no stderr"))?;
        let mut complaints = BufReader::new(stderr).lines();
        let mut lines = BufReader::new(stdout).lines();
        let greeting = async {
            stdin.write_all(format!("{}\n", self.password).as_bytes()).await?;
            loop {
                match lines.next_line().await? {
                    None => return Ok(None),
                    Some(line) => {
                        if let Some(port) = line.strip_prefix(READY).and_then(|port| port.trim().parse().ok())
                        {
                            return Ok(Some(port));
                        }
                    }
                }
            }
        };
        let port = match tokio::time::timeout(START_TIMEOUT, greeting).await {
            Err(_) => return Err(StartError::Timeout),
            Ok(Err(error)) => return Err(last_words(&mut complaints, Some(&error)).await),
            Ok(Ok(None)) => return Err(last_words(&mut complaints, None).await),
            Ok(Ok(Some(port))) => port,
        };
        #[allow(clippy::disallowed_methods, reason = "ends with the child, on the supervisor's own runtime")]
        tokio::spawn(async move {
            while let Ok(Some(line)) = complaints.next_line().await {
                tracing::warn!(line, "the warehouse engine says");
            }
        });
        Ok(Running { child, stdin, _stdout: lines, port })
    }
}

/// The child's last line of complaint.
async fn last_words<R>(complaints: &mut Lines<BufReader<R>>, error: Option<&io::Error>) -> StartError
where
    R: tokio::io::AsyncRead + Unpin,
{
    let mut last = None;
    let all_said = async {
        while let Ok(Some(line)) = complaints.next_line().await {
            last = Some(line);
        }
    };
    // Whoever else holds its standard error open has nothing to say of the start; what was read until then stands.
    let _ = tokio::time::timeout(LAST_WORDS, all_said).await;
    let fallback = || error.map_or_else(|| "the engine ended at its start".to_owned(), io::Error::to_string);
    StartError::Child(last.unwrap_or_else(fallback))
}

async fn end(running: Running, deadline: Duration) {
    let Running { mut child, stdin, .. } = running;
    drop(stdin);
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if tokio::time::timeout(deadline, child.wait()).await.is_err() {
        tracing::warn!("the warehouse engine did not stop in time; it is killed");
        let _ = child.kill().await;
    }
}
