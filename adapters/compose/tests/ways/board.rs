//! A runtime whose tasks are polled by the test, in virtual time: [`Board`].

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Waker};

use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use hedge_fleet::Spawn;

use crate::testing::{Clock, Sleep};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone, Default)]
pub(crate) struct Board {
    pub(crate) clock: Clock,
    tasks: Arc<(Mutex<Tasks>, Condvar)>,
}

#[derive(Default)]
struct Tasks {
    waiting: Vec<Task>,
    spawned: usize,
    refuses: bool,
}

thread_local! {
    static POLLS: Cell<bool> = const { Cell::new(false) };
}

impl Board {
    /// Sets the clock, and polls all tasks until no task adds another.
    pub(crate) fn at(&self, millis: u64) {
        self.clock.set(millis);
        let mut pending = Vec::new();
        POLLS.set(true);
        loop {
            let tasks = std::mem::take(&mut self.tasks.0.lock().unwrap().waiting);
            if tasks.is_empty() {
                break;
            }
            let mut cx = Context::from_waker(Waker::noop());
            pending.extend(
                tasks.into_iter().filter_map(|mut task| task.as_mut().poll(&mut cx).is_pending().then_some(task)),
            );
        }
        POLLS.set(false);
        self.tasks.0.lock().unwrap().waiting.extend(pending);
    }

    /// Waits until this many tasks have been spawned since the start.
    pub(crate) fn spawned(&self, count: usize) {
        let (tasks, changed) = &*self.tasks;
        drop(changed.wait_while(tasks.lock().unwrap(), |tasks| tasks.spawned < count).unwrap());
    }

    /// Ends as a runtime ends: drops all tasks, and accepts no more.
    pub(crate) fn end(&self) {
        let tasks = {
            let mut tasks = self.tasks.0.lock().unwrap();
            tasks.refuses = true;
            std::mem::take(&mut tasks.waiting)
        };
        drop(tasks);
    }
}

impl Timer for Board {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        self.clock.sleep_until(at)
    }
}

impl Spawn for Board {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        assert!(self.try_spawn(task), "the runtime has ended");
    }

    fn try_spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        let task: Task = Box::pin(task);
        let mut tasks = self.tasks.0.lock().unwrap();
        if tasks.refuses {
            drop(tasks);
            return false;
        }
        tasks.waiting.push(task);
        tasks.spawned += 1;
        self.tasks.1.notify_all();
        true
    }

    fn may_block() -> bool {
        !POLLS.get()
    }
}
