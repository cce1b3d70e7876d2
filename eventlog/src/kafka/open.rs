//! Whether the log is open, and what of it still runs.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Error;

/// Shared by everything that belongs to one log.
#[derive(Debug)]
pub(super) struct Open {
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    running: usize,
}

impl Default for Open {
    fn default() -> Self {
        Self { state: watch::Sender::new(State::default()) }
    }
}

/// Something that runs; closing waits until it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    open: Arc<Open>,
}

impl Open {
    /// Registers something that runs, unless the log is closed.
    pub(super) fn start(self: &Arc<Self>) -> Result<Running, Error> {
        let started = self.state.send_if_modified(|state| {
            let open = !state.closed;
            state.running += usize::from(open);
            open
        });
        if started { Ok(Running { open: Arc::clone(self) }) } else { Err(Error::Closed) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Lets nothing start any more.
    pub(super) fn refuse(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    /// Lets nothing start and waits for what runs.
    pub(super) async fn close(&self) {
        self.refuse();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.state.subscribe().wait_for(|state| state.running == 0).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.open.state.send_modify(|state| state.running -= 1);
    }
}
