//! How a process ends itself as `kill -9` would.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use processor::{Failpoint, Failpoints};
use tributary::Interference;
use warehouse::Endpoint;

use crate::proxy::{Proxy, Treatment};

/// The point in the middle of an INSERT: a part of its body is sent. It lies between the process and its warehouse.
pub const IN_INSERT: &str = "in_insert";

/// What a process says before it ends itself at `point`.
pub fn last_words(point: &str) -> String {
    format!("dies at {point}")
}

/// Has a process end itself when it reaches a point for the `times`th time; `None` if there is no such point.
pub fn at(point: &str, times: u32) -> Option<Interference> {
    let left = Arc::new(AtomicU32::new(times));
    let is_due = move || left.fetch_sub(1, Ordering::Relaxed) == 1;
    if point == IN_INSERT {
        let is_due = Arc::new(is_due);
        let before = move |endpoint: Endpoint| {
            let is_due = Arc::clone(&is_due);
            let judge =
                move |_: &str| if is_due() { Treatment::Halfway(die_in_insert) } else { Treatment::Pass };
            Proxy::before(endpoint, judge)
        };
        return Some(Interference { before_warehouse: Some(Arc::new(before)), ..Interference::default() });
    }
    let wanted = Failpoint::ALL.into_iter().find(|known| known.name() == point)?;
    let reached = move |point: Failpoint| {
        if point == wanted && is_due() {
            die(point.name());
        }
    };
    Some(Interference { failpoints: Failpoints::calling(reached), ..Interference::default() })
}

fn die_in_insert() {
    die(IN_INSERT);
}

/// Says where, and ends the process by SIGKILL.
fn die(point: &str) -> Infallible {
    let mut stdout = std::io::stdout().lock();
    // Whoever waits for the words misses them; there is nobody else to tell.
    let _ = writeln!(stdout, "{}", last_words(point)).and_then(|()| stdout.flush());
    loop {
        let _ = kill(Pid::this(), Signal::SIGKILL);
        std::thread::sleep(Duration::from_secs(1));
    }
}
