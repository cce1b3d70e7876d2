//! Start and stop: one shutdown that everything hears, and tasks that cannot end unseen.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::server::{
    Encrypted, Handler, ServeSettings, Server, ServerError, ServerMetrics, Threads, TlsError, listen, serve,
};

/// The word to stop, heard by everyone who holds a copy.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// A shutdown that has not started.
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that starts with this one at the latest; starting it leaves this one alone. For stopping in stages.
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token() }
    }

    /// Starts the shutdown; a second time changes nothing.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Whether the shutdown has started.
    pub fn is_started(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for the shutdown to start. May be dropped and called again.
    pub async fn started(&self) {
        self.token.cancelled().await;
    }
}

/// Why the tasks did not end well.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// A task failed, and the rest was shut down because of it.
    #[error("{task} {reason}")]
    Failed {
        /// The task's name.
        task: String,
        /// What happened to it.
        reason: String,
    },
    /// Some tasks did not end in time and were cut off.
    #[error("not ended {deadline:?} after the shutdown began: {tasks}")]
    Deadline {
        /// The time they had.
        deadline: Duration,
        /// Their names.
        tasks: String,
    },
}

/// All tasks of a process. A task that fails or panics, or ends before the shutdown, starts the shutdown.
#[derive(Debug, Clone)]
pub struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shutdown: Shutdown,
    tracker: TaskTracker,
    next: AtomicU64,
    running: Mutex<HashMap<u64, Running>>,
    failure: OnceLock<(String, String)>,
}

#[derive(Debug)]
struct Running {
    name: Cow<'static, str>,
    // A blocking task has none: a thread cannot be cut off.
    abort: Option<AbortHandle>,
}

/// When a task may end.
#[derive(Debug)]
enum Life {
    Until(Shutdown),
    Errand,
}

impl Life {
    fn may_end(&self) -> bool {
        match self {
            Self::Until(shutdown) => shutdown.is_started(),
            Self::Errand => true,
        }
    }
}

impl Tasks {
    /// No tasks yet; the first failure triggers `shutdown`.
    pub fn new(shutdown: Shutdown) -> Self {
        let inner = Inner {
            shutdown,
            tracker: TaskTracker::new(),
            next: AtomicU64::new(0),
            running: Mutex::new(HashMap::new()),
            failure: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The shutdown that a failure of a task triggers.
    pub fn shutdown(&self) -> &Shutdown {
        &self.inner.shutdown
    }

    /// Runs a task that lives until the shutdown: its end before that, a panic or an error start it.
    pub fn spawn<E: fmt::Display>(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.spawn_async(name.into(), Life::Until(self.inner.shutdown.clone()), task);
    }

    /// Runs a task that lives until `end`, for what is stopped in a stage of its own before the shutdown.
    pub fn spawn_until<E: fmt::Display>(
        &self,
        end: &Shutdown,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.spawn_async(name.into(), Life::Until(end.clone()), task);
    }

    /// Runs a task that may end at any time; only a panic or an error start the shutdown.
    pub fn spawn_errand<E: fmt::Display>(
        &self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.spawn_async(name.into(), Life::Errand, task);
    }

    /// Runs work that blocks, on a thread of its own, until `end`; it has to watch that by itself.
    pub fn spawn_blocking<E: fmt::Display>(
        &self,
        end: &Shutdown,
        name: impl Into<Cow<'static, str>>,
        work: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) {
        let tasks = self.clone();
        let number = self.enter(name.into());
        let life = Life::Until(end.clone());
        self.inner.tracker.spawn_blocking(move || {
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(work));
            tasks.leave(number, &life, &describe(outcome));
        });
    }

    /// Runs a task that lives until `end` on a thread of its own, which has a runtime of its own: what others have to do does
    /// not keep it waiting, and its CPU time can be told from theirs. `make` makes the task inside that runtime.
    ///
    /// # Errors
    /// If the system gives no thread, or the runtime cannot be had.
    pub fn spawn_thread<F, E>(
        &self,
        end: &Shutdown,
        name: impl Into<String>,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = Result<(), E>>,
        E: fmt::Display,
    {
        let name = name.into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tasks, life, token) = (self.clone(), Life::Until(end.clone()), self.inner.tracker.token());
        let number = self.enter(Cow::Owned(name.clone()));
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let task = || runtime.block_on(async { make().await });
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(task));
            tasks.leave(number, &life, &describe(outcome));
            drop(token);
        });
        if thread.is_err() {
            self.leave(number, &Life::Errand, &Ok(()));
        }
        thread.map(drop)
    }

    fn spawn_async<E: fmt::Display>(
        &self,
        name: Cow<'static, str>,
        life: Life,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let tasks = self.clone();
        let number = self.enter(name);
        let handle = self.inner.tracker.spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            // The error itself may not be Send; its text is.
            let outcome = describe(outcome);
            tasks.leave(number, &life, &outcome);
        });
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = running.get_mut(&number) {
            entry.abort = Some(handle.abort_handle());
        }
    }

    fn enter(&self, name: Cow<'static, str>) -> u64 {
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(number, Running { name, abort: None });
        number
    }

    fn leave(&self, number: u64, life: &Life, outcome: &Result<(), String>) {
        let entry = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        let name = entry.map_or(Cow::Borrowed("task"), |entry| entry.name);
        let reason = match outcome {
            Ok(()) if life.may_end() || self.inner.shutdown.is_started() => {
                tracing::debug!(task = %name, "ended");
                return;
            }
            Ok(()) => "ended before the shutdown",
            Err(reason) => reason,
        };
        tracing::error!(task = %name, reason, "task failed");
        // Only the first failure is the cause; the others follow from it.
        let _ = self.inner.failure.set((name.into_owned(), reason.to_owned()));
        self.inner.shutdown.trigger();
    }

    /// Waits for the shutdown to start, and from then at most `deadline` for all tasks to end; cuts off the rest.
    ///
    /// A blocking task cannot be cut off: it is named and left behind.
    pub async fn join_all(&self, deadline: Duration) -> Result<(), TasksError> {
        self.inner.shutdown.started().await;
        self.inner.tracker.close();
        let in_time = tokio::time::timeout(deadline, self.inner.tracker.wait()).await;
        if let Some((task, reason)) = self.inner.failure.get() {
            self.abort_all();
            return Err(TasksError::Failed { task: task.clone(), reason: reason.clone() });
        }
        match in_time {
            Ok(()) => Ok(()),
            Err(_) => Err(TasksError::Deadline { deadline, tasks: self.abort_all() }),
        }
    }

    fn abort_all(&self) -> String {
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = Vec::with_capacity(running.len());
        for (_, task) in running.drain() {
            if let Some(abort) = task.abort {
                abort.abort();
            }
            names.push(task.name);
        }
        names.sort();
        names.join(", ")
    }
}

fn describe<E: fmt::Display>(
    outcome: Result<Result<(), E>, Box<dyn std::any::Any + Send>>,
) -> Result<(), String> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("failed: {error}")),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            Err(format!("panicked: {}", text.unwrap_or("without a message")))
        }
    }
}

/// The signals that ask a process to end.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on the signals no longer kill the process. Call it before anything that needs a tidy end.
    pub fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them and returns its name.
    pub async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for SIGTERM or SIGINT and returns its name.
pub async fn signals() -> io::Result<&'static str> {
    Ok(Signals::install()?.received().await)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn tasks() -> Tasks {
        Tasks::new(Shutdown::new())
    }

    fn never() -> impl Future<Output = Result<(), String>> {
        std::future::pending()
    }

    #[tokio::test]
    async fn tasks_end_with_the_shutdown() {
        let tasks = tasks();
        let heard = tasks.shutdown().clone();
        tasks.spawn("listener", async move {
            heard.started().await;
            Ok::<(), String>(())
        });
        tasks.spawn_errand("errand", async { Ok::<(), String>(()) });
        let heard = tasks.shutdown().clone();
        tasks.spawn_blocking(tasks.shutdown(), "worker", move || {
            futures::executor::block_on(heard.started());
            Ok::<(), String>(())
        });
        let heard = tasks.shutdown().clone();
        let thread = tasks.spawn_thread(tasks.shutdown(), "loner", move || async move {
            heard.started().await;
            Ok::<(), String>(())
        });
        thread.unwrap();
        assert!(!tasks.shutdown().is_started());
        tasks.shutdown().trigger();
        tasks.join_all(SOON).await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_a_panic_and_an_early_end_start_the_shutdown() {
        let failed = tasks();
        failed.spawn("reader", async { Err("disk is gone") });
        assert_eq!(failed.join_all(SOON).await.unwrap_err().to_string(), "reader failed: disk is gone");

        let panicked = tasks();
        panicked.spawn_blocking(panicked.shutdown(), "decider", || -> Result<(), String> {
            panic!("at event {}", 7)
        });
        assert_eq!(panicked.join_all(SOON).await.unwrap_err().to_string(), "decider panicked: at event 7");

        let alone = tasks();
        let thread = alone.spawn_thread(alone.shutdown(), "loner", || async { Err("nobody came") });
        thread.unwrap();
        assert_eq!(alone.join_all(SOON).await.unwrap_err().to_string(), "loner failed: nobody came");

        let ended = tasks();
        ended.spawn("sink", async { Ok::<(), String>(()) });
        assert_eq!(ended.join_all(SOON).await.unwrap_err().to_string(), "sink ended before the shutdown");
    }

    #[tokio::test]
    async fn a_stage_may_end_before_the_shutdown_but_not_before_its_own_end() {
        let (tasks, stage) = (tasks(), Shutdown::new());
        let (ended, was_ended) = oneshot::channel::<()>();
        let heard = stage.clone();
        tasks.spawn_until(&stage, "appender", async move {
            let _ended = ended;
            heard.started().await;
            Ok::<(), String>(())
        });
        stage.trigger();
        assert!(was_ended.await.is_err());
        assert!(!tasks.shutdown().is_started());
        tasks.spawn_until(&Shutdown::new(), "early", async { Ok::<(), String>(()) });
        assert_eq!(tasks.join_all(SOON).await.unwrap_err().to_string(), "early ended before the shutdown");
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_is_named_and_cut_off() {
        let tasks = tasks();
        let (dropped, was_dropped) = oneshot::channel::<()>();
        tasks.spawn("stuck", async move {
            let _dropped = dropped;
            never().await
        });
        tasks.spawn("also stuck", never());
        tasks.shutdown().trigger();
        let error = tasks.join_all(Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(error.to_string(), "not ended 10ms after the shutdown began: also stuck, stuck");
        assert!(tokio::time::timeout(SOON, was_dropped).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_child_shutdown_leaves_its_parent_alone() {
        let parent = Shutdown::new();
        let (first, second) = (parent.child(), parent.child());
        first.trigger();
        assert!(first.is_started() && !parent.is_started() && !second.is_started());
        parent.trigger();
        assert!(second.is_started());
    }

    #[tokio::test]
    async fn a_signal_is_received_and_does_not_kill() {
        let mut signals = Signals::install().unwrap();
        let itself = std::process::id().to_string();
        let sent = tokio::process::Command::new("kill").args(["-TERM", &itself]).status().await.unwrap();
        assert!(sent.success());
        assert_eq!(tokio::time::timeout(SOON, signals.received()).await.unwrap(), "SIGTERM");
    }
}
