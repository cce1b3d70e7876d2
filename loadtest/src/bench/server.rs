//! The servers of a measurement: started, waited for, killed at its end.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::cpu::Cpu;
use crate::LoadError;
use crate::process;

/// How long a server may take to be there: a broker with its virtual machine takes longest.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long it may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Lines of a server's standard output that may wait to be read.
const LINES: usize = 256;
/// A server that used less than this share of a core since the last look has nothing left to do.
const QUIET_SHARE: f64 = 0.05;
const QUIET_LOOK: Duration = Duration::from_millis(500);
const QUIET_LIMIT: Duration = Duration::from_secs(60);

/// A child process, killed when it is dropped.
pub(crate) struct Server {
    command: Command,
    child: Child,
    name: &'static str,
    ready: Ready,
    lines: Option<Receiver<String>>,
    /// Where it answers.
    pub(crate) address: SocketAddr,
}

/// How a server is known to be there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ready {
    /// It takes connections on a port that it was told.
    Listens(u16),
    /// It says where it listens, in a line that begins so.
    Says(&'static str),
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(name: &'static str, mut command: Command, ready: Ready) -> Result<Self, LoadError> {
        let output = match ready {
            Ready::Listens(_) => Stdio::null(),
            Ready::Says(_) => Stdio::piped(),
        };
        command.stdin(Stdio::null()).stdout(output);
        let child = command.spawn().map_err(|error| failed(name, &error.to_string()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { command, child, name, ready, lines: None, address };
        server.await_ready()?;
        Ok(server)
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), LoadError> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) -> Result<(), LoadError> {
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_LIMIT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(failed(self.name, "it goes on after SIGTERM"));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), LoadError> {
        let pid = i32::try_from(self.child.id()).unwrap_or_default();
        nix::sys::signal::kill(Pid::from_raw(pid), signal).map_err(|error| failed(self.name, error.desc()))
    }

    /// Starts it again, after it was killed or stopped, and waits until it is ready.
    pub(crate) fn start_again(&mut self) -> Result<(), LoadError> {
        self.child = self.command.spawn().map_err(|error| failed(self.name, &error.to_string()))?;
        self.await_ready()
    }

    fn await_ready(&mut self) -> Result<(), LoadError> {
        match self.ready {
            Ready::Listens(port) => {
                self.address = SocketAddr::from(([127, 0, 0, 1], port));
                let deadline = Instant::now() + START_LIMIT;
                while TcpStream::connect(self.address).is_err() {
                    self.must_run()?;
                    if Instant::now() > deadline {
                        return Err(failed(self.name, "it does not listen"));
                    }
                    std::thread::sleep(POLL);
                }
            }
            Ready::Says(line) => {
                let stdout =
                    self.child.stdout.take().ok_or_else(|| failed(self.name, "its output is gone"))?;
                let (send, lines) = sync_channel(LINES);
                std::thread::spawn(move || {
                    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                        if send.send(line).is_err() {
                            return;
                        }
                    }
                });
                self.lines = Some(lines);
                self.address = self.announced(line)?;
            }
        }
        Ok(())
    }

    /// The address in the next line that begins so.
    pub(crate) fn announced(&self, says: &str) -> Result<SocketAddr, LoadError> {
        let lines = self.lines.as_ref().ok_or_else(|| failed(self.name, "it announces nothing"))?;
        loop {
            let line = lines
                .recv_timeout(START_LIMIT)
                .map_err(|_| failed(self.name, &format!("it did not say {says:?}")))?;
            if let Some(url) = line.strip_prefix(says) {
                let address = url.trim().trim_start_matches("http://").parse();
                return address.map_err(|_| failed(self.name, &format!("{url:?} is no address")));
            }
        }
    }

    /// Its process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it and its children have used.
    pub(crate) fn cpu(&self) -> Cpu {
        Cpu::of(self.pid())
    }

    /// Its resident memory in MiB, without its children's.
    pub(crate) fn resident_mib(&self) -> Result<f64, LoadError> {
        Ok(process::usage(self.pid())?.resident_kib as f64 / 1024.0)
    }

    /// Waits until it has done what it had still to do, so that the next measurement has the machine to itself.
    pub(crate) fn settle(&mut self) -> Result<(), LoadError> {
        let deadline = Instant::now() + QUIET_LIMIT;
        let mut before = self.cpu();
        while Instant::now() < deadline {
            std::thread::sleep(QUIET_LOOK);
            self.must_run()?;
            let now = self.cpu();
            if now.since(&before).total().as_secs_f64() < QUIET_SHARE * QUIET_LOOK.as_secs_f64() {
                return Ok(());
            }
            before = now;
        }
        Ok(())
    }

    fn must_run(&mut self) -> Result<(), LoadError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(failed(self.name, &format!("it ended with {status}"))),
            Err(error) => Err(failed(self.name, &error.to_string())),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM first: nginx's workers are its master's to end, the engine is its parent's. A stopped one must go on for it.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal(Signal::SIGCONT);
            let _ = self.stop();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn failed(name: &str, reason: &str) -> LoadError {
    LoadError::Server { name: name.to_owned(), reason: reason.to_owned() }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, LoadError> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// nginx, with an empty pixel at `/p.gif` and a redirect below `/c/`.
pub(crate) fn nginx(repository: &Path, dir: &Path) -> Result<Server, LoadError> {
    let port = free_port()?;
    let mut command = Command::new(repository.join("deploy/nginx/nginx.sh"));
    command.args(["start", "--port", &port.to_string(), "--dir"]).arg(dir.join("nginx"));
    Server::start("nginx", command, Ready::Listens(port))
}

/// A Kafka broker.
pub(crate) fn kafka(repository: &Path, dir: &Path) -> Result<Server, LoadError> {
    let port = free_port()?;
    let mut command = Command::new(repository.join("deploy/kafka/kafka.sh"));
    command.args(["start", "--port", &port.to_string(), "--data"]).arg(dir.join("kafka"));
    Server::start("kafka", command, Ready::Listens(port))
}

/// The engine's library, as `deploy/engine/fetch.sh` says where it is.
pub(crate) fn engine_library(repository: &Path) -> Result<PathBuf, LoadError> {
    let said = Command::new(repository.join("deploy/engine/fetch.sh")).output()?;
    let path = String::from_utf8_lossy(&said.stdout);
    let path = path.lines().last().unwrap_or_default().trim();
    if said.status.success() && !path.is_empty() {
        Ok(PathBuf::from(path))
    } else {
        Err(failed("engine", &String::from_utf8_lossy(&said.stderr)))
    }
}
