//! An executor that moves the clock when all tasks wait: [`World`].

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use embassy_time::{Duration, Instant, MockDriver};

static TURN: Mutex<()> = Mutex::new(());

/// How far the clock moves when all tasks wait.
const STEP: Duration = Duration::from_millis(1);
/// A world that has not ended by then is stuck.
const END: Duration = Duration::from_secs(3_600);

/// Tasks, which are polled in the order in which they were spawned, and the clock. When all tasks wait, the clock moves by a
/// millisecond.
pub struct World {
    tasks: Tasks,
    _turn: MutexGuard<'static, ()>,
}

/// The list of tasks, to which a task can add others.
#[derive(Clone)]
struct Tasks(Rc<RefCell<Vec<Task>>>);

type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    // It is taken out while it is polled, so that it can spawn other tasks.
    future: Option<BoxedTask>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    /// A world at time 0. It waits until every earlier world is gone.
    #[must_use]
    pub fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        MockDriver::get().reset();
        Self { tasks: Tasks(Rc::default()), _turn: turn }
    }

    /// Adds a task.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.tasks.0.borrow_mut().push(Task { future: Some(Box::pin(future)), woken });
    }

    /// Runs all tasks until `main` has ended.
    ///
    /// # Panics
    /// If `main` has not ended after an hour of the world's time.
    pub fn run<V: 'static>(&self, main: impl Future<Output = V> + 'static) -> V {
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        self.spawn(async move { *slot.borrow_mut() = Some(main.await) });
        loop {
            self.settle();
            if let Some(result) = result.borrow_mut().take() {
                return result;
            }
            assert!(Instant::now() < Instant::MIN + END, "main has not ended after an hour");
            MockDriver::get().advance(STEP);
        }
    }

    /// Polls the tasks until all of them wait.
    fn settle(&self) {
        loop {
            let mut idle = true;
            for index in 0.. {
                let Some(task) = self.take(index) else { break };
                let Some((mut future, woken)) = task else { continue };
                idle = false;
                if future.as_mut().poll(&mut Context::from_waker(&Waker::from(woken))) == Poll::Pending {
                    self.tasks.0.borrow_mut()[index].future = Some(future);
                }
            }
            if idle {
                return;
            }
        }
    }

    /// Takes the task with that number: `None` past the last task, `Some(None)` if the task was not woken.
    fn take(&self, index: usize) -> Option<Option<(BoxedTask, Arc<Woken>)>> {
        let tasks = &mut *self.tasks.0.borrow_mut();
        let task = tasks.get_mut(index)?;
        let woken = task.woken.0.swap(false, Ordering::Relaxed);
        Some(task.future.take_if(|_| woken).map(|future| (future, Arc::clone(&task.woken))))
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("tasks", &self.tasks.0.borrow().len()).finish_non_exhaustive()
    }
}
