//! Tasks that shutdown waits for, and the one signal that tells them to stop.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// Why the daemon stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopCause {
    /// Somebody asked for it: the name of the signal.
    Asked(&'static str),
    /// A task that everything depends on has ended or panicked: its name.
    TaskDied(&'static str),
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(signal) => write!(f, "{signal}"),
            Self::TaskDied(name) => write!(f, "the task {name} died"),
        }
    }
}

/// The signal to stop, as everybody who must stop sees it.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Option<StopCause>>);

impl Stop {
    /// Waits until the daemon stops.
    pub async fn wait(&mut self) {
        // Nobody left who could ask for it means the same.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// Why the daemon stops; `None` while it does not.
    #[must_use]
    pub fn cause(&self) -> Option<StopCause> {
        self.0.borrow().clone()
    }
}

/// Everything that runs beside the requests.
pub struct Tasks {
    stop: watch::Sender<Option<StopCause>>,
    set: Mutex<JoinSet<()>>,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    next: u64,
    names: BTreeMap<u64, &'static str>,
}

/// Whether the end of a task is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    UntilStop,
    Brief,
}

/// Takes a task off the list however it ends, and stops the daemon if it should not have ended.
struct AtEnd {
    number: u64,
    name: &'static str,
    life: Life,
    has_returned: bool,
    stop: watch::Sender<Option<StopCause>>,
    running: Arc<Mutex<Running>>,
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        lock(&self.running).names.remove(&self.number);
        if self.life == Life::UntilStop || !self.has_returned {
            ask(&self.stop, StopCause::TaskDied(self.name));
        }
    }
}

/// The first cause counts.
fn ask(stop: &watch::Sender<Option<StopCause>>, cause: StopCause) {
    stop.send_if_modified(|current| {
        let is_first = current.is_none();
        if is_first {
            *current = Some(cause);
        }
        is_first
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self { stop: watch::Sender::new(None), set: Mutex::default(), running: Arc::default() }
    }

    /// The signal that every long task must heed.
    #[must_use]
    pub fn stop(&self) -> Stop {
        Stop(self.stop.subscribe())
    }

    /// Tells all tasks to stop.
    pub fn ask_to_stop(&self, cause: StopCause) {
        ask(&self.stop, cause);
    }

    /// Runs a task that lives as long as the daemon: if it returns or panics before the daemon stops, the daemon stops.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.start(name, Life::UntilStop, task);
    }

    /// Runs a task that has an end of its own: only a panic stops the daemon.
    pub fn spawn_brief(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.start(name, Life::Brief, task);
    }

    fn start(&self, name: &'static str, life: Life, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = lock(&self.running);
        let number = running.next;
        running.next += 1;
        running.names.insert(number, name);
        drop(running);
        let (stop, running) = (self.stop.clone(), Arc::clone(&self.running));
        let at_end = AtEnd { number, name, life, has_returned: false, stop, running };
        let mut set = lock(&self.set);
        while set.try_join_next().is_some() {}
        set.spawn(async move {
            // Named as a whole: a closure would otherwise capture a copy of the one field.
            let mut at_end = at_end;
            task.await;
            at_end.has_returned = true;
        });
    }

    /// Waits for all tasks, at most for `deadline`, then ends the rest; returns the names of those.
    ///
    /// Call [`Self::ask_to_stop`] first, or it will wait in vain.
    pub async fn finish(&self, deadline: Duration) -> Vec<&'static str> {
        let mut set = std::mem::take(&mut *lock(&self.set));
        let all = async { while set.join_next().await.is_some() {} };
        if timeout(deadline, all).await.is_ok() {
            return Vec::new();
        }
        let left: Vec<&'static str> = lock(&self.running).names.values().copied().collect();
        set.shutdown().await;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_too_early_stops_the_daemon() {
        let tasks = Tasks::new();
        tasks.spawn("sealer", async {});
        tasks.stop().wait().await;
        assert_eq!(tasks.stop().cause(), Some(StopCause::TaskDied("sealer")));
    }

    #[tokio::test]
    async fn a_panic_stops_the_daemon_and_names_the_task() {
        let tasks = Tasks::new();
        tasks.spawn_brief("import", async { panic!("on purpose") });
        tasks.stop().wait().await;
        assert_eq!(tasks.stop().cause(), Some(StopCause::TaskDied("import")));
    }

    #[tokio::test]
    async fn shutdown_waits_for_tasks_and_keeps_the_first_cause() {
        let tasks = Tasks::new();
        let (done, mut was_done) = watch::channel(false);
        let mut stop = tasks.stop();
        tasks.spawn_brief("brief", async {});
        tasks.spawn("job", async move {
            stop.wait().await;
            done.send_replace(true);
        });
        tokio::task::yield_now().await;
        assert_eq!(tasks.stop().cause(), None);
        tasks.ask_to_stop(StopCause::Asked("SIGTERM"));
        assert_eq!(tasks.finish(Duration::from_secs(5)).await, Vec::<&str>::new());
        assert!(*was_done.borrow_and_update());
        assert_eq!(tasks.stop().cause(), Some(StopCause::Asked("SIGTERM")));
    }

    #[tokio::test]
    async fn what_does_not_stop_in_time_is_ended_and_named() {
        let tasks = Tasks::new();
        tasks.spawn("stubborn", std::future::pending());
        tasks.ask_to_stop(StopCause::Asked("SIGTERM"));
        assert_eq!(tasks.finish(Duration::from_millis(1)).await, ["stubborn"]);
    }
}
