//! A real Kafka broker for tests, started with `deploy/kafka/kafka.sh`. Needs nothing but the standard library, so that
//! other crates' tests can include this file.
//!
//! A shell stands between the test process and the broker and holds the read end of a pipe. However the test process
//! ends, the pipe closes; the shell then kills the broker and removes its data.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A broker starts in 2 to 5 s on an idle machine and has to wait for its old session after a kill.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Below the range that the kernel takes ports of outgoing connections from, so that a killed broker's port stays free.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 8_000;

/// `$0` is the script, `$1` the port, `$2` the data, `$3` the log file. A line on standard input: kill the broker and
/// keep its data. The end of the input: remove the data, too.
const SUPERVISOR: &str = r#"
trap '' INT TERM HUP
"$0" start --port "$1" --data "$2" >>"$3" 2>&1 </dev/null &
broker=$!
if read -r _; then remove=; else remove=1; fi
kill -9 "$broker"
wait "$broker"
if [ -n "$remove" ]; then rm -rf "$2" "$3"; fi
"#;

/// A running broker with data of its own; killed and removed when dropped or when the process ends.
#[derive(Debug)]
pub struct Broker {
    port: u16,
    data: PathBuf,
    supervisor: Option<Child>,
}

impl Broker {
    /// The broker that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a broker on a free port and waits until it takes connections.
    pub fn start() -> Self {
        let port = free_port();
        let data = std::env::temp_dir().join(format!("tributary-kafka-{}-{port}", std::process::id()));
        let mut broker = Self { port, data, supervisor: None };
        broker.restart();
        broker
    }

    /// Where clients connect to.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the broker as `kill -9` does; its data stays.
    pub fn kill(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            // One that has ended by itself, as after SIGTERM, waits for this line, too.
            supervisor.stdin.take().unwrap().write_all(b"keep\n").unwrap();
            supervisor.wait().unwrap();
        }
    }

    /// Sends the broker a signal, named as `kill` names it: it is paused by `STOP` and goes on after `CONT`.
    pub fn signal(&self, signal: &str) {
        let supervisor = self.supervisor.as_ref().expect("the broker is not running").id();
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
        let broker = children.split_whitespace().next().expect("the supervisor has no broker");
        assert!(Command::new("kill").args(["-s", signal, broker]).status().unwrap().success());
    }

    /// Starts the broker again after [`Self::kill`], with the same port and data.
    pub fn restart(&mut self) {
        assert!(self.supervisor.is_none(), "the broker is running");
        let supervisor = Command::new("sh")
            .arg("-c")
            .arg(SUPERVISOR)
            .arg(script())
            .arg(self.port.to_string())
            .arg(&self.data)
            .arg(self.log_file())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.supervisor = Some(supervisor);
        self.await_connections();
    }

    fn await_connections(&self) {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(self.address()).is_err() {
            let log = || fs::read_to_string(self.log_file()).unwrap_or_default();
            assert!(Instant::now() < deadline, "the Kafka broker did not start:\n{}", log());
            assert!(!log().contains("kafka.sh:"), "the Kafka broker cannot be started:\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn log_file(&self) -> PathBuf {
        self.data.with_extension("log")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        } else {
            let _ = fs::remove_dir_all(&self.data);
            let _ = fs::remove_file(self.log_file());
        }
    }
}

/// The script, looked for from the including crate's folder upwards.
fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|dir| dir.join("deploy/kafka/kafka.sh"))
        .find(|script| script.exists())
        .expect("deploy/kafka/kafka.sh is not above this crate")
}

fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that start at the same time begin far from each other.
    let first = (std::process::id() as u16).wrapping_mul(97);
    for _ in 0..PORTS {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        if TcpListener::bind(("127.0.0.1", FIRST_PORT + offset)).is_ok() {
            return FIRST_PORT + offset;
        }
    }
    panic!("no free port between {FIRST_PORT} and {}", FIRST_PORT + PORTS);
}
