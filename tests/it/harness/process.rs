//! Child processes of a test: built once, killed with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// How long a process may take to say that it is up.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long it may take to end after SIGTERM: longer than any deadline of its own.
const STOP_LIMIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(10);

/// The repository's folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The path of one of our binaries, built from the present code.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--bin", "tributary", "--bin", "loadtest"])
            .args(["--bin", "tributary-that-dies"])
            .current_dir(repository())
            .status()
            .unwrap();
        assert!(status.success(), "the binaries do not build");
        // The test binary lies in `deps` below the folder of the binaries.
        std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned()
    });
    dir.join(name)
}

/// A port that was free a moment ago, below the range from which the kernel takes those of outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let first = (std::process::id() as u16).wrapping_mul(31) % 4_000;
    loop {
        let offset = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = 21_000 + first.wrapping_add(offset) % 8_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A running process. Killed when dropped; it dies with the test process, too.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    name: String,
}

impl Process {
    /// Starts a process and waits until it has printed a line that begins with `ready`.
    pub fn start(name: &str, command: Command, ready: &str) -> Self {
        let process = Self::spawn(name, command);
        process.await_line(ready);
        process
    }

    /// Starts a process.
    pub fn spawn(name: &str, mut command: Command) -> Self {
        // Else a killed test would leave its processes behind.
        #[allow(
            unsafe_code,
            reason = "between fork and exec only async-signal-safe calls are made: prctl is one"
        )]
        unsafe {
            command.pre_exec(|| {
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(Into::into)
            });
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = sync_channel(1_024);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, name: name.to_owned() }
    }

    fn await_line(&self, ready: &str) {
        while !self.next_line(ready).starts_with(ready) {}
    }

    /// The next line of its standard output; panics, naming what was waited for, if none comes.
    pub fn next_line(&self, wanted: &str) -> String {
        let line = self.lines.recv_timeout(START_LIMIT);
        line.unwrap_or_else(|error| panic!("{} did not say {wanted:?}: {error}", self.name))
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended itself by SIGKILL at a point, with nobody's help.
    pub fn await_own_death(mut self, point: &str) {
        self.await_line(&tests::death::last_words(point));
        let status = self.child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(nix::sys::signal::Signal::SIGKILL as i32),
            "{} ended with {status} at {point}",
            self.name
        );
    }

    /// SIGTERM, and waits until it has ended well.
    pub fn stop(mut self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let deadline = Instant::now() + STOP_LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{} goes on after SIGTERM", self.name);
            std::thread::sleep(POLL);
        };
        assert!(status.success(), "{} ended with {status} after SIGTERM", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
