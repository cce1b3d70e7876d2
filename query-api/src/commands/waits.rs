//! Who waits for which command.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::id::EventId;
use schemas::result::CommandResult;
use tokio::sync::oneshot;

/// All waits of the process.
#[derive(Default)]
pub(super) struct Waits {
    waiting: Mutex<HashMap<EventId, oneshot::Sender<CommandResult>>>,
}

impl Waits {
    /// Begins to wait.
    pub(super) fn register(waits: &Arc<Self>, command: EventId) -> Wait {
        let (sender, receiver) = oneshot::channel();
        waits.waiting.lock().insert(command, sender);
        Wait { waits: Arc::clone(waits), command, receiver }
    }

    /// Tells whoever waits for this command; most results are another desk's.
    pub(super) fn tell(&self, result: CommandResult) {
        let Some(waiting) = self.waiting.lock().remove(&result.event) else { return };
        // Whoever has gone meanwhile needs no answer.
        let _gone = waiting.send(result);
    }
}

/// A wait for the result of a command; it ends when it is dropped.
pub(crate) struct Wait {
    waits: Arc<Waits>,
    command: EventId,
    receiver: oneshot::Receiver<CommandResult>,
}

impl Wait {
    /// The result, once it is told. To be awaited until it comes, and not again.
    pub(crate) async fn result(&mut self) -> CommandResult {
        match (&mut self.receiver).await {
            Ok(result) => result,
            // Nobody tells any more: whoever waits has a deadline.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waits.waiting.lock().remove(&self.command);
    }
}

#[cfg(test)]
mod tests {
    use schemas::fact::OutcomeStatus;
    use schemas::id::WorkspaceNumber;

    use super::*;

    fn result(number: u8) -> CommandResult {
        CommandResult {
            workspace: WorkspaceNumber::NONE,
            event: EventId::from_bytes([number; 16]),
            status: OutcomeStatus::Updated,
            reason: String::new(),
            conversion: None,
        }
    }

    #[tokio::test]
    async fn each_wait_gets_its_own_result_and_leaves_nothing_behind() {
        let waits = Arc::new(Waits::default());
        let mut first = Waits::register(&waits, result(1).event);
        let second = Waits::register(&waits, result(2).event);
        waits.tell(result(3));
        waits.tell(result(1));
        // An owner that tells once more tells nobody.
        waits.tell(result(1));
        assert_eq!(first.result().await, result(1));
        drop((first, second));
        waits.tell(result(2));
        assert!(waits.waiting.lock().is_empty());
    }
}
