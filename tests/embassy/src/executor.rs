//! An executor whose idle moments are the clock's: [`World`].

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

/// How far the clock moves when nothing is left to do.
const STEP: Duration = Duration::from_millis(1);
/// A world that goes on for longer is stuck.
const END: Duration = Duration::from_secs(3_600);

/// Tasks, polled in the order in which they came, and the clock, which moves by a millisecond when all of them wait.
pub struct World {
    tasks: Tasks,
    _turn: MutexGuard<'static, ()>,
}

/// Where tasks are spawned from within tasks.
#[derive(Clone)]
struct Tasks(Rc<RefCell<Vec<Task>>>);

struct Task {
    // Taken out while it is polled, so that it may spawn others.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    /// A world at time 0, once every earlier one is gone.
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

    /// Runs everything until `main` has ended.
    ///
    /// # Panics
    /// After an hour.
    pub fn run<V: 'static>(&self, main: impl Future<Output = V> + 'static) -> V {
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        self.spawn(async move { *slot.borrow_mut() = Some(main.await) });
        loop {
            self.settle();
            if let Some(result) = result.borrow_mut().take() {
                return result;
            }
            assert!(Instant::now() < Instant::MIN + END, "the world does not come to an end");
            MockDriver::get().advance(STEP);
        }
    }

    /// Polls tasks until all of them wait.
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

    /// The task with that number, if it was woken; `None` past the last.
    #[expect(clippy::type_complexity, reason = "a task's parts")]
    fn take(&self, index: usize) -> Option<Option<(Pin<Box<dyn Future<Output = ()>>>, Arc<Woken>)>> {
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
