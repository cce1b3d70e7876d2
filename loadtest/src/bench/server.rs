//! The servers of a measurement: started, waited for, killed at its end.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use super::cpu::Cpu;
use crate::LoadError;
use crate::process;

/// How long a server may take to be there: a broker with its virtual machine takes longest.
const START_LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
/// Lines of a server's standard output that may wait to be read.
const LINES: usize = 256;
/// A server that used less than this share of a core since the last look has nothing left to do.
const QUIET_SHARE: f64 = 0.05;
const QUIET_LOOK: Duration = Duration::from_millis(500);
const QUIET_LIMIT: Duration = Duration::from_secs(60);

/// A child process, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    name: &'static str,
    lines: Option<Receiver<String>>,
    /// Where it answers HTTP.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server that listens on a port that it was told.
    pub(crate) fn start(name: &'static str, mut command: Command, port: u16) -> Result<Self, LoadError> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.map_err(|error| failed(name, &error.to_string()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Self { child, name, lines: None, address };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            server.must_run()?;
            if Instant::now() > deadline {
                return Err(failed(name, "it does not listen"));
            }
            std::thread::sleep(POLL);
        }
        Ok(server)
    }

    /// Starts one of our roles, which says where it listens in a line that begins with `says`.
    pub(crate) fn start_role(
        name: &'static str,
        mut command: Command,
        says: &str,
    ) -> Result<Self, LoadError> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| failed(name, &error.to_string()))?;
        let stdout = child.stdout.take().ok_or_else(|| failed(name, "its output is gone"))?;
        let (send, lines) = sync_channel(LINES);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self { child, name, lines: Some(lines), address };
        server.address = server.announced(says)?;
        Ok(server)
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
        // SIGTERM first: nginx's workers are its master's to end, the engine is its parent's.
        let pid = i32::try_from(self.child.id()).unwrap_or_default();
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(POLL);
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
    Server::start("nginx", command, port)
}

/// A Kafka broker.
pub(crate) fn kafka(repository: &Path, dir: &Path) -> Result<Server, LoadError> {
    let port = free_port()?;
    let mut command = Command::new(repository.join("deploy/kafka/kafka.sh"));
    command.args(["start", "--port", &port.to_string(), "--data"]).arg(dir.join("kafka"));
    Server::start("kafka", command, port)
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
