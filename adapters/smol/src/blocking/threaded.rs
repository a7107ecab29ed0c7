//! A runtime with a thread of its own: [`Threaded`].

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use hedge_fleet::{Spawn, caught};
use smol::Executor;
use smol::channel::{Receiver, Sender, bounded};

use crate::{Sleep, Smol};

/// A runtime for programs without one: smol's reactor and an executor, in a thread of its own. The first task starts
/// the thread. The thread ends when the last clone has been dropped. A channel holds a clone, and so does each of its
/// calls. So the thread ends with the last channel.
///
/// If the operating system starts no thread, a call is an error, and the next call tries again.
///
/// # Cost
/// One thread for each `Threaded`, so channels should share one. In addition, smol keeps one idle thread in each
/// process that has a timer or a socket of smol. This thread does not end.
#[derive(Clone)]
pub struct Threaded(Arc<Owner>);

struct Owner {
    number: u64,
    smol: Smol,
    executor: Arc<Executor<'static>>,
    /// `None`: the thread has not been started. Dropping the sender ends the thread. If the sender is closed, the thread
    /// has ended.
    thread: Mutex<Option<Sender<()>>>,
}

/// The numbers of the runtimes. 0 is smol's global executor.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// Whether this thread runs tasks of a `Threaded`.
    static RUNS_TASKS: Cell<bool> = const { Cell::new(false) };
}

impl Threaded {
    /// Makes a runtime. Its thread is not started yet. Its clock starts now.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Owner {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            smol: Smol::new(),
            executor: Arc::new(Executor::new()),
            thread: Mutex::new(None),
        }))
    }

    pub(super) fn smol(&self) -> &Smol {
        &self.0.smol
    }

    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    /// Returns whether the thread runs, after an attempt to start it.
    fn runs(&self) -> bool {
        let mut thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if is_running(thread.as_ref()) {
            return true;
        }
        let (stop, stopped) = bounded(1);
        let executor = Arc::clone(&self.0.executor);
        let started = thread::Builder::new().name("hedge-calls".into()).spawn(move || run(&executor, &stopped));
        if started.is_ok() {
            *thread = Some(stop);
        }
        started.is_ok()
    }
}

fn is_running(thread: Option<&Sender<()>>) -> bool {
    thread.is_some_and(|stop| !stop.is_closed())
}

/// Runs tasks until the sender of `stopped` is gone. A panic of a task ends this task only.
fn run(executor: &Executor<'static>, stopped: &Receiver<()>) {
    RUNS_TASKS.set(true);
    // Nothing is ever sent, so an answer is always that the sender is gone.
    while caught(|| smol::block_on(executor.run(stopped.recv()))).is_none() {}
}

impl Default for Threaded {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for Threaded {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.0.smol.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        self.0.smol.sleep_until(at)
    }

    fn reset(&self, sleep: Pin<&mut Sleep>, at: Instant) {
        self.0.smol.reset(sleep, at);
    }
}

impl Spawn for Threaded {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.try_spawn(task);
    }

    fn try_spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        let runs = self.runs();
        if runs {
            self.0.executor.spawn(task).detach();
        }
        runs
    }

    /// Returns false on the thread of any `Threaded`. On all other threads it returns true, since waiting there cannot
    /// stop a call.
    fn may_block() -> bool {
        !RUNS_TASKS.get()
    }
}

impl fmt::Debug for Threaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let started = is_running(self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).as_ref());
        f.debug_struct("Threaded").field("number", &self.0.number).field("started", &started).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::mpsc;

    use super::*;

    /// Tells when its thread ends, or its task is dropped.
    struct Tells(mpsc::Sender<()>);

    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    thread_local! {
        static WITH_THREAD: RefCell<Option<Tells>> = const { RefCell::new(None) };
    }

    #[test]
    fn w1_the_thread_starts_with_the_first_task_and_ends_with_the_last_clone() {
        let runtime = Threaded::new();
        assert!(format!("{runtime:?}").contains("started: false"));
        let (ended, ends) = mpsc::channel();
        let (dropped, drops) = mpsc::channel();
        let (named, names) = mpsc::channel();
        runtime.spawn(async move {
            WITH_THREAD.with(|own| *own.borrow_mut() = Some(Tells(ended)));
            named.send(thread::current().name().map(String::from)).unwrap();
            // A task that would never end does not keep the thread.
            let _tells = Tells(dropped);
            std::future::pending::<()>().await;
        });
        assert_eq!(names.recv().unwrap().as_deref(), Some("hedge-calls"));
        let clone = runtime.clone();
        drop(runtime);
        let (ran, runs) = mpsc::channel();
        clone.spawn(async move { ran.send(Threaded::may_block()).unwrap() });
        assert_eq!(runs.recv(), Ok(false), "it still runs, and its thread must not wait");
        assert!(Threaded::may_block());
        drop(clone);
        assert_eq!((ends.recv(), drops.recv()), (Ok(()), Ok(())));
    }

    #[test]
    fn w1_the_last_clone_may_be_dropped_by_a_task() {
        let runtime = Threaded::new();
        let (ended, ends) = mpsc::channel();
        let own = runtime.clone();
        runtime.spawn(async move {
            WITH_THREAD.with(|with| *with.borrow_mut() = Some(Tells(ended)));
            own.sleep_until(own.now()).await;
            drop(own);
        });
        drop(runtime);
        assert_eq!(ends.recv(), Ok(()));
    }

    #[test]
    fn w1_a_thread_that_has_ended_is_started_again() {
        let runtime = Threaded::new();
        // What the death of a thread leaves behind.
        *runtime.0.thread.lock().unwrap() = Some(bounded(1).0);
        assert!(format!("{runtime:?}").contains("started: false"));
        let (ran, runs) = mpsc::channel();
        runtime.spawn(async move { ran.send(()).unwrap() });
        assert_eq!(runs.recv(), Ok(()));
    }

    #[test]
    fn w1_a_task_that_panics_leaves_the_others() {
        let runtime = Threaded::new();
        runtime.spawn(async { panic!("a panic of a task, which this test wants") });
        let (ran, runs) = mpsc::channel();
        runtime.spawn(async move { ran.send(()).unwrap() });
        assert_eq!(runs.recv(), Ok(()));
    }
}
